"""XGBoost originals, held against XGBoost's own predictions."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("xgboost") is None:
    pytest.skip("XGBoost is not installed", allow_module_level=True)

import xgboost

from requant.convert import xgboost_model
from requant.convert.settings import ConversionSettings
from requant.convert.tabular import LABEL, PREDICTION, SCORES
from requant.errors import RequantError
from requant.runtime import open_model

RNG = np.random.default_rng(0)
# Values on a grid meet the thresholds, and there are gaps.
X = np.round(RNG.normal(size=(300, 4)), 1).astype(np.float32)
X[RNG.uniform(size=X.shape) < 0.1] = np.nan
Y = np.nan_to_num(X) @ [1, 2, -1, 0.5]
TWO, THREE = (Y > 0).astype(int), np.digitize(Y, [-1, 1])
COLUMNS = ["height", "width", "age", "weight"]


def trained(wanted, rounds=8, names=None, rows=X, **parameters):
    data = xgboost.DMatrix(rows, wanted, feature_names=names)
    return xgboost.train({"max_depth": 3, "eta": 0.4, "verbosity": 0} | parameters, data, rounds)


def saved(model, folder, suffix=".ubj"):
    path = folder / f"model{suffix}"
    model.save_model(path)
    return path


def opened(path, table=None):
    settings = ConversionSettings.of(table)
    return xgboost_model.open_source(path, settings), open_model(xgboost_model.convert(path, settings))


def compare(path, rows=X):
    source, runner = opened(path)
    for row in rows[:60]:
        found, (wanted,) = runner.predict({"input": row}), source.run([row])
        if source.labels:
            np.testing.assert_allclose([found[SCORES][label] for label in source.labels], wanted, atol=1e-6)
            assert found[LABEL] == source.labels[int(np.argmax(wanted))]
        else:
            assert found[PREDICTION] == pytest.approx(wanted[0], abs=2e-6, rel=1e-6)
    return source, runner


REGRESSIONS = {
    "squares": {},
    "base score": {"base_score": 7.5},
    "absolute errors": {"objective": "reg:absoluteerror"},
    "pseudo-Huber": {"objective": "reg:pseudohubererror"},
    "by leaves": {"grow_policy": "lossguide", "max_leaves": 6, "gamma": 3.0},
    "exact": {"tree_method": "exact"},
    "dart": {"booster": "dart", "rate_drop": 0.4, "seed": 1},
}


@pytest.mark.parametrize("parameters", REGRESSIONS.values(), ids=REGRESSIONS)
@pytest.mark.parametrize("suffix", [".ubj", ".json", ".xgb.json"])
def test_a_regressor_predicts_what_it_predicted(suffix, parameters, tmp_path):
    booster = trained(Y, **{"objective": "reg:squarederror"} | parameters)
    source, _ = compare(saved(booster, tmp_path, suffix))
    wanted = booster.predict(xgboost.DMatrix(X[:1]))
    assert source.run([X[0]])[0][0] == pytest.approx(wanted[0])


@pytest.mark.parametrize("objective", ["reg:logistic", "binary:logitraw", "rank:pairwise"])
def test_other_numbers(objective, tmp_path):
    data = xgboost.DMatrix(X, TWO, qid=np.arange(len(X)) // 20)
    compare(saved(xgboost.train({"objective": objective, "max_depth": 3}, data, 5), tmp_path))


CLASSIFICATIONS = {
    "two": (TWO, {"objective": "binary:logistic"}),
    "two from another base": (TWO, {"objective": "binary:logistic", "base_score": 0.1}),
    "two by dart": (TWO, {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.4}),
    "three": (THREE, {"objective": "multi:softprob", "num_class": 3}),
    "three as labels": (THREE, {"objective": "multi:softmax", "num_class": 3}),
    "forests": (THREE, {"objective": "multi:softprob", "num_class": 3, "num_parallel_tree": 3, "subsample": 0.5}),
}


@pytest.mark.parametrize("case", CLASSIFICATIONS.values(), ids=CLASSIFICATIONS)
def test_a_classifier_predicts_what_it_predicted(case, tmp_path):
    wanted, parameters = case
    compare(saved(trained(wanted, **parameters), tmp_path))


def test_more_of_one_class_than_of_others(tmp_path):
    compare(saved(trained(np.minimum(THREE, 1) * 2, 3, objective="multi:softprob", num_class=3), tmp_path))


@pytest.mark.skipif(find_spec("sklearn") is None, reason="XGBoost's classes are some of scikit-learn's")
@pytest.mark.parametrize("wanted", [TWO, THREE])
def test_the_interface_of_scikit_learn(wanted, tmp_path):
    model = xgboost.XGBClassifier(n_estimators=6, max_depth=3).fit(X, wanted)
    source, _ = compare(saved(model, tmp_path))
    np.testing.assert_allclose(source.run([X[0]])[0], model.predict_proba(X[:1])[0], atol=1e-6)


@pytest.mark.skipif(find_spec("sklearn") is None, reason="XGBoost's classes are some of scikit-learn's")
def test_rounds_after_the_best_one_do_not_count(tmp_path):
    model = xgboost.XGBClassifier(n_estimators=60, learning_rate=1.0, early_stopping_rounds=3)
    model.fit(X[:150], THREE[:150], eval_set=[(X[150:], THREE[150:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    source, _ = compare(saved(model, tmp_path))
    np.testing.assert_allclose(source.run([X[0]])[0], model.predict_proba(X[:1])[0], atol=1e-6)


def test_named_columns_are_inputs_of_their_own_and_round_as_xgboost_rounds(tmp_path):
    """0.3 in float64 is less than 0.3 in float32, of which XGBoost made a threshold; it has to count as equal."""
    source, runner = opened(saved(trained(Y, names=COLUMNS, objective="reg:squarederror"), tmp_path))
    assert [feature.name for feature in runner.inputs] == COLUMNS
    for row in X[:100].astype(np.float64).round(1):
        found = runner.predict(dict(zip(COLUMNS, row.tolist(), strict=True)))[PREDICTION]
        assert found == pytest.approx(source.run([np.array(value) for value in row])[0][0], abs=2e-6)


def test_names_and_labels_are_those_of_the_configuration(tmp_path):
    path = saved(trained(THREE, objective="multi:softprob", num_class=3), tmp_path)
    table = {"inputs": [{"name": "x"}], "class_labels": ["a", "b", "c"], "outputs": [{"name": "is"}, {"name": "p"}]}
    source, runner = opened(path, table)
    found = runner.predict({"x": X[0]})
    assert found["is"] == "abc"[int(source.run([X[0]])[0].argmax())]
    assert set(found["p"]) == {"a", "b", "c"}


CONVERT = """
import sys
from pathlib import Path
from requant.convert import xgboost_model
from requant.convert.settings import ConversionSettings
sys.stdout.buffer.write(
    xgboost_model.convert(Path(sys.argv[1]), ConversionSettings()).spec.SerializeToString(deterministic=True)
)
"""


def test_two_processes_give_equal_bytes(tmp_path):
    path = saved(trained(THREE, objective="multi:softprob", num_class=3), tmp_path)
    here = xgboost_model.convert(path, ConversionSettings()).spec.SerializeToString(deterministic=True)
    assert subprocess.run([sys.executable, "-c", CONVERT, path], capture_output=True, check=True).stdout == here


@pytest.mark.parametrize(
    ("wanted", "parameters", "message"),
    [
        (np.abs(Y), {"objective": "count:poisson"}, "the objective count:poisson, for whose results"),
        (np.abs(Y) + 0.1, {"objective": "reg:gamma"}, "the objective reg:gamma"),
        (TWO, {"objective": "binary:hinge"}, "the objective binary:hinge"),
        (np.stack([Y, Y], axis=1), {"objective": "reg:squarederror"}, "predicts 2 numbers"),
    ],
)
def test_what_core_ml_has_nothing_for_is_named(wanted, parameters, message, tmp_path):
    path = saved(trained(wanted, 3, **parameters), tmp_path)
    with pytest.raises(RequantError, match=message):
        xgboost_model.open_source(path, ConversionSettings())


def test_a_linear_booster_is_refused(tmp_path):
    data = xgboost.DMatrix(X, Y)
    path = saved(xgboost.train({"booster": "gblinear", "verbosity": 0}, data, 3), tmp_path)
    with pytest.raises(RequantError, match="has the booster gblinear"):
        xgboost_model.open_source(path, ConversionSettings())


def test_categories_are_refused(tmp_path):
    rows = np.random.default_rng(0).integers(0, 6, (200, 2)).astype(np.float32)
    data = xgboost.DMatrix(rows, (rows[:, 0] % 2) * 3.0, feature_types=["c", "c"], enable_categorical=True)
    path = saved(xgboost.train({"max_depth": 2, "max_cat_to_onehot": 1, "tree_method": "hist"}, data, 3), tmp_path)
    with pytest.raises(RequantError, match="splits categories"):
        xgboost_model.open_source(path, ConversionSettings())


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
@pytest.mark.parametrize("kept", [0, 0.6])
def test_a_damaged_file_is_named(suffix, kept, tmp_path):
    path = saved(trained(Y), tmp_path, suffix)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(RequantError, match="is not a model that XGBoost can read"):
        xgboost_model.open_source(path, ConversionSettings())


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], "text"])
def test_another_json_file_is_named(content, tmp_path):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(content))
    with pytest.raises(RequantError, match="is not a model that XGBoost can read"):
        xgboost_model.open_source(path, ConversionSettings())


def test_a_row_of_another_length_is_refused(tmp_path):
    source, _ = opened(saved(trained(Y), tmp_path))
    with pytest.raises(RequantError, match="takes 4 numbers, but the inputs hold 3"):
        source.run([X[0, :3]])
