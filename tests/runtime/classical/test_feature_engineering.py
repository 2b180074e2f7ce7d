"""The families that turn features into other features: one small model of each, with what is expected by hand."""

import numpy as np
import pytest
from coremltools.models.array_feature_extractor import create_array_feature_extractor
from coremltools.models.datatypes import Array
from coremltools.models.feature_vectorizer import create_feature_vectorizer

from requant.errors import RequantError
from tests.runtime.classical.specs import DOUBLE, INT64, STRING, array, dictionary, opened, transform


def equal(found, expected):
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float64


def sequence(spec, inputs, outputs):
    """Turn the only input and the only output of a model into sequences of strings or integers."""
    for features, kind in ((spec.description.input, inputs), (spec.description.output, outputs)):
        getattr(features[0].type.sequenceType, kind).SetInParent()
    return spec


class TestOneHotEncoder:
    def encoder(self, kind, categories, sparse=False, ignore=False):
        output = dictionary(INT64) if sparse else array(len(categories))
        spec = transform([("x", kind)], [("y", output)], "oneHotEncoder")
        field = "stringCategories" if kind == STRING else "int64Categories"
        getattr(spec.oneHotEncoder, field).vector.extend(categories)
        spec.oneHotEncoder.outputSparse = sparse
        spec.oneHotEncoder.handleUnknown = int(ignore)
        return opened(spec)

    def test_a_category_is_a_one_among_zeros(self):
        equal(self.encoder(STRING, ["a", "b", "c"]).predict({"x": "b"})["y"], [0, 1, 0])
        equal(self.encoder(INT64, [7, -5]).predict({"x": np.int64(7)})["y"], [1, 0])

    def test_it_may_be_a_dictionary(self):
        assert self.encoder(STRING, ["a", "b"], sparse=True).predict({"x": "b"}) == {"y": {1: 1.0}}

    def test_an_unknown_category_is_an_error_or_all_zeros(self):
        equal(self.encoder(INT64, [1, 2], ignore=True).predict({"x": 3})["y"], [0, 0])
        assert self.encoder(INT64, [1, 2], sparse=True, ignore=True).predict({"x": 3}) == {"y": {}}
        with pytest.raises(RequantError, match="the input 'x' is 3, which is none of the categories"):
            self.encoder(INT64, [1, 2]).predict({"x": 3})

    def test_a_value_of_another_type_is_refused(self):
        with pytest.raises(RequantError, match="'x' takes strings, not int"):
            self.encoder(STRING, ["a"]).predict({"x": 3})
        with pytest.raises(RequantError, match=r"'x' takes whole numbers, not 1\.5"):
            self.encoder(INT64, [1]).predict({"x": 1.5})
        with pytest.raises(RequantError, match="'x' takes a number, not str"):
            self.encoder(INT64, [1]).predict({"x": "1"})


class TestImputer:
    def imputer(self, kind, **fields):
        spec = transform([("x", kind)], [("y", kind)], "imputer")
        for key, value in fields.items():
            if isinstance(value, list):
                getattr(spec.imputer, key).vector.extend(value)
            else:
                setattr(spec.imputer, key, value)
        spec.description.input[0].type.isOptional = True
        return opened(spec)

    def test_nan_in_an_array_is_replaced(self):
        x = [np.nan, 1.0, np.nan]
        for fields in ({}, {"replaceDoubleValue": np.nan}):
            equal(self.imputer(array(3), imputedDoubleArray=[7, 8, 9], **fields).predict({"x": x})["y"], [7, 1, 9])
            equal(self.imputer(array(3), imputedDoubleValue=5, **fields).predict({"x": x})["y"], [5, 1, 5])

    def test_another_number_may_stand_for_missing(self):
        imputer = self.imputer(array(3), imputedDoubleArray=[7, 8, 9], replaceDoubleValue=-1)
        equal(imputer.predict({"x": [-1, 2, -1]})["y"], [7, 2, 9])
        integers = self.imputer(array(2), imputedInt64Array=[7, 8], replaceInt64Value=0)
        equal(integers.predict({"x": [0, 5]})["y"], [7, 5])

    def test_single_values_are_replaced(self):
        assert self.imputer(DOUBLE, imputedDoubleValue=2.5).predict({"x": np.nan}) == {"y": 2.5}
        assert self.imputer(DOUBLE, imputedDoubleValue=2.5).predict({"x": 1.5}) == {"y": 1.5}
        assert self.imputer(INT64, imputedInt64Value=4, replaceInt64Value=0).predict({"x": 0}) == {"y": 4}
        text = self.imputer(STRING, imputedStringValue="some", replaceStringValue="")
        assert [text.predict({"x": value})["y"] for value in ("", "other")] == ["some", "other"]

    def test_an_input_that_is_left_out_is_missing(self):
        assert self.imputer(DOUBLE, imputedDoubleValue=2.5).predict({}) == {"y": 2.5}
        equal(self.imputer(array(2), imputedDoubleArray=[7, 8]).predict({})["y"], [7, 8])

    def test_dictionaries_are_refused(self):
        spec = transform([("x", dictionary(STRING))], [("y", dictionary(STRING))], "imputer")
        spec.imputer.imputedStringDictionary.map["a"] = 1
        with pytest.raises(RequantError, match=r"an imputer with imputedStringDictionary; .* leaves open"):
            opened(spec)


class TestFeatureVectorizer:
    def test_features_are_lined_up_in_the_order_of_the_list(self):
        features = [("a", Array(2)), ("b", DOUBLE), ("c", INT64), ("d", dictionary(INT64))]
        spec, size = create_feature_vectorizer(features, "y", {"d": 4})
        assert size == 8
        runner = opened(spec)
        inputs = {"d": {3: 1.5, 0: -2}, "c": 9, "a": [1, 2], "b": 0.5}
        equal(runner.predict(inputs)["y"], [1, 2, 0.5, 9, -2, 0, 0, 1.5])
        with pytest.raises(RequantError, match="'d' is a dictionary of indices below 4; 4 is none"):
            runner.predict({**inputs, "d": {4: 1}})

    def test_an_input_of_another_size_is_refused(self):
        spec, _ = create_feature_vectorizer([("a", Array(2))], "y")
        spec.featureVectorizer.inputList[0].inputDimensions = 3
        with pytest.raises(RequantError, match="'a' takes 3 numbers, but got 2"):
            opened(spec).predict({"a": [1, 2]})


class TestDictVectorizer:
    def vectorizer(self, kind, keys, output):
        spec = transform([("x", dictionary(kind))], [("y", output)], "dictVectorizer")
        getattr(spec.dictVectorizer, "stringToIndex" if kind == STRING else "int64ToIndex").vector.extend(keys)
        return opened(spec)

    def test_values_go_where_their_keys_are(self):
        equal(self.vectorizer(STRING, list("acbz"), array(4)).predict({"x": {"a": 4, "c": 8}})["y"], [4, 8, 0, 0])
        equal(self.vectorizer(INT64, [30, 10], array(2)).predict({"x": {10: 4}})["y"], [0, 4])

    def test_the_result_may_be_a_dictionary_of_indices(self):
        runner = self.vectorizer(STRING, list("acbz"), dictionary(INT64))
        assert runner.predict({"x": {"z": 4, "a": 8}}) == {"y": {3: 4.0, 0: 8.0}}

    def test_keys_that_it_does_not_know_are_left_out(self):
        equal(self.vectorizer(STRING, ["a", "b"], array(2)).predict({"x": {"q": 4, "b": 1}})["y"], [0, 1])
        equal(self.vectorizer(STRING, ["a", "b"], array(2)).predict({"x": {}})["y"], [0, 0])

    def test_what_is_no_dictionary_is_refused(self):
        with pytest.raises(RequantError, match="'x' is a dictionary, not list"):
            self.vectorizer(STRING, ["a"], array(1)).predict({"x": [1]})


class TestScaler:
    def scaler(self, inputs, outputs, shift=(), scale=()):
        spec = transform([("x", inputs)], [("y", outputs)], "scaler")
        spec.scaler.shiftValue.extend(shift)
        spec.scaler.scaleValue.extend(scale)
        return opened(spec)

    def test_it_shifts_first_and_scales_then(self):
        equal(self.scaler(array(2), array(2), [1, 2], [10, 100]).predict({"x": [3, 4]})["y"], [40, 600])
        equal(self.scaler(array(2), array(2), [1], [10]).predict({"x": [3, 4]})["y"], [40, 50])
        equal(self.scaler(array(2), array(2), scale=[2, 3]).predict({"x": [3, 4]})["y"], [6, 12])
        equal(self.scaler(array(2), array(2)).predict({"x": [3, 4]})["y"], [3, 4])

    def test_integers_stay_integers_where_nothing_is_lost(self):
        assert self.scaler(INT64, INT64, [1], [0.5]).predict({"x": 3}) == {"y": 2}
        assert self.scaler(INT64, DOUBLE, [1], [0.5]).predict({"x": 4}) == {"y": 2.5}
        with pytest.raises(RequantError, match=r"'y' is a whole number, but the model computes 2\.5"):
            self.scaler(INT64, INT64, [1], [0.5]).predict({"x": 4})

    def test_sizes_that_do_not_fit_are_refused(self):
        with pytest.raises(RequantError, match="shifts 3 numbers and scales 1, but its input holds 2"):
            self.scaler(array(2), array(2), [1, 2, 3]).predict({"x": [3, 4]})


@pytest.mark.parametrize(
    ("norm", "expected"), [("LMax", [1, -4 / 3, 1]), ("L1", [0.3, -0.4, 0.3]), ("L2", [3, -4, 3] / np.sqrt(34))]
)
def test_a_normalizer_divides_by_a_norm(norm, expected):
    spec = transform([("x", array(3))], [("y", array(3))], "normalizer")
    spec.normalizer.normType = spec.normalizer.NormType.Value(norm)
    np.testing.assert_allclose(opened(spec).predict({"x": [3, -4, 3]})["y"], expected, rtol=1e-15)
    equal(opened(spec).predict({"x": [0, 0, 0]})["y"], [0, 0, 0])


class TestCategoricalMapping:
    def mapping(self, unknown=None):
        spec = transform([("x", STRING)], [("y", INT64)], "categoricalMapping")
        spec.categoricalMapping.stringToInt64Map.map.update({"a": 5, "b": -6})
        if unknown is not None:
            spec.categoricalMapping.int64Value = unknown
        return spec

    def back(self):
        spec = transform([("x", INT64)], [("y", STRING)], "categoricalMapping")
        spec.categoricalMapping.int64ToStringMap.map.update({5: "a"})
        spec.categoricalMapping.strValue = "?"
        return spec

    def test_strings_become_integers_and_back(self):
        assert opened(self.mapping()).predict({"x": "b"}) == {"y": -6}
        assert [opened(self.back()).predict({"x": value})["y"] for value in (5, 6)] == ["a", "?"]

    def test_an_unknown_value_is_an_error_or_the_default(self):
        assert opened(self.mapping(0)).predict({"x": "q"}) == {"y": 0}
        with pytest.raises(RequantError, match="'x' is 'q', which is not in the model's mapping"):
            opened(self.mapping()).predict({"x": "q"})

    def test_sequences_are_mapped_value_by_value(self):
        runner = opened(sequence(self.mapping(0), "stringType", "int64Type"))
        assert runner.predict({"x": ["b", "q", "a"]}) == {"y": [-6, 0, 5]}
        assert opened(sequence(self.back(), "int64Type", "stringType")).predict({"x": [5, 1]}) == {"y": ["a", "?"]}
        with pytest.raises(RequantError, match="'x' is a sequence, not str"):
            runner.predict({"x": "ab"})


def test_an_array_feature_extractor_picks_elements():
    features = [("x", Array(4))]
    equal(opened(create_array_feature_extractor(features, "y", [3, 0])).predict({"x": [5, 6, 7, 8]})["y"], [8, 5])
    assert opened(create_array_feature_extractor(features, "y", 2)).predict({"x": [5, 6, 7.5, 8]}) == {"y": 7.5}
    integer = create_array_feature_extractor(features, "y", 2, output_type="Int64")
    assert opened(integer).predict({"x": [5, 6, 7, 8]}) == {"y": 7}
    spec = create_array_feature_extractor(features, "y", [3, 0])
    spec.arrayFeatureExtractor.extractIndex.append(4)
    with pytest.raises(RequantError, match=r"takes the element 4 of 4 \(counted from 0\)"):
        opened(spec).predict({"x": [5, 6, 7, 8]})


def test_an_identity_returns_its_inputs():
    features = [("a", STRING), ("b", array(2)), ("c", dictionary(STRING))]
    found = opened(transform(features, features, "identity")).predict({"a": "text", "b": [1, 2], "c": {"k": 1}})
    assert (found["a"], found["c"]) == ("text", {"k": 1.0})
    equal(found["b"], [1, 2])
    with pytest.raises(RequantError, match="its output 'other' has not the name of an input"):
        opened(transform([("a", STRING)], [("other", STRING)], "identity"))


def test_class_confidence_thresholding_takes_all_classes():
    spec = transform([("x", array(3))], [("y", array(2, 3))], "classConfidenceThresholding")
    equal(opened(spec).predict({"x": [0.5, 0.1, 0.9]})["y"], [[0.5, 0.1, 0.9], [1, 1, 1]])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("bayesianProbitRegressor", "leaves open how its outputs follow"),
        ("customModel", "the code that computes it belongs to an app"),
        ("gazetteer", "a form of Apple's own"),
        ("itemSimilarityRecommender", "in which order items of one score are recommended"),
        ("linkedModel", "only names another compiled model"),
        ("serializedModel", "a form of Apple's own"),
        ("soundAnalysisPreprocessing", "says only that there is one"),
        ("textClassifier", "a form of Apple's own"),
        ("visionFeaturePrint", "the network is not in the file"),
        ("audioFeaturePrint", "the network is not in the file"),
        ("wordEmbedding", "a form of Apple's own"),
        ("wordTagger", "a form of Apple's own"),
    ],
)
def test_what_only_apple_computes_is_refused_by_name(body, reason):
    with pytest.raises(RequantError, match=f"classical.mlmodel: a model of type {body} can't be run here: .*{reason}"):
        opened(transform([("x", array(1))], [("y", array(1))], body))


def test_a_row_of_a_table_is_taken_for_an_array():
    spec = transform([("x", array(2))], [("y", array(2))], "scaler")
    equal(opened(spec).predict({"x": [[3, 4]]})["y"], [3, 4])
    for other in ([[3], [4]], [3, 4, 5], [[3, 4], [3, 4]]):
        with pytest.raises(RequantError, match="'x' is an array of shape"):
            opened(spec).predict({"x": other})


def test_keys_of_a_dictionary_may_be_of_another_type_than_declared():
    """A converted `DictVectorizer` of integers declares strings."""
    spec = transform([("x", dictionary(STRING))], [("y", array(2))], "dictVectorizer")
    spec.dictVectorizer.int64ToIndex.vector.extend([30, 10])
    equal(opened(spec).predict({"x": {10: 4}})["y"], [0, 4])
    with pytest.raises(RequantError, match=r"'x' takes whole numbers, not 1\.5"):
        opened(spec).predict({"x": {1.5: 4}})


def test_an_optional_input_that_nothing_stands_for_is_asked_for():
    spec = transform([("x", array(1))], [("y", array(1))], "scaler")
    spec.description.input[0].type.isOptional = True
    with pytest.raises(RequantError, match="'x' was left out, and the model does not say what stands for it"):
        opened(spec).predict({})


def test_a_model_of_one_input_has_one():
    with pytest.raises(RequantError, match="has one input, but this one declares 2"):
        opened(transform([("x", array(1)), ("z", array(1))], [("y", array(1))], "scaler"))
    with pytest.raises(RequantError, match="the input 'x' is neither an array nor a number"):
        opened(transform([("x", STRING)], [("y", array(1))], "scaler"))
