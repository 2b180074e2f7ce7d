"""The user's configuration as a checked value, and the messages for all that can be wrong with it.

This is the only room that knows the keys of `config.yaml`. Their types and defaults are in the JSON schema of the
workflow; here is what a schema can't say: whether files are there, what kind a model is, what it can store.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from requant.convert import is_core_ml, kind_of_float_model
from requant.convert.settings import ConversionSettings
from requant.convert.weights import has_weights
from requant.coreml.kind import Kind
from requant.coreml.systems import System, system_named, system_of
from requant.errors import RequantError
from requant.evaluate.data.settings import DataSettings
from requant.originals import Lock, read_lock, require_locked
from requant.quantize.scheme import (
    FLOAT16_BITS,
    MODES,
    SCHEMES,
    Scheme,
    default_schemes,
    needed_version,
    require_storable,
)
from requant.quantize.selection import Selection
from requant.user_function import files_of_function, split_reference

RESERVED = {"report": "the folder of the report"}
ALL, NONE = "all", "none"
SELECTION_KEYS = ("weight_threshold", "unstorable", "beyond_float16")
# The keys that are about variants, with the values that ask for nothing: those of the schema, where a key is left out.
VARIANT_KEYS: dict[str, tuple[Any, ...]] = {
    "modes": (None, NONE),
    "schemes": (None,),
    "tensors": (None, []),
    "weight_threshold": (None,),
    "unstorable": (None, "untouched"),
    "beyond_float16": (None, "float32"),
    "deployment_target": (None,),
    "custom_lut": (None,),
    "targets": (None, {}),
    "sensitivity": (None,),
}


@dataclass(frozen=True)
class SensitivitySettings:
    """What the configuration says of measuring each tensor of a model alone (`requant.evaluate.sensitivity`).

    Attributes:
        families: of schemes, as `kmeans` or `linear_block32`; none to measure nothing, unless it is asked for.
        bits: in which tensors are measured in these families; none for all that the kind of model can store.
        samples: of the evaluation data, at most.
        parts: jobs that share the tensors of a model.
    """

    families: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()
    samples: int = 16
    parts: int = 4

    @classmethod
    def of(cls, table: Mapping[str, Any] | None) -> SensitivitySettings:
        """Return the settings that a table of plain values describes."""
        given: dict[str, Any] = dict(table or {})
        given |= {key: tuple(given[key]) for key in ("families", "bits") if key in given}
        return cls(**given)


@dataclass(frozen=True)
class ModelSettings:
    """What the configuration says of one model.

    Attributes:
        name: of the model, in files too.
        original: the preserved original.
        kind: of the float model that is made from it.
        quantizable: whether it has weights; if not, there are no variants.
        locked_files: the original's files.
        locked_digest: one digest for their locked bytes.
        data: the evaluation data.
        custom_lut: `file.py:function`, if there is one.
        schemes: the variants wanted, by mode and from many bits to few, then those that are named; none for a model
            that is only converted.
        selection: which tensors take a scheme.
        deployment_target: the oldest system that variants have to run on; None if none is set.
        targets: limits by name, empty for the default.
        conversion: what the conversion of the original needs to know, as the configuration has it.
        conversion_files: files of the user that the conversion hangs on.
        metrics: the user's own, as `file.py:function` by name.
        sensitivity: what is measured of each tensor alone.
        judged_by_weights: whether it is not to be run: sizes and errors of weights are all that is judged.
    """

    name: str
    original: Path
    kind: Kind
    quantizable: bool
    locked_files: tuple[Path, ...]
    locked_digest: str
    data: DataSettings
    custom_lut: str | None
    schemes: tuple[Scheme, ...]
    selection: Selection
    deployment_target: System | None
    targets: dict[str, float]
    conversion: dict[str, Any] = field(default_factory=dict)
    conversion_files: tuple[Path, ...] = ()
    metrics: dict[str, str] = field(default_factory=dict)
    sensitivity: SensitivitySettings = SensitivitySettings()
    judged_by_weights: bool = False

    @property
    def is_run(self) -> bool:
        """Whether the model is run: to compare its variants, or because there is data to run it on.

        Without either, inputs would have to be made up to no purpose, and of some types of model they can't be.
        """
        return not self.judged_by_weights and (self.quantizable or not self.data.is_synthetic)

    @property
    def metric_files(self) -> tuple[Path, ...]:
        """The files of the user's metrics with the modules beside them that they import, each once."""
        files = (path for function in self.metrics.values() for path in files_of_function(function))
        return tuple(dict.fromkeys(files))


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that refuses a key given twice, of which YAML would silently keep the last."""


def _strict_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    counts = Counter(str(key.value) for key, _ in node.value)
    for key, _ in node.value:
        if counts[str(key.value)] > 1:
            raise RequantError(
                f"{node.start_mark.name}, line {key.start_mark.line + 1}: {key.value!r} is there twice. Names of "
                "models and keys have to be unique."
            )
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _strict_mapping)


def require_unique_keys(path: Path) -> None:
    """Make sure that no key stands twice in a YAML file.

    Raises:
        RequantError: if one does, with the line, or if the file can't be read as YAML.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            yaml.load(stream, _StrictLoader)  # a subclass of the safe loader
    except OSError as error:
        raise RequantError(f"the configuration {path} can't be read: {error.strerror or error}.") from error
    except yaml.YAMLError as error:
        raise RequantError(f"the configuration {path} is not valid YAML: {error}") from error


def require_valid(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Make sure that a configuration fits the JSON schema.

    Raises:
        RequantError: if it does not, naming each key concerned.
    """
    validator = jsonschema.Draft202012Validator(schema)
    problems = sorted(validator.iter_errors(config), key=lambda error: [str(part) for part in error.absolute_path])
    if problems:
        lines = [f"  {_place(problem)}: {_explain(problem)}" for problem in problems]
        raise RequantError("the configuration is not valid.\n" + "\n".join(lines))


def _place(problem: Any) -> str:
    return ".".join(str(part) for part in problem.absolute_path) or "(top level)"


def _explain(problem: Any) -> str:
    known = problem.schema.get("properties", {})
    if problem.validator == "additionalProperties":
        patterns = problem.schema.get("patternProperties", ())
        named = [str(key) for key in problem.instance if key not in known]
        unknown = sorted(key for key in named if not any(re.search(pattern, key) for pattern in patterns))
        return f"unknown key {', '.join(map(repr, unknown))}; known are {', '.join(known)}"
    if problem.validator == "pattern":
        return f"{problem.instance!r} {problem.schema['description']}"
    if problem.validator == "required":
        return f"the key {problem.message.split(' ')[0]} is missing"
    if problem.validator == "enum" and problem.validator_value == [ALL, NONE]:
        return f"{problem.instance!r} is neither a table of bit widths by mode nor one of the words {ALL} and {NONE}"
    if problem.validator == "anyOf":
        return f"{problem.instance!r} is not {problem.schema.get('description', 'valid')}"
    return str(problem.message)


def read_models(
    config: Mapping[str, Any], located: Callable[[Path], Path] = lambda path: path
) -> dict[str, ModelSettings]:
    """Return the settings of every model of a configuration that fits the schema.

    Args:
        config: the configuration.
        located: gives where an original can be read, with its lock file beside it, if that is not in its place.

    Raises:
        RequantError: if an original is missing or not locked, a mode or a bit width is one that its kind can't store,
            variants are asked for of a model without weights, a file that is named does not exist, or two names are the
            same for a file system that does not tell upper from lower case.
    """
    models: Mapping[str, Mapping[str, Any]] = config["models"]
    _require_distinct(list(models))
    locks: dict[Path, Lock] = {}
    settings = {}
    for name, entry in models.items():
        try:
            settings[name] = _read_model(name, entry, locks, located)
        except RequantError as error:
            raise RequantError(f"models.{name}: {error}") from error
    return settings


def _require_distinct(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if name in RESERVED:
            raise RequantError(f"models.{name}: this name is taken by {RESERVED[name]}. Choose another.")
        if name.lower() in seen:
            raise RequantError(
                f"models.{name}: the names {seen[name.lower()]} and {name} are the same on file systems that do not "
                "tell upper from lower case. Rename one."
            )
        seen[name.lower()] = name


def _read_model(
    name: str, entry: Mapping[str, Any], locks: dict[Path, Lock], located: Callable[[Path], Path]
) -> ModelSettings:
    original = Path(entry["original"])
    place = located(original)
    if place.parent not in locks:
        locks[place.parent] = read_lock(place.parent)
    lock = locks[place.parent]
    require_locked(place, lock)
    conversion = _read_conversion(entry, original)
    kind = kind_of_float_model(place, conversion)
    quantizable = has_weights(place, kind)
    if not quantizable:
        _require_no_wishes(entry, original)
    custom_lut = entry.get("custom_lut")
    unrun = entry.get("data") == NONE
    data = DataSettings.of(None if unrun else entry.get("data"))
    data.require_existing()
    selection = Selection.of({"rules": entry.get("tensors", ()), **{k: entry[k] for k in SELECTION_KEYS if k in entry}})
    target = system_named(entry["deployment_target"]) if entry.get("deployment_target") else None
    settings = ModelSettings(
        name,
        original,
        kind,
        quantizable,
        tuple(original.parent / name for name in lock.names_of(place)),
        lock.digest_of(place),
        data,
        custom_lut,
        (),
        selection,
        target,
        dict(entry.get("targets", {})),
        conversion=dict(entry.get("conversion") or {}),
        conversion_files=_files_of(conversion),
        metrics=dict(entry.get("metrics") or {}),
        sensitivity=SensitivitySettings.of(entry.get("sensitivity")),
        judged_by_weights=unrun,
    )
    _require_metrics(entry, settings)
    if unrun and settings.sensitivity.families:
        raise RequantError(
            f"data: {NONE} keeps the model from being run, which sensitivity wants. Take one of them out."
        )
    for family in settings.sensitivity.families:
        sensitivity_schemes(family, settings)  # refused here, before any job
    return replace(settings, schemes=_schemes(entry, settings) if quantizable else ())


def _require_metrics(entry: Mapping[str, Any], settings: ModelSettings) -> None:
    """Make sure that the user's metrics are there and can be computed.

    Raises:
        RequantError: if a file does not exist, the model is not run, or a target is about a metric that there is not.
    """
    metrics = settings.metrics
    for name, function in metrics.items():
        path, _ = split_reference(function)
        if not path.is_file():
            raise RequantError(f"metrics.{name} names {path}, which does not exist.")
    if metrics and settings.judged_by_weights:
        raise RequantError(f"data: {NONE} keeps the model from being run, which metrics want. Take one of them out.")
    if metrics and not settings.is_run:
        raise RequantError("the metrics are of no use: a model with nothing to quantize is run only on data. Set data.")
    for key in entry.get("targets") or {}:
        name = re.sub("^(min|max)_metric_", "", key)
        if name != key and name not in metrics:
            known = ", ".join(metrics) or "none"
            raise RequantError(f"the target {key} is about the metric {name!r}, but the key metrics has {known}.")


def _require_no_wishes(entry: Mapping[str, Any], original: Path) -> None:
    """Make sure that nothing about variants is asked for of a model without weights."""
    asked = [key for key, nothing in VARIANT_KEYS.items() if entry.get(key) not in nothing]
    if asked:
        raise RequantError(
            f"{original} has no weights that could be quantized, so that there is nothing that these keys could be "
            f"for: {', '.join(asked)}. Leave them out; the model is converted and judged as it is."
        )


def _read_conversion(entry: Mapping[str, Any], original: Path) -> ConversionSettings:
    """Return what the configuration says of a conversion.

    Raises:
        RequantError: if there is nothing to convert, keys contradict each other, or a file named does not exist.
    """
    table = entry.get("conversion") or {}
    if table and is_core_ml(original):
        raise RequantError(f"{original} is a Core ML model already: take the key conversion out.")
    settings = ConversionSettings.of(table)
    for path in _files_of(settings):
        if not path.is_file():
            raise RequantError(f"conversion names the file {path}, which does not exist.")
    return settings


def _files_of(conversion: ConversionSettings) -> tuple[Path, ...]:
    labels = conversion.class_labels
    files = files_of_function(conversion.factory) if conversion.factory else []
    return (*files, *([labels] if isinstance(labels, Path) else []))


def _schemes(entry: Mapping[str, Any], settings: ModelSettings) -> tuple[Scheme, ...]:
    """Return the schemes that the keys `modes` and `schemes` ask for; without both, all that the model can store.

    Raises:
        RequantError: if there is none at all of a name, the model can't have one, or they contradict each other.
    """
    modes, names = entry.get("modes"), entry.get("schemes") or ()
    named = [Scheme.parse(name) for name in names]
    wanted = any(scheme.mode == "custom_lut" for scheme in named) or (isinstance(modes, dict) and "custom_lut" in modes)
    _require_function(settings.custom_lut, wanted=wanted)
    if modes == NONE and named:
        raise RequantError(f"modes: {NONE} wants no variants, but schemes names some. Leave one of the two out.")
    if modes == NONE:
        return ()
    if modes == ALL or (modes is None and not named):
        schemes = [s for s in default_schemes(settings.kind, bool(settings.custom_lut)) if _runs_on_target(s, settings)]
    else:
        schemes = list(_schemes_of_modes(modes or {}, settings.kind))
    schemes += [scheme for scheme in named if scheme not in schemes]
    for scheme in schemes:
        require_scheme(scheme, settings)
    return tuple(schemes)


def _schemes_of_modes(modes: Mapping[str, Any], kind: Kind) -> Iterator[Scheme]:
    for mode in (mode for mode in MODES if mode in modes):
        bits = modes[mode]
        for number in SCHEMES[kind][mode] if bits == ALL else sorted(bits, reverse=True):
            scheme = Scheme.of(mode, number)
            require_storable(scheme, kind)
            yield scheme


def require_scheme(scheme: Scheme, settings: ModelSettings) -> None:
    """Make sure that a model can have a variant of a scheme.

    Raises:
        RequantError: if it has no weights, its kind can't store the scheme or what the table of tensors puts in its
            place, or the system that the configuration sets as deployment target can't run it.
    """
    if not settings.quantizable:
        raise RequantError(f"{settings.original} has no weights that could be quantized; ship it as it is.")
    settings.selection.require_storable(scheme, settings.kind)
    target = settings.deployment_target
    if target and not _runs_on_target(scheme, settings):
        needed = system_of(version_of(scheme, settings))
        raise RequantError(
            f"{scheme} needs {needed}, but deployment_target is {target}. Leave the scheme out, or set a newer target."
        )


def sensitivity_schemes(family: str, settings: ModelSettings) -> tuple[Scheme, ...]:
    """Return the schemes of a family in which each tensor of a model is measured, from many bits to few.

    What the configuration says of single tensors does not count: each takes the scheme, and no other does.

    Raises:
        RequantError: if there is no such family, or the model can't have a variant of such a scheme.
    """
    wanted, alone = settings.sensitivity, replace(settings, selection=Selection())
    try:
        mode = Scheme.of_family(family, 8).mode
        _require_function(settings.custom_lut, wanted=mode == "custom_lut")
        storable = SCHEMES[settings.kind].get(mode or "linear", ())
        if wanted.bits and family in wanted.families:
            schemes = [Scheme.of_family(family, number) for number in sorted(wanted.bits, reverse=True)]
        else:
            every = [Scheme.of_family(family, number) for number in storable or (8,) if number != FLOAT16_BITS]
            schemes = [scheme for scheme in every if _runs_on_target(scheme, alone)] or every[:1]
        for scheme in schemes:
            require_scheme(scheme, alone)
    except RequantError as error:
        raise RequantError(f"sensitivity: {error}") from error
    return tuple(schemes)


def version_of(scheme: Scheme, settings: ModelSettings) -> int:
    """Return the specification version that a variant needs for what it stores."""
    return max(needed_version(each, settings.kind) for each in settings.selection.schemes(scheme))


def _runs_on_target(scheme: Scheme, settings: ModelSettings) -> bool:
    target = settings.deployment_target
    return target is None or version_of(scheme, settings) <= target.spec_version


def _require_function(custom_lut: str | None, *, wanted: bool) -> None:
    if custom_lut is None:
        if wanted:
            raise RequantError("the mode custom_lut wants a function of yours: custom_lut: file.py:function")
        return
    path, _ = split_reference(custom_lut)
    if not path.is_file():
        raise RequantError(f"custom_lut names {path}, which does not exist.")
