"""Originals from scikit-learn: `.skops`, which is data, and pickles (`.joblib`, `.pkl`, `.pickle`), which run code.

An estimator, alone or at the end of a `Pipeline` of transformers, becomes the Core ML model that computes the same.
Estimators are told by the name of their class, since a class that is derived from scikit-learn's may compute anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.convert.settings import ConversionSettings
from requant.convert.source import SourceInput
from requant.convert.tabular import (
    Labels,
    Tree,
    columns_of,
    declare_array,
    declare_classifier,
    declare_regressor,
    labels_for,
    new_spec,
    plain_labels,
    row_of,
    source_inputs,
    vectorizer,
)
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.frameworks import require

# What skops does not trust of its own accord, though it holds numbers only; the nodes of trees are checked here.
_HARMLESS = ("numpy.dtype", "sklearn.tree._tree.Tree")
# Of two classes that are equally probable, scikit-learn predicts the first one, but Core ML the second. So that one's
# probability is made smaller by a trifle.
_TRIFLE = 2e-7
_NUMBERS = "numbers"  # the array that goes from one model of a pipeline to the next


@dataclass(frozen=True)
class _Source:
    """A scikit-learn model, ready to be run.

    Attributes:
        framework: its name and version.
        inputs: an array, or a number for each named column.
        labels: of a classifier, in the order of its scores; empty for a regressor.
        model: scikit-learn's.
        columns: how many it has.
        steps: its transformers and its estimator, in order.
    """

    framework: str
    inputs: list[SourceInput]
    labels: Labels
    model: Any
    columns: int
    steps: list[Any]

    @property
    def has_scores(self) -> bool:
        """Whether the classifier tells probabilities."""
        return bool(self.labels) and hasattr(self.model, "predict_proba")

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the predicted number, the probabilities of all classes, or where there are none, the label."""
        import warnings

        row = row_of(inputs, self.columns, "float64")
        with warnings.catch_warnings():  # that the columns have no names here
            warnings.simplefilter("ignore")
            if self.has_scores:
                return [np.asarray(self.model.predict_proba(row)[0])]
            found = self.model.predict(row)
        if not self.labels:
            return [np.asarray(found, np.float64).reshape(1)]
        return [np.array([self.labels[self.model.classes_.tolist().index(found.tolist()[0])]])]


def open_source(original: Path, settings: ConversionSettings) -> _Source:
    """Return a scikit-learn original, ready to be run.

    Raises:
        RequantError: if it is a pickle that is not trusted, scikit-learn is missing, the file can't be read, or Core ML
            has nothing for what is in it.
    """
    if original.suffix != ".skops" and not settings.trust_pickle:
        raise RequantError(
            f"{original} is a pickle: reading it runs whatever code is in it. Save the model as data, which is safe "
            "(skops.io.dump(model, 'NAME.skops')), or if you made the file or trust who did, set trust_pickle: true "
            "under conversion."
        )
    require("scikit-learn", original)
    import sklearn

    model = _load_skops(original) if original.suffix == ".skops" else _load_pickle(original)
    steps = _steps(original, model)
    for step in steps:
        _require_known(original, step, last=step is steps[-1])
    columns = int(steps[0].n_features_in_)
    names = getattr(steps[0], "feature_names_in_", None)
    for tree in _trees_of(steps[-1]):
        _tree(tree).require_sound(original, columns if len(steps) == 1 else int(steps[-1].n_features_in_))
    classes = getattr(steps[-1], "classes_", None)
    labels = labels_for(plain_labels(classes, original), settings) if classes is not None else []
    inputs = source_inputs(None if names is None else list(names), columns)
    return _Source(f"scikit-learn {sklearn.__version__}", inputs, labels, model, columns, steps)


def convert(original: Path, settings: ConversionSettings) -> Model:
    """Return the float model of a scikit-learn original.

    Raises:
        RequantError: if it can't be read, or Core ML has nothing for what is in it, naming the estimator.
    """
    source = open_source(original, settings)
    columns = columns_of(source.inputs, settings)
    stages = [vectorizer(columns, _NUMBERS)] if columns.named else []
    for step in source.steps:
        stage, size = new_spec(), int(step.n_features_in_)
        if stages:
            declare_array(stage, _NUMBERS, size, output=False)
        else:
            columns.declare(stage)
        if step is source.steps[-1]:
            _declare(stage, _ESTIMATORS[_class_of(step)](original, step, stage), source, settings)
        else:
            _TRANSFORMERS[_class_of(step)](original, step, stage)
            declare_array(stage, _NUMBERS, size, output=True)
        stages.append(stage)
    return Model(_joined(stages, classifier=bool(source.labels)), {}, original)


def _declare(spec: Any, body: Any, source: _Source, settings: ConversionSettings) -> None:
    if source.labels:
        declare_classifier(spec, body, source.labels, source.has_scores, settings)
    else:
        declare_regressor(spec, settings)


def _joined(stages: list[Any], *, classifier: bool) -> Any:
    """Return the models as one: a pipeline, if there are several."""
    if len(stages) == 1:
        return stages[0]
    spec, last = new_spec(), stages[-1].description
    spec.description.input.extend(stages[0].description.input)
    spec.description.output.extend(last.output)
    spec.description.predictedFeatureName = last.predictedFeatureName
    spec.description.predictedProbabilitiesName = last.predictedProbabilitiesName
    body = spec.pipelineClassifier if classifier else spec.pipelineRegressor
    body.pipeline.models.extend(stages)
    return spec


# Reading


def _load_skops(original: Path) -> Any:
    import skops.io

    try:
        unknown = sorted(set(skops.io.get_untrusted_types(file=original)) - set(_HARMLESS))
    except Exception as error:  # skops has no common class for what is wrong with a file
        raise RequantError(f"{original} is not a file that skops can read, or it is damaged: {error}") from error
    if unknown:
        raise RequantError(
            f"{original} holds objects of types that are not known to be safe: {', '.join(unknown)}. A model is "
            "read if it has nothing but scikit-learn's and numpy's own types in it."
        )
    try:
        return skops.io.load(original, trusted=list(_HARMLESS))
    except Exception as error:
        raise RequantError(
            f"{original} can't be read with this version of scikit-learn, or it is damaged: {error}"
        ) from error


def _load_pickle(original: Path) -> Any:
    import joblib

    try:
        return joblib.load(original)
    except Exception as error:  # a pickle may raise anything
        raise RequantError(
            f"{original} is not a pickle that can be read with the versions installed here, or it is damaged: "
            f"{type(error).__name__}: {error}"
        ) from error


def _steps(original: Path, model: Any) -> list[Any]:
    if _class_of(model) != "sklearn.Pipeline":
        return [model]
    steps = [step for _, step in model.steps if step is not None and not isinstance(step, str)]
    nested = [inner for step in steps for inner in _steps(original, step)]
    if not nested:
        raise RequantError(f"{original} is a Pipeline without a step that computes something.")
    return nested


def _class_of(step: Any) -> str:
    """Return the name of a class of scikit-learn; of others, the whole path."""
    kind = type(step)
    package = kind.__module__.partition(".")[0]
    return f"sklearn.{kind.__name__}" if package == "sklearn" else f"{kind.__module__}.{kind.__qualname__}"


def _require_known(original: Path, step: Any, *, last: bool) -> None:
    known, name = (_ESTIMATORS if last else _TRANSFORMERS), _class_of(step)
    if name not in known:
        place = "ends in" if last else "transforms its columns by"
        others = ", ".join(sorted(key.removeprefix("sklearn.") for key in known))
        raise RequantError(
            f"{original} {place} {name.removeprefix('sklearn.')}, which can't be converted to Core ML. What can: "
            f"{others}."
        )
    if not hasattr(step, "n_features_in_"):
        raise RequantError(f"{original} is not trained: {name.removeprefix('sklearn.')} has no n_features_in_.")


# Transformers: each writes its body into an empty model


def _affine(_: Path, step: Any, spec: Any) -> None:
    """Write scalers of all kinds, as `scale * (x + shift)`."""
    size = int(step.n_features_in_)
    scale, shift = np.ones(size), np.zeros(size)
    kind = _class_of(step).removeprefix("sklearn.")
    if kind == "MinMaxScaler":
        scale, shift = step.scale_, step.min_ / step.scale_
    elif kind == "MaxAbsScaler":
        scale = 1 / step.scale_
    else:
        center = step.mean_ if kind == "StandardScaler" and step.with_mean else getattr(step, "center_", None)
        scale = scale if step.scale_ is None else 1 / step.scale_
        shift = shift if center is None else -center
    spec.scaler.shiftValue.extend(np.asarray(shift, np.float64).tolist())
    spec.scaler.scaleValue.extend(np.asarray(scale, np.float64).tolist())


def _min_max(original: Path, step: Any, spec: Any) -> None:
    if step.clip:
        raise RequantError(f"{original} has a MinMaxScaler with clip=True, which Core ML has nothing for.")
    _affine(original, step, spec)


def _normalizer(original: Path, step: Any, spec: Any) -> None:
    if step.norm == "max":  # of absolute values here, but not in Core ML
        raise RequantError(f"{original} has a Normalizer with norm='max', which is another one in Core ML.")
    body = spec.normalizer
    body.normType = body.L1 if step.norm == "l1" else body.L2


def _imputer(original: Path, step: Any, spec: Any) -> None:
    values = np.asarray(step.statistics_, np.float64)
    if step.add_indicator or np.isnan(values).any():
        raise RequantError(
            f"{original} has a SimpleImputer that adds or drops columns (add_indicator, or an empty column), which "
            "can't be converted to Core ML."
        )
    spec.imputer.imputedDoubleArray.vector.extend(values.tolist())
    if isinstance(step.missing_values, int | float):
        spec.imputer.replaceDoubleValue = step.missing_values
    else:
        raise RequantError(f"{original} has a SimpleImputer of {step.missing_values!r}; only numbers can be replaced.")


# Linear models: each writes its body into an empty model, and returns it


def _linear_regressor(original: Path, step: Any, spec: Any) -> Any:
    body, weights = spec.glmRegressor, np.atleast_2d(np.asarray(step.coef_, np.float64))
    if len(weights) != 1:
        raise RequantError(f"{original} predicts {len(weights)} numbers, where a regressor in Core ML predicts one.")
    body.weights.add(value=weights[0].tolist())
    body.offset.append(float(np.asarray(step.intercept_).reshape(-1)[0]))
    body.postEvaluationTransform = body.NoTransform
    return body


def _linear_classifier(original: Path, step: Any, spec: Any) -> Any:
    """Write a classifier with a score per class.

    Core ML has no softmax of them all, but one in which the score of the first class is 0: the same, if that score is
    taken from all others.
    """
    body = spec.glmClassifier
    weights = np.atleast_2d(np.asarray(step.coef_, np.float64))
    offsets = np.asarray(step.intercept_, np.float64).reshape(-1)
    offsets = np.broadcast_to(offsets, len(weights))
    several = len(step.classes_) > 2
    if several and _is_softmax(step):
        weights, offsets = weights[1:] - weights[:1], offsets[1:] - offsets[:1]
    elif several:
        body.classEncoding = body.OneVsRest
    body.postEvaluationTransform = body.Logit
    for row, offset in zip(weights, offsets, strict=True):
        body.weights.add(value=row.tolist())
        body.offset.append(float(offset))
    if len(step.classes_) == 2 and len(weights) != 1:
        raise RequantError(f"{original} has {len(weights)} rows of weights for two classes.")
    return body


def _is_softmax(step: Any) -> bool:
    """Return whether scikit-learn makes probabilities of several scores by a softmax.

    Where it makes none, a softmax leaves the highest score the highest, however large scores are.
    """
    if not hasattr(step, "predict_proba"):
        return True
    if not _class_of(step).startswith("sklearn.LogisticRegression"):
        return False
    chosen = getattr(step, "multi_class", "auto")
    return not (chosen == "ovr" or (step.solver == "liblinear" and chosen in ("auto", "deprecated")))


def _logistic_regression(original: Path, step: Any, spec: Any) -> Any:
    if len(step.classes_) == 2 and getattr(step, "multi_class", "auto") == "multinomial":
        # scikit-learn takes the softmax of (-score, score) then, which is the logistic function of twice the score.
        body = _linear_classifier(original, step, spec)
        body.weights[0].value[:] = [2 * value for value in body.weights[0].value]
        body.offset[0] *= 2
        return body
    return _linear_classifier(original, step, spec)


def _sgd_classifier(original: Path, step: Any, spec: Any) -> Any:
    if step.loss == "modified_huber":
        raise RequantError(f"{original} is an SGDClassifier with loss='modified_huber', which Core ML has nothing for.")
    return _linear_classifier(original, step, spec)


# Trees


def _trees_of(step: Any) -> list[Any]:
    if hasattr(step, "tree_"):
        return [step.tree_]
    kind = _class_of(step).removeprefix("sklearn.")
    if not kind.startswith(("RandomForest", "ExtraTrees", "GradientBoosting")):
        return []
    return [each.tree_ for each in np.ravel(np.asarray(step.estimators_, object))]


def _tree(tree: Any) -> Tree:
    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    missing = getattr(tree, "missing_go_to_left", None)
    missing_left = np.zeros(len(left), bool) if missing is None else np.asarray(missing, bool)
    return Tree(left, right, np.asarray(tree.feature), np.asarray(tree.threshold), missing_left)


def _tree_regressor(original: Path, step: Any, spec: Any) -> Any:
    """Write a tree, or the mean of several."""
    trees, body = _trees_of(step), spec.treeEnsembleRegressor
    if step.n_outputs_ > 1:
        raise RequantError(f"{original} predicts {step.n_outputs_} numbers, where a regressor in Core ML predicts one.")
    _base(body, [0.0])
    for number, tree in enumerate(trees):
        _tree(tree).write(body.treeEnsemble, number, tree.value[:, 0, :1] / len(trees), [0], below=False)
    return body


def _tree_classifier(original: Path, step: Any, spec: Any) -> Any:
    """Write a tree with the share of each class in its leaves, or the mean of several."""
    trees, body = _trees_of(step), spec.treeEnsembleClassifier
    if step.n_outputs_ > 1:
        raise RequantError(f"{original} predicts {step.n_outputs_} labels, where a classifier in Core ML predicts one.")
    dimensions = _dimensions(step)
    first = 1 if dimensions == 1 else 0  # with two classes, the second one's probability is the only value
    _base(body, [0.0] * dimensions)
    for number, tree in enumerate(trees):
        shares = tree.value[:, 0, :] / tree.value[:, 0, :].sum(axis=1, keepdims=True) / len(trees)
        shares = shares[:, first:] * (1 - first * _TRIFLE)
        _tree(tree).write(body.treeEnsemble, number, shares, range(dimensions), below=False)
    return body


def _dimensions(step: Any) -> int:
    classes = len(step.classes_)
    return 1 if classes == 2 else classes


def _boosted_regressor(original: Path, step: Any, spec: Any) -> Any:
    body = spec.treeEnsembleRegressor
    _write_boosted(original, step, body, 1, 1.0)
    return body


def _boosted_classifier(original: Path, step: Any, spec: Any) -> Any:
    body, dimensions = spec.treeEnsembleClassifier, _dimensions(step)
    # With the exponential loss, scikit-learn takes the logistic function of twice the sum.
    _write_boosted(original, step, body, dimensions, 2.0 if step.loss == "exponential" else 1.0)
    body.postEvaluationTransform = 2 if dimensions == 1 else 1
    return body


def _write_boosted(original: Path, step: Any, body: Any, dimensions: int, factor: float) -> None:
    if not isinstance(step.init_, str) and not _class_of(step.init_).startswith("sklearn.Dummy"):
        raise RequantError(
            f"{original} starts from {type(step.init_).__name__} (init), which Core ML has nothing for. Train it "
            "without init."
        )
    begin = step._raw_predict_init(np.zeros((1, step.n_features_in_), np.float32))[0]
    _base(body, [factor * float(value) for value in begin])
    for number, tree in enumerate(_trees_of(step)):
        values = factor * step.learning_rate * tree.value[:, 0, :1]
        _tree(tree).write(body.treeEnsemble, number, values, [number % dimensions], below=False)


def _base(body: Any, values: list[float]) -> None:
    body.treeEnsemble.numPredictionDimensions = len(values)
    body.treeEnsemble.basePredictionValue.extend(values)


# Support vectors


def _support_regressor(original: Path, step: Any, spec: Any) -> Any:
    body = spec.supportVectorRegressor
    _write_kernel(original, step, body)
    body.rho = -float(step._intercept_[0])
    body.coefficients.alpha.extend(np.asarray(step._dual_coef_)[0].tolist())
    return body


def _support_classifier(original: Path, step: Any, spec: Any) -> Any:
    if step.break_ties:
        raise RequantError(f"{original} has break_ties=True, which Core ML has nothing for.")
    body = spec.supportVectorClassifier
    _write_kernel(original, step, body)
    body.rho.extend((-np.asarray(step._intercept_)).tolist())
    body.numberOfSupportVectorsPerClass.extend(np.asarray(step._n_support).tolist())
    for row in np.asarray(step._dual_coef_).tolist():
        body.coefficients.add(alpha=row)
    body.probA.extend(np.asarray(step._probA).tolist())
    body.probB.extend(np.asarray(step._probB).tolist())
    return body


def _write_kernel(original: Path, step: Any, body: Any) -> None:
    kernel = step.kernel
    if kernel == "linear":
        body.kernel.linearKernel.SetInParent()
    elif kernel == "rbf":
        body.kernel.rbfKernel.gamma = step._gamma
    elif kernel == "poly":
        parameters = body.kernel.polyKernel
        parameters.gamma, parameters.c, parameters.degree = step._gamma, step.coef0, int(step.degree)
    elif kernel == "sigmoid":
        parameters = body.kernel.sigmoidKernel
        parameters.gamma, parameters.c = step._gamma, step.coef0
    else:
        raise RequantError(f"{original} has the kernel {kernel!r}; Core ML has linear, rbf, poly and sigmoid.")
    vectors = step.support_vectors_
    for row in (vectors.toarray() if hasattr(vectors, "toarray") else np.asarray(vectors)).tolist():
        body.denseSupportVectors.vectors.add(values=row)


_Writer = Callable[[Path, Any, Any], Any]
_TRANSFORMERS: dict[str, _Writer] = {
    "sklearn.StandardScaler": _affine,
    "sklearn.RobustScaler": _affine,
    "sklearn.MaxAbsScaler": _affine,
    "sklearn.MinMaxScaler": _min_max,
    "sklearn.Normalizer": _normalizer,
    "sklearn.SimpleImputer": _imputer,
}
_ESTIMATORS: dict[str, _Writer] = {
    **dict.fromkeys(
        [
            f"sklearn.{name}"
            for name in (
                "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars",
                "LassoLars", "BayesianRidge", "ARDRegression", "HuberRegressor", "SGDRegressor", "TheilSenRegressor",
                "QuantileRegressor", "LinearSVR",
            )
        ],
        _linear_regressor,
    ),
    "sklearn.LogisticRegression": _logistic_regression,
    "sklearn.LogisticRegressionCV": _logistic_regression,
    "sklearn.LinearSVC": _linear_classifier,
    "sklearn.RidgeClassifier": _linear_classifier,
    "sklearn.Perceptron": _linear_classifier,
    "sklearn.SGDClassifier": _sgd_classifier,
    "sklearn.DecisionTreeRegressor": _tree_regressor,
    "sklearn.ExtraTreeRegressor": _tree_regressor,
    "sklearn.RandomForestRegressor": _tree_regressor,
    "sklearn.ExtraTreesRegressor": _tree_regressor,
    "sklearn.DecisionTreeClassifier": _tree_classifier,
    "sklearn.ExtraTreeClassifier": _tree_classifier,
    "sklearn.RandomForestClassifier": _tree_classifier,
    "sklearn.ExtraTreesClassifier": _tree_classifier,
    "sklearn.GradientBoostingRegressor": _boosted_regressor,
    "sklearn.GradientBoostingClassifier": _boosted_classifier,
    "sklearn.SVR": _support_regressor,
    "sklearn.NuSVR": _support_regressor,
    "sklearn.SVC": _support_classifier,
    "sklearn.NuSVC": _support_classifier,
}  # fmt: skip
