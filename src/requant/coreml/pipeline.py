"""Pipelines: models one after another, in one file. What can be quantized in them are the networks and programs inside.

A pipeline holds whole `Model` messages, each with a specification version of its own, and they may be pipelines again
(`Pipeline` in Apple's `Model.proto`). The weights of all ML Programs in an `.mlpackage` lie in the files of that
package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from requant.coreml.kind import KINDS, PIPELINES
from requant.errors import RequantError

if TYPE_CHECKING:  # a model asks here which kind it is
    from requant.coreml.model import Model


def stages_of(model: Model) -> list[tuple[str, Model]]:
    """Return the models of a pipeline with their names; they share its messages and the files of its package.

    Raises:
        RequantError: if there are none, or they have not one name each.
    """
    specs, names = stage_specs(model.spec), list(_pipeline_of(model.spec).names)
    names = names or [f"model{i}" for i in range(len(specs))]
    if not specs or len(names) != len(specs):
        raise RequantError(f"{model.path} is a damaged pipeline: it has {len(specs)} models and {len(names)} names.")
    for name, spec in zip(names, specs, strict=True):
        if spec.WhichOneof("Type") is None:
            raise RequantError(f"{model.path} is a damaged pipeline: there is nothing in its model {name!r}.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RequantError(f"{model.path} is a damaged pipeline: two of its models are named {twice!r}.")
    return [(name, dataclasses.replace(model, spec=spec)) for name, spec in zip(names, specs, strict=True)]


def parts_of(model: Model) -> list[tuple[str, Model]]:
    """Return what can be quantized in a model, in the order of the file: the model itself, or what a pipeline holds.

    The parts share the messages of the model: to change a part of a copied model is to change the copy.

    Returns:
        The networks and programs, each with what goes before the names of its weights: nothing for the model itself,
        `NAME/` for the model NAME of a pipeline, `OUTER/INNER/` in a pipeline of pipelines.

    Raises:
        RequantError: if a pipeline is damaged.
    """
    body = model.spec.WhichOneof("Type")
    if body in PIPELINES:
        return [(f"{name}/{inner}", part) for name, stage in stages_of(model) for inner, part in parts_of(stage)]
    return [("", model)] if body in KINDS else []


def stage_specs(spec: Any) -> list[Any]:
    """Return the `Model` messages directly inside another one; none if it is no pipeline."""
    return list(_pipeline_of(spec).models) if spec.WhichOneof("Type") in PIPELINES else []


def walk_specs(spec: Any) -> Iterator[Any]:
    """Yield a `Model` message and all that are inside it, at any depth."""
    yield spec
    for stage in stage_specs(spec):
        yield from walk_specs(stage)


def updatable_part(model: Model) -> str | None:
    """Return the name of the first updatable model, whose weights Core ML trains on the device; None if there is none.

    The name is empty for the model itself and has slashes in a pipeline of pipelines. A pipeline that is updatable
    because its last model is goes by the name of that model.

    Raises:
        RequantError: if a pipeline is damaged.
    """
    stages = stages_of(model) if model.spec.WhichOneof("Type") in PIPELINES else []
    for name, stage in stages:
        inner = updatable_part(stage)
        if inner is not None:
            return f"{name}/{inner}".rstrip("/")
    return "" if model.spec.isUpdatable else None


def raise_version(spec: Any, version: int = 0) -> None:
    """Raise the specification version of a model that may be changed, as far as it is needed.

    Every network and program gets at least `version`, every pipeline at least the version of each model in it. Other
    models keep theirs.
    """
    stages = stage_specs(spec)
    for stage in stages:
        raise_version(stage, version)
    needed = [version] if spec.WhichOneof("Type") in KINDS else [stage.specificationVersion for stage in stages]
    spec.specificationVersion = max([spec.specificationVersion, *needed])


def _pipeline_of(spec: Any) -> Any:
    body = spec.WhichOneof("Type")
    message = getattr(spec, body)
    return message if body == "pipeline" else message.pipeline
