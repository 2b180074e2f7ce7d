import pytest

from requant.convert.settings import ConversionSettings, InputSettings, SizeRange
from requant.convert.source import SourceInput, constant_inputs, resolve_inputs
from requant.coreml.kind import Kind
from requant.errors import RequantError


def settings(*inputs, **table):
    return ConversionSettings.of({"inputs": list(inputs), **table})


def test_without_a_word_it_is_a_program_in_float16_for_the_oldest_system_that_runs_programs():
    found = ConversionSettings.of(None)
    assert found.convert_to is Kind.ML_PROGRAM
    assert found.compute_precision == "float16"
    assert found.minimum_deployment_target.ios == "15"
    assert (found.inputs, found.outputs, found.labels()) == ((), (), [])


def test_the_least_snr_depends_on_the_precision_unless_it_is_set():
    assert ConversionSettings.of({}).least_snr == 30
    assert ConversionSettings.of({"compute_precision": "float32"}).least_snr == 60
    assert ConversionSettings.of({"convert_to": "neuralnetwork"}).least_snr == 60
    assert ConversionSettings.of({"convert_to": "neuralnetwork", "min_snr": 20}).least_snr == 20


def test_a_size_may_be_a_range_with_a_default():
    found = InputSettings.of({"name": "x", "shape": [1, {"min": 2, "max": 8}, {"min": 2, "max": 8, "default": 4}]})
    assert found.shapes == ((1, SizeRange(2, 8, 2), SizeRange(2, 8, 4)),)
    assert found.default_shape() == (1, 2, 4)


def test_a_bias_is_one_number_or_one_per_channel():
    picture = {"name": "x", "color_layout": "RGB"}
    assert InputSettings.of({**picture, "bias": -1}).bias == (-1.0,)
    assert InputSettings.of({**picture, "bias": [1, 2, 3]}).bias == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"inputs": [{"name": "x", "shape": [1], "shapes": [[1], [2]]}]}, "'x' has shape and shapes"),
        ({"inputs": [{"name": "x", "value": 1, "shape": [1]}]}, "'x' is a constant"),
        ({"inputs": [{"name": "x", "scale": 2}]}, "'x' has a scale or bias, but no color_layout"),
        ({"inputs": [{"name": "x", "shape": [{"min": 2, "max": 4, "default": 8}]}]}, "2 to 4 of 'x' do not hold 8"),
        ({"inputs": [{"name": "x"}, {"name": "x"}]}, "the name 'x' is there twice"),
        ({"inputs": [{"name": "x"}], "outputs": [{"name": "x"}]}, "the name 'x' is there twice"),
        ({"convert_to": "neuralnetwork", "compute_precision": "float16"}, "compute_precision is for ML Programs"),
        ({"convert_to": "neuralnetwork", "minimum_deployment_target": "iOS15"}, "Leave minimum_deployment_target out"),
        ({"minimum_deployment_target": "iOS14"}, "an ML Program needs iOS 15"),
        ({"minimum_deployment_target": "iOS99"}, "'iOS99' is no deployment target"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(table, message):
    with pytest.raises(RequantError, match=message):
        ConversionSettings.of(table)


def test_labels_are_a_list_or_the_lines_of_a_file(tmp_path):
    assert ConversionSettings.of({"class_labels": ["a", 2]}).labels() == ["a", 2]
    path = tmp_path / "labels.txt"
    path.write_text("tabby cat\n\n  dog\n")
    assert ConversionSettings.of({"class_labels": str(path)}).labels() == ["tabby cat", "dog"]
    path.write_text("\n")
    with pytest.raises(RequantError, match=r"no class labels in .*labels.txt"):
        ConversionSettings.of({"class_labels": str(path)}).labels()
    with pytest.raises(RequantError, match=r"none.txt can't be read"):
        ConversionSettings.of({"class_labels": str(tmp_path / "none.txt")}).labels()


SOURCES = [SourceInput("pixels", "float32", (None, 3, 8, 8)), SourceInput("rate", "int64", ())]


def test_inputs_are_as_the_source_has_them():
    found = resolve_inputs([SOURCES[0]], settings())
    assert [(each.name, each.default_shape, each.source.dtype) for each in found] == [
        ("pixels", (1, 3, 8, 8), "float32")
    ]


def test_inputs_are_matched_by_name_and_then_in_order():
    found = resolve_inputs(SOURCES, settings({"name": "rate"}, {"name": "image", "shape": [2, 3, 4, 4]}))
    assert [(each.source.name, each.name, each.default_shape) for each in found] == [
        ("pixels", "image", (2, 3, 4, 4)),
        ("rate", "rate", ()),
    ]


def test_an_input_may_have_another_name_in_the_source():
    found = resolve_inputs(SOURCES, settings({"name": "a", "source": "rate"}, {"name": "b", "source": "pixels"}))
    assert [each.name for each in found] == ["b", "a"]


def test_a_constant_is_no_input():
    given = settings({"name": "rate", "value": 16000})
    assert [each.name for each in resolve_inputs(SOURCES, given)] == ["pixels"]
    constants = constant_inputs(SOURCES, given)
    assert constants["rate"] == 16000
    assert constants["rate"].dtype == "int64"


@pytest.mark.parametrize("given", [{"name": "x", "source": "sound"}, {"name": "x"}])
def test_an_input_that_the_source_does_not_have_is_named(given):
    with pytest.raises(RequantError, match=r"the source has no input '(sound|x)'; it has pixels"):
        resolve_inputs(SOURCES[:1], settings({"name": "pixels"}, given))


@pytest.mark.parametrize(("shape", "known"), [(None, ""), ((1, None), r" \(it is 1, \?\)")])
def test_an_open_shape_is_asked_for(shape, known):
    with pytest.raises(
        RequantError, match=f"leaves the shape of its input 'x' open{known}. Give it in the configuration"
    ):
        resolve_inputs([SourceInput("x", "float32", shape)], settings())
