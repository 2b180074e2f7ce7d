"""The user's configuration as a checked value, and the messages for all that can be wrong with it.

This is the only room that knows the keys of `config.yaml`. Their types and defaults are in the JSON schema of the
workflow; here is what a schema can't say: whether files are there, what kind a model is, what it can store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from requant.convert import kind_of_float_model
from requant.coreml.kind import Kind
from requant.coreml.systems import System, system_named, system_of
from requant.errors import RequantError
from requant.originals import Lock, read_lock, require_locked
from requant.quantize.custom import split_reference
from requant.quantize.scheme import MODES, SCHEMES, Scheme, default_schemes, needed_version, require_storable
from requant.quantize.selection import Selection

RESERVED = {"report": "the folder of the report"}
ALL = "all"
SELECTION_KEYS = ("weight_threshold", "unstorable", "beyond_float16")


@dataclass(frozen=True)
class ModelSettings:
    """What the configuration says of one model.

    Attributes:
        name: of the model, in files too.
        original: the preserved original.
        kind: of the float model that is made from it.
        locked_files: the original's files.
        locked_digest: one digest for their locked bytes.
        data: evaluation data, None for made-up inputs.
        custom_lut: `file.py:function`, if there is one.
        schemes: the variants wanted, by mode and from many bits to few, then those that are named.
        selection: which tensors take a scheme.
        deployment_target: the oldest system that variants have to run on; None if none is set.
        targets: limits by name, empty for the default.
    """

    name: str
    original: Path
    kind: Kind
    locked_files: tuple[Path, ...]
    locked_digest: str
    data: Path | None
    custom_lut: str | None
    schemes: tuple[Scheme, ...]
    selection: Selection
    deployment_target: System | None
    targets: dict[str, float]


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
        unknown = sorted(str(key) for key in problem.instance if key not in known)
        return f"unknown key {', '.join(map(repr, unknown))}; known are {', '.join(known)}"
    if problem.validator == "pattern":
        return f"{problem.instance!r} {problem.schema['description']}"
    if problem.validator == "required":
        return f"the key {problem.message.split(' ')[0]} is missing"
    if problem.validator == "const":
        return f"{problem.instance!r} is neither a table of bit widths by mode nor the word {ALL}"
    if problem.validator == "anyOf":
        return f"{problem.instance!r} is not {problem.schema.get('description', 'valid')}"
    return str(problem.message)


def read_models(config: Mapping[str, Any]) -> dict[str, ModelSettings]:
    """Return the settings of every model of a configuration that fits the schema.

    Raises:
        RequantError: if an original is missing, not locked or of a kind without weights to quantize, a mode or a bit
            width is one that its kind can't store, a file that is named does not exist, or two names are the same for
            a file system that does not tell upper from lower case.
    """
    models: Mapping[str, Mapping[str, Any]] = config["models"]
    _require_distinct(list(models))
    locks: dict[Path, Lock] = {}
    settings = {}
    for name, entry in models.items():
        try:
            settings[name] = _read_model(name, entry, locks)
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


def _read_model(name: str, entry: Mapping[str, Any], locks: dict[Path, Lock]) -> ModelSettings:
    original = Path(entry["original"])
    if original.parent not in locks:
        locks[original.parent] = read_lock(original.parent)
    lock = locks[original.parent]
    require_locked(original, lock)
    kind = kind_of_float_model(original)
    custom_lut = entry.get("custom_lut")
    data = Path(entry["data"]) if entry.get("data") else None
    if data is not None and not data.exists():
        raise RequantError(f"the evaluation data {data} does not exist.")
    selection = Selection.of({"rules": entry.get("tensors", ()), **{k: entry[k] for k in SELECTION_KEYS if k in entry}})
    target = system_named(entry["deployment_target"]) if entry.get("deployment_target") else None
    settings = ModelSettings(
        name,
        original,
        kind,
        tuple(lock.files_of(original)),
        lock.digest_of(original),
        data,
        custom_lut,
        (),
        selection,
        target,
        dict(entry.get("targets", {})),
    )
    return replace(settings, schemes=_schemes(entry, settings))


def _schemes(entry: Mapping[str, Any], settings: ModelSettings) -> tuple[Scheme, ...]:
    """Return the schemes that the keys `modes` and `schemes` ask for; without both, all that the model can store."""
    modes, names = entry.get("modes"), entry.get("schemes") or ()
    named = [Scheme.parse(name) for name in names]
    wanted = any(scheme.mode == "custom_lut" for scheme in named) or (isinstance(modes, dict) and "custom_lut" in modes)
    _require_function(settings.custom_lut, wanted=wanted)
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
        RequantError: if its kind can't store the scheme or what the table of tensors puts in its place, or the system
            that the configuration sets as deployment target can't run it.
    """
    settings.selection.require_storable(scheme, settings.kind)
    target = settings.deployment_target
    if target and not _runs_on_target(scheme, settings):
        needed = system_of(version_of(scheme, settings))
        raise RequantError(
            f"{scheme} needs {needed}, but deployment_target is {target}. Leave the scheme out, or set a newer target."
        )


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
