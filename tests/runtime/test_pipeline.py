import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.models.array_feature_extractor import create_array_feature_extractor
from coremltools.models.pipeline import Pipeline, PipelineClassifier, PipelineRegressor
from PIL import Image
from scipy.special import expit

from requant.coreml.description import Feature
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime import open_model
from requant.runtime.pipeline import PipelineRunner, stages_of
from tests.building import add_inner_product, as_model, network, numbers, package, program
from tests.runtime.classical.specs import DOUBLE, INT64, STRING, array, classifier, dictionary, opened, transform

X = np.array([0.5, -1.25, 2.0])


def scaler(source="x", result="scaled", scale=2.0):
    spec = transform([(source, array(3))], [(result, array(3))], "scaler")
    spec.scaler.scaleValue.append(scale)
    return spec


def linear_regressor():
    spec = classifier("glmClassifier", ["no", "yes"])
    del spec.description.output[1]
    spec.description.ClearField("predictedProbabilitiesName")
    spec.glmRegressor.weights.add().value.extend([1.0, 10.0, 100.0])
    spec.glmRegressor.offset.append(0.5)
    spec.description.input[0].name = "scaled"
    output = spec.description.output[0]
    output.name = spec.description.predictedFeatureName = "y"
    output.type.doubleType.SetInParent()
    return spec


def regression():
    pipeline = PipelineRegressor([("x", array(3))], [("y", DOUBLE)])
    pipeline.add_model(scaler())
    pipeline.add_model(linear_regressor())
    return pipeline.spec


def linear_classifier():
    spec = classifier("glmClassifier", ["no", "yes"])
    spec.description.input[0].name = "scaled"
    spec.glmClassifier.weights.add().value.extend([1.0, 1.0, 1.0])
    spec.glmClassifier.offset.append(0)
    spec.glmClassifier.classEncoding = spec.glmClassifier.OneVsRest
    return spec


def test_features_are_passed_on_by_name():
    assert opened(regression()).predict({"x": X}) == {"y": 2 * (X @ [1, 10, 100]) + 0.5}


def test_a_classifier_gives_its_label_and_its_probabilities():
    pipeline = PipelineClassifier([("x", array(3))], ["no", "yes"], ["label", "p"])
    pipeline.add_model(scaler())
    pipeline.add_model(linear_classifier())
    second = expit(2 * X.sum())
    runner = opened(pipeline.spec)
    assert runner.predict({"x": X}) == {"label": "yes", "p": pytest.approx({"no": 1 - second, "yes": second})}
    assert [(f.name, f.type, f.keys) for f in runner.outputs] == [
        ("label", "label", "string"),
        ("p", "dictionary", "string"),
    ]


def test_pipelines_may_hold_pipelines_and_features_may_be_replaced():
    inner = Pipeline([("x", array(3))], [("x", array(3))])
    inner.add_model(scaler("x", "x", 3.0))
    inner.add_model(scaler("x", "x", 5.0))
    outer = Pipeline([("x", array(3))], [("x", array(3)), ("last", DOUBLE)])
    outer.add_model(inner.spec)
    outer.add_model(create_array_feature_extractor([("x", array(3))], "last", 2))
    found = opened(outer.spec).predict({"x": X})
    np.testing.assert_array_equal(found["x"], 15 * X)
    assert found["last"] == 30.0


def test_words_become_a_class():
    """A bag of words, as converters of text classifiers lay it out: dictionary, indices, array, linear model."""
    words = transform([("words", dictionary(STRING))], [("indices", dictionary(INT64))], "dictVectorizer")
    words.dictVectorizer.stringToIndex.vector.extend(["bad", "fine", "good"])
    vector = transform([("indices", dictionary(INT64))], [("scaled", array(3))], "featureVectorizer")
    vector.featureVectorizer.inputList.add(inputColumn="indices", inputDimensions=3)
    last = linear_classifier()
    last.glmClassifier.weights[0].value[:] = [-2.0, 0.5, 1.0]
    pipeline = PipelineClassifier([("words", dictionary(STRING))], ["no", "yes"], ["label", "p"])
    for spec in (words, vector, last):
        pipeline.add_model(spec)
    runner = opened(pipeline.spec)
    assert runner.predict({"words": {"good": 2, "fine": 1, "unheard": 7}})["p"]["yes"] == pytest.approx(expit(2.5))
    assert runner.predict({"words": {"bad": 1}})["label"] == "no"


def test_a_network_may_be_one_of_the_models():
    net = network(lambda b: add_inner_product(b, numbers(3, 3), source="x", result="scaled"), {"x": (3,)}, ["scaled"])
    net.spec.description.output[0].type.multiArrayType.shape.append(3)
    pipeline = Pipeline([("x", array(3))], [("y", DOUBLE)])
    pipeline.add_model(net.spec)
    pipeline.add_model(linear_regressor())
    expected = (numbers(3, 3) @ X) @ [1, 10, 100] + 0.5
    assert opened(pipeline.spec).predict({"x": X})["y"] == pytest.approx(expected, rel=1e-5)


def picture_stages():
    """Return two programs that take a picture and make one: half as bright, and inverted."""
    shape = (1, 3, 4, 5)
    stages = [
        program(lambda picture: mb.mul(x=picture, y=np.float32(0.5), name="half"), shape,
                inputs=[ct.ImageType("picture", shape)]),
        program(lambda half: mb.sub(x=np.float32(255), y=half, name="inverted"), shape,
                inputs=[ct.ImageType("half", shape)]),
    ]  # fmt: skip
    for stage in stages:
        description = stage.spec.description
        description.output[0].type.imageType.CopyFrom(description.input[0].type.imageType)
    return stages


def test_pictures_are_passed_on_as_pictures(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    halve, invert = picture_stages()
    joined = as_model(ct.utils.make_pipeline(package(halve, tmp_path / "a"), package(invert, tmp_path / "b")))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    found = open_model(joined, "onnxruntime").predict({"picture": pixels})["inverted"]
    assert isinstance(found, Image.Image)
    np.testing.assert_array_equal(np.asarray(found), 255 - np.round(pixels / 2).astype(np.uint8))


def test_programs_find_their_weights_in_the_files_of_the_package(tmp_path):
    """`make_pipeline` puts the weights of each program into a file of its own."""
    first = program(lambda x: mb.matmul(x=x, y=numbers(40, 40), name="middle"), (1, 40))
    second = program(lambda middle: mb.matmul(x=middle, y=numbers(40, 40, seed=1), name="y"), (1, 40))
    made = []
    for name, model in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        made.append(package(model, tmp_path / name))
    joined = as_model(ct.utils.make_pipeline(*made))
    assert len(joined.files) == 2
    x = numbers(1, 40, seed=9)
    found = open_model(joined, "onnxruntime").predict({"x": x})["y"]
    np.testing.assert_allclose(found, x @ numbers(40, 40) @ numbers(40, 40, seed=1), rtol=1e-4, atol=1e-4)


class Counter:
    """A model that adds to its state what it gets."""

    inputs = outputs = (Feature("n", "number"),)

    def make_state(self):
        return [0]

    def predict(self, inputs, state=None):
        state[0] += inputs["n"]
        return {"n": state[0]}


def test_each_model_has_its_own_state():
    spec = Pipeline([("n", DOUBLE)], [("n", DOUBLE)])
    for _ in range(2):
        spec.add_model(transform([("n", DOUBLE)], [("n", DOUBLE)], "identity"))
    runner = PipelineRunner(Model(spec.spec), lambda _: Counter())
    state = runner.make_state()
    assert [runner.predict({"n": 1}, state)["n"] for _ in range(3)] == [1, 3, 6]
    assert state == [[3], [6]]


def test_models_have_names():
    spec = regression()
    assert [name for name, _ in stages_of(Model(spec))] == ["model0", "model1"]
    spec.pipelineRegressor.pipeline.names.extend(["first", "second"])
    assert [name for name, _ in stages_of(Model(spec))] == ["first", "second"]
    spec.pipelineRegressor.pipeline.names.append("third")
    with pytest.raises(RequantError, match="is a damaged pipeline: it has 2 models and 3 names"):
        stages_of(Model(spec))


def test_messages_name_the_model_of_the_pipeline():
    spec = regression()
    models = spec.pipelineRegressor.pipeline.models
    models[0].scaler.scaleValue.append(1)
    with pytest.raises(RequantError, match=r"in the model 'model0' of the pipeline: .* shifts 1 numbers and scales 2"):
        opened(spec).predict({"x": X})
    models[1].customModel.SetInParent()
    with pytest.raises(
        RequantError, match=r"'model1' of a pipeline can't be run. .* type customModel can't be run here"
    ):
        opened(spec)


def test_features_that_nothing_makes_are_refused():
    spec = regression()
    spec.pipelineRegressor.pipeline.models[1].description.input[0].name = "other"
    with pytest.raises(RequantError, match="the model 'model1' of the pipeline reads 'other', which nothing makes"):
        opened(spec)
    spec = regression()
    spec.description.output[0].name = "z"
    with pytest.raises(RequantError, match="declares the output 'z', which none of its models makes"):
        opened(spec)
    with pytest.raises(RequantError, match="the input 'x' is missing"):
        opened(regression()).predict({})
