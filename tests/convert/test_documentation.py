"""The worked examples of the documentation: the code that saves a model is run, and what it saved is converted."""

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml

from requant.convert import convert
from requant.convert.settings import ConversionSettings
from requant.coreml.model import save
from requant.errors import RequantError
from requant.evaluate.source import check_conversion
from tests.workflow.project import REPOSITORY

BLOCK = re.compile(r"```(python|yaml)\n(.*?)```", re.DOTALL)
EXAMPLES = {
    "my_model.pt2": ("conversion.md", "torch"),
    "my_model.ts": ("conversion.md", "torch"),
    "flowers.keras": ("tensorflow.md", "tensorflow"),
    "scorer.savedmodel": ("tensorflow.md", "tensorflow"),
    "iris.skops": ("scikit-learn.md", "skops"),
    "iris.ubj": ("scikit-learn.md", "xgboost"),
}


def example(document, name):
    """Return the code that saves a model, and the conversion that the configuration after it gives for it."""
    blocks = BLOCK.findall((REPOSITORY / "docs" / document).read_text())
    at = next(i for i, (kind, text) in enumerate(blocks) if kind == "python" and f'"{name}"' in text)
    entries = yaml.safe_load(next(text for kind, text in blocks[at:] if kind == "yaml" and f"/{name}" in text))
    (entry,) = entries["models"].values()
    return blocks[at][1], entry.get("conversion")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_the_documentation_works_as_it_stands(tmp_path, name):
    document, module = EXAMPLES[name]
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    if name == "iris.ubj" and find_spec("sklearn") is None:
        pytest.skip("scikit-learn, whose data the example takes, is not installed")
    code, table = example(document, name)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    settings = ConversionSettings.of(table)
    model = convert(tmp_path / name, settings)
    path = tmp_path / f"float{model.kind.suffix}"
    save(model, path)
    record = check_conversion(tmp_path / name, path, settings, None)
    assert record["samples"] > 0


def test_an_example_needs_what_its_configuration_says(tmp_path):
    if find_spec("torch") is None:
        pytest.skip("torch is not installed")
    code, _ = example("conversion.md", "my_model.ts")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(RequantError, match="shape"):
        convert(tmp_path / "my_model.ts")
