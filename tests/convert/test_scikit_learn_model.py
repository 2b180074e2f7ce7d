"""scikit-learn originals, held against scikit-learn's own predictions."""

import pickle
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

if find_spec("sklearn") is None or find_spec("skops") is None:
    pytest.skip("scikit-learn and skops are not installed", allow_module_level=True)

import joblib
import skops.io
from sklearn import dummy, ensemble, impute, linear_model, naive_bayes, preprocessing, svm, tree
from sklearn.pipeline import make_pipeline

from requant.convert import scikit_learn_model
from requant.convert.settings import ConversionSettings
from requant.convert.tabular import LABEL, PREDICTION, SCORES, plain_labels
from requant.errors import RequantError
from requant.runtime import open_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4))
Y = X @ [1, 2, -1, 0.5] + 0.1 * RNG.normal(size=150)
GAPS = np.where(RNG.uniform(size=X.shape) < 0.1, np.nan, X)
TWO, THREE = (Y > 0).astype(int), np.digitize(Y, [-1, 1])
NAMES = np.array(["low", "middle", "high"])[THREE]
SEED = {"random_state": 0}
PROBABILITIES = {"probability": True, **SEED}


def saved(model, folder):
    path = folder / "model.skops"
    skops.io.dump(model, path)
    return path


def fitted(model, rows, wanted):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows, wanted)


def opened(path, table=None):
    settings = ConversionSettings.of(table)
    return scikit_learn_model.open_source(path, settings), open_model(scikit_learn_model.convert(path, settings))


def compare(model, folder, rows=X, tolerance=1e-6):
    source, runner = opened(saved(model, folder))
    for row in rows[:40]:
        found, (wanted,) = runner.predict({"input": row}), source.run([row])
        if not source.labels:
            assert found[PREDICTION] == pytest.approx(wanted[0], abs=1e-9, rel=1e-9)
            assert wanted[0] == pytest.approx(model.predict(row[None])[0])
        elif source.has_scores:
            np.testing.assert_allclose([found[SCORES][label] for label in source.labels], wanted, atol=tolerance)
            assert found[LABEL] == source.labels[int(np.argmax(wanted))]
        else:
            assert found[LABEL] == wanted[0] == model.predict(row[None])[0]
    return source, runner


REGRESSORS = [
    linear_model.LinearRegression(),
    linear_model.LinearRegression(fit_intercept=False),
    linear_model.Ridge(),
    linear_model.Lasso(0.01),
    linear_model.HuberRegressor(),
    linear_model.SGDRegressor(**SEED),
    svm.LinearSVR(),
    svm.SVR(),
    svm.SVR(kernel="linear"),
    svm.SVR(kernel="poly"),
    svm.NuSVR(kernel="sigmoid"),
    tree.DecisionTreeRegressor(max_depth=4),
    ensemble.RandomForestRegressor(6, **SEED),
    ensemble.ExtraTreesRegressor(6, **SEED),
    ensemble.GradientBoostingRegressor(n_estimators=6),
    ensemble.GradientBoostingRegressor(n_estimators=6, loss="huber"),
    ensemble.GradientBoostingRegressor(n_estimators=6, init="zero"),
]
CLASSIFIERS = [
    linear_model.LogisticRegression(),
    linear_model.RidgeClassifier(),
    linear_model.SGDClassifier(**SEED),
    linear_model.SGDClassifier(loss="log_loss", **SEED),
    linear_model.Perceptron(**SEED),
    svm.LinearSVC(),
    svm.SVC(),
    svm.SVC(kernel="linear"),
    svm.NuSVC(nu=0.2),
    tree.DecisionTreeClassifier(max_depth=3),
    ensemble.RandomForestClassifier(6, max_depth=4, **SEED),
    ensemble.ExtraTreesClassifier(6, **SEED),
    ensemble.GradientBoostingClassifier(n_estimators=6),
    ensemble.GradientBoostingClassifier(n_estimators=6, init="zero"),
]


@pytest.mark.parametrize("model", REGRESSORS, ids=str)
def test_a_regressor_predicts_what_it_predicted(model, tmp_path):
    compare(fitted(model, X, Y), tmp_path)


@pytest.mark.parametrize("wanted", [TWO, THREE, NAMES, TWO.astype(bool), TWO.astype(float)], ids=lambda w: str(w[:2]))
@pytest.mark.parametrize("model", CLASSIFIERS, ids=str)
def test_a_classifier_predicts_what_it_predicted(model, wanted, tmp_path):
    compare(fitted(model, X, wanted), tmp_path)


def test_two_classes_with_the_exponential_loss(tmp_path):
    model = ensemble.GradientBoostingClassifier(n_estimators=6, loss="exponential")
    compare(fitted(model, X, TWO), tmp_path)


@pytest.mark.parametrize(("wanted", "tolerance"), [(TWO, 0.01), (NAMES, 1e-6)])
def test_probabilities_of_support_vectors(wanted, tolerance, tmp_path):
    """Of two classes, LIBSVM finds the probabilities by an iteration that ends within half a percent."""
    model = fitted(svm.SVC(**PROBABILITIES), X, wanted)
    source, runner = opened(saved(model, tmp_path))
    for row in X[:40]:
        found = runner.predict({"input": row})[SCORES]
        np.testing.assert_allclose([found[label] for label in source.labels], source.run([row])[0], atol=tolerance)


def test_of_two_classes_that_are_equally_probable_the_first_is_predicted(tmp_path):
    rows = np.array([[0.0, 0], [0, 0], [1, 1]])
    model = tree.DecisionTreeClassifier().fit(rows, ["a", "b", "b"])
    source, runner = opened(saved(model, tmp_path))
    assert source.run([rows[0]])[0].tolist() == [0.5, 0.5]
    assert runner.predict({"input": rows[0]})[LABEL] == model.predict(rows[:1])[0] == "a"


def test_large_scores_do_not_tie(tmp_path):
    compare(fitted(linear_model.SGDClassifier(**SEED), 1000 * X, THREE), tmp_path, 1000 * X)


SCALERS = [
    preprocessing.StandardScaler(),
    preprocessing.StandardScaler(with_mean=False),
    preprocessing.StandardScaler(with_std=False),
    preprocessing.RobustScaler(),
    preprocessing.RobustScaler(with_centering=False),
    preprocessing.MinMaxScaler((-1, 2)),
    preprocessing.MaxAbsScaler(),
    preprocessing.Normalizer(),
    preprocessing.Normalizer("l1"),
    "passthrough",
]


@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_columns_are_transformed_before(scaler, tmp_path):
    compare(fitted(make_pipeline(scaler, linear_model.Ridge()), X, Y), tmp_path)


@pytest.mark.parametrize("strategy", ["mean", "median", "constant"])
def test_gaps_are_filled(strategy, tmp_path):
    inner = make_pipeline(impute.SimpleImputer(strategy=strategy, fill_value=0.3), preprocessing.StandardScaler())
    model = make_pipeline(inner, svm.SVC())
    _, runner = compare(fitted(model, GAPS, NAMES), tmp_path, GAPS)
    assert [output.name for output in runner.outputs] == [LABEL]


def test_a_forest_takes_gaps_where_it_was_trained_with_them(tmp_path):
    compare(fitted(tree.DecisionTreeClassifier(max_depth=5), GAPS, NAMES), tmp_path, GAPS)


@pytest.mark.parametrize(
    "model", [ensemble.RandomForestClassifier(5, **SEED), make_pipeline(preprocessing.StandardScaler(), svm.SVC())]
)
def test_named_columns_are_inputs_of_their_own(model, tmp_path):
    table = pd.DataFrame(X, columns=["height", "width", "age", "my weight"])
    source, runner = opened(saved(fitted(model, table, NAMES), tmp_path))
    assert [(each.name, each.shape) for each in source.inputs] == [(name, ()) for name in table.columns]
    for i in range(30):
        found = runner.predict(dict(table.iloc[i]))
        assert found[LABEL] == model.predict(table.iloc[i : i + 1])[0]
        assert source.run([np.array(value) for value in table.iloc[i]])


def test_names_and_labels_are_those_of_the_configuration(tmp_path):
    path = saved(fitted(linear_model.LogisticRegression(), X, TWO), tmp_path)
    table = {"inputs": [{"name": "x"}], "class_labels": ["no", "yes"], "outputs": [{"name": "is"}, {"name": "scores"}]}
    source, runner = opened(path, table)
    found = runner.predict({"x": X[0]})
    assert found["is"] == ("no", "yes")[TWO[0]]
    assert found["scores"]["yes"] == pytest.approx(source.run([X[0]])[0][1])


CONVERT = """
import sys
from pathlib import Path
from requant.convert import scikit_learn_model
from requant.convert.settings import ConversionSettings
sys.stdout.buffer.write(
    scikit_learn_model.convert(Path(sys.argv[1]), ConversionSettings()).spec.SerializeToString(deterministic=True)
)
"""


def test_two_processes_give_equal_bytes(tmp_path):
    model = make_pipeline(preprocessing.StandardScaler(), ensemble.RandomForestClassifier(5, **SEED))
    path = saved(fitted(model, X, NAMES), tmp_path)
    here = scikit_learn_model.convert(path, ConversionSettings()).spec.SerializeToString(deterministic=True)
    assert subprocess.run([sys.executable, "-c", CONVERT, path], capture_output=True, check=True).stdout == here


class Trap:
    """Writes a file as soon as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ".pickle"])
def test_a_pickle_is_not_read_unless_it_is_trusted(suffix, tmp_path):
    path, sprung = tmp_path / f"model{suffix}", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(RequantError, match=r"skops\.io\.dump.*trust_pickle: true"):
        scikit_learn_model.open_source(path, ConversionSettings())
    assert not sprung.exists()


@pytest.mark.parametrize("suffix", [".joblib", ".pkl"])
def test_a_pickle_that_is_trusted_is_read(suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    model = fitted(linear_model.Ridge(), X, Y)
    joblib.dump(model, path) if suffix == ".joblib" else path.write_bytes(pickle.dumps(model))
    source, runner = opened(path, {"trust_pickle": True})
    assert runner.predict({"input": X[0]})[PREDICTION] == pytest.approx(source.run([X[0]])[0][0])


class Derived(linear_model.Ridge):
    """One may compute anything in its `predict`."""


def test_types_that_are_not_known_to_be_safe_are_named(tmp_path):
    path = saved(fitted(Derived(), X, Y), tmp_path)
    with pytest.raises(RequantError, match=r"not known to be safe: .*Derived"):
        scikit_learn_model.open_source(path, ConversionSettings())


def test_a_class_that_is_derived_is_none_of_scikit_learn(tmp_path):
    path = tmp_path / "model.joblib"
    joblib.dump(fitted(Derived(), X, Y), path)
    with pytest.raises(RequantError, match=r"ends in .*Derived, which can't be converted"):
        scikit_learn_model.open_source(path, ConversionSettings(trust_pickle=True))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (linear_model.PoissonRegressor(), "ends in PoissonRegressor, which can't be converted"),
        (naive_bayes.GaussianNB(), "ends in GaussianNB"),
        (make_pipeline(preprocessing.PolynomialFeatures(), linear_model.Ridge()), "by PolynomialFeatures"),
        (make_pipeline(preprocessing.MinMaxScaler(clip=True), linear_model.Ridge()), "clip=True"),
        (make_pipeline(preprocessing.Normalizer("max"), linear_model.Ridge()), "norm='max'"),
        (make_pipeline(impute.SimpleImputer(add_indicator=True), linear_model.Ridge()), "adds or drops columns"),
        (preprocessing.StandardScaler(), "ends in StandardScaler"),
        (linear_model.SGDClassifier(loss="modified_huber"), "modified_huber"),
        (svm.SVC(break_ties=True, decision_function_shape="ovr"), "break_ties"),
        (ensemble.GradientBoostingRegressor(init=linear_model.Ridge()), "starts from Ridge"),
    ],
    ids=str,
)
def test_what_core_ml_has_nothing_for_is_named(model, message, tmp_path):
    path = saved(fitted(model, GAPS if "Imputer" in str(model) else X, THREE), tmp_path)
    with pytest.raises(RequantError, match=message):
        scikit_learn_model.convert(path, ConversionSettings())


@pytest.mark.parametrize("model", [linear_model.LinearRegression(), tree.DecisionTreeRegressor()], ids=str)
def test_several_outputs_are_refused(model, tmp_path):
    path = saved(fitted(model, X, np.stack([Y, Y], axis=1)), tmp_path)
    with pytest.raises(RequantError, match="predicts 2 numbers"):
        scikit_learn_model.convert(path, ConversionSettings())


def test_a_model_without_training_is_refused(tmp_path):
    with pytest.raises(RequantError, match=r"is not trained: Ridge"):
        scikit_learn_model.open_source(saved(linear_model.Ridge(), tmp_path), ConversionSettings())


def test_labels_that_are_no_names_or_numbers_are_refused():
    with pytest.raises(RequantError, match="strings or whole numbers"):
        plain_labels([0.5, 1.5], Path("model.skops"))


def test_a_tree_that_goes_in_circles_is_refused(tmp_path):
    model = fitted(tree.DecisionTreeRegressor(max_depth=3), X, Y)
    model.tree_.children_left[1] = 0
    with pytest.raises(RequantError, match="the nodes of a tree do not form one"):
        scikit_learn_model.open_source(saved(model, tmp_path), ConversionSettings())


@pytest.mark.parametrize("kept", [0, 0.5])
@pytest.mark.parametrize("suffix", [".skops", ".joblib"])
def test_a_damaged_file_is_named(suffix, kept, tmp_path):
    model, path = fitted(linear_model.Ridge(), X, Y), tmp_path / f"model{suffix}"
    skops.io.dump(model, path) if suffix == ".skops" else joblib.dump(model, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(RequantError, match="or it is damaged"):
        scikit_learn_model.open_source(path, ConversionSettings(trust_pickle=True))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"inputs": [{"name": "x", "shape": [1, 4]}]}, "it can get another name, but no shape"),
        ({"outputs": [{"name": "a"}, {"name": "b"}]}, "names 2 outputs, but the model has 1: prediction"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(table, message, tmp_path):
    path = saved(fitted(linear_model.Ridge(), X, Y), tmp_path)
    with pytest.raises(RequantError, match=message):
        scikit_learn_model.convert(path, ConversionSettings.of(table))


def test_a_row_of_another_length_is_refused(tmp_path):
    source, _ = opened(saved(fitted(linear_model.Ridge(), X, Y), tmp_path))
    with pytest.raises(RequantError, match="takes 4 numbers, but the inputs hold 3"):
        source.run([X[0, :3]])


def test_a_dummy_is_no_model(tmp_path):
    with pytest.raises(RequantError, match="ends in DummyClassifier"):
        scikit_learn_model.open_source(saved(dummy.DummyClassifier().fit(X, TWO), tmp_path), ConversionSettings())
