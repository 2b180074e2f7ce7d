"""What the documentation says of ONNX, held against the code."""

import re
from pathlib import Path

from requant.convert.onnx.operators import OPERATORS
from requant.convert.onnx.preparing import DEFINED_BY_OTHERS

PAGE = Path(__file__).parents[3] / "docs" / "onnx.md"


def test_the_list_of_operators_is_that_of_the_table():
    section = PAGE.read_text(encoding="utf-8").split("## Operators\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {*OPERATORS, *DEFINED_BY_OTHERS}
