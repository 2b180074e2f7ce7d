import numpy as np
import pytest

from requant.coreml.model import save
from requant.evaluate.engines import REFERENCE, compare_engines, comparison_table, differences, engines
from requant.evaluate.outputs import ModelOutputs
from tests.building import FLOAT16, FLOAT32, mb, numbers, program


def outputs(**groups):
    return ModelOutputs(["a", "b"], [], False, **groups)


def test_differences_of_each_kind_of_output():
    numbers_ = np.array([[3.0, 4.0], [0.0, 0.0]])
    wanted = outputs(
        pictures={"p": np.zeros((2, 4, 4), np.uint8)}, arrays={"x": numbers_}, labels={"l": ["cat", "dog"]}
    )
    found = outputs(
        pictures={"p": np.full((2, 4, 4), 255, np.uint8)}, arrays={"x": numbers_ + 0.5}, labels={"l": ["cat", "cat"]}
    )
    rows = {row.output: row for row in differences("other", wanted, found)}
    assert (rows["p"].figure, rows["p"].largest) == ("0.0 dB PSNR", 255)
    assert (rows["x"].figure, rows["x"].largest) == ("14.0 dB SNR", 0.5)  # 10 log10(25 / 1)
    assert rows["l"].figure == "50.0 % of the labels agree"
    assert {row.figure for row in differences("same", wanted, wanted)} == {"equal", "100.0 % of the labels agree"}


@pytest.mark.parametrize(("precision", "equal"), [(FLOAT32, True), (FLOAT16, False)])
def test_float16_shows_only_where_the_program_is_typed_float16(precision, equal, tmp_path):
    weights = numbers(5, 4)
    model = program(lambda x: mb.linear(x=x, weight=weights), (3, 4), precision=precision)
    save(model, tmp_path / "m.mlpackage.zip")
    rows = compare_engines(tmp_path / "m.mlpackage.zip", None)
    assert rows[0].engine == "onnxruntime, float16"
    assert (rows[0].figure == "equal") is equal
    assert REFERENCE in comparison_table(rows)


def test_apple_is_among_the_engines_on_a_mac_only(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    assert list(engines(tmp_path)) == [REFERENCE, "onnxruntime, float16"]
    monkeypatch.setattr("sys.platform", "darwin")
    assert "Apple, all units" in engines(tmp_path)
