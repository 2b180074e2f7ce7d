"""What every source format's module offers: the source opened in its own framework, to be converted and to be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from requant.convert.settings import ConversionSettings, InputSettings, Shape, Size, SizeRange
from requant.errors import RequantError


@dataclass(frozen=True)
class SourceInput:
    """An input as the source has it.

    Attributes:
        name: the source's.
        dtype: numpy's name of the element type that the source takes.
        shape: with the batch. A size is a range, or None, where the source leaves it open; the whole is None where not
            even the number of axes is known.
    """

    name: str
    dtype: str = "float32"
    shape: tuple[Size | None, ...] | None = None


class Source(Protocol):
    """A source opened in its own framework.

    Attributes:
        framework: its name and version, for people.
        inputs: in order, without those that the configuration makes constants.
    """

    framework: str
    inputs: list[SourceInput]

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the source's outputs, in the order of the float model's.

        Args:
            inputs: in the order of `self.inputs`, in the source's own axes and element types.
        """
        ...


@dataclass(frozen=True)
class ResolvedInput:
    """An input of the source with all that its place in the float model needs: nothing is left open."""

    source: SourceInput
    settings: InputSettings
    shapes: tuple[Shape, ...]

    @property
    def name(self) -> str:
        """The name in the float model."""
        return self.settings.name

    @property
    def default_shape(self) -> tuple[int, ...]:
        """The shape that the float model shows."""
        return tuple(size.default if isinstance(size, SizeRange) else size for size in self.shapes[0])

    def example(self) -> NDArray[Any]:
        """Return ones in the default shape and the source's element type."""
        return np.ones(self.default_shape, self.source.dtype)


def resolve_inputs(sources: Sequence[SourceInput], settings: ConversionSettings) -> list[ResolvedInput]:
    """Return the source's inputs, in its order, with what the configuration says of them.

    What the configuration names is matched with the source's inputs by name; what is left over, in order. A shape is
    that of the configuration, or the source's, in which an open first axis, the batch, becomes 1. Inputs that are made
    constants (`value`) are left out.

    Raises:
        RequantError: if the configuration names an input that the source does not have, or a shape stays open.
    """
    resolved = []
    for source, entry in zip(sources, _matched(sources, settings.inputs), strict=True):
        if entry.value is None:
            resolved.append(ResolvedInput(source, entry, entry.shapes or (_known_shape(source),)))
    return resolved


def constant_inputs(sources: Sequence[SourceInput], settings: ConversionSettings) -> dict[str, NDArray[Any]]:
    """Return the inputs, by the source's name, that the configuration makes constants.

    Raises:
        RequantError: if the configuration names an input that the source does not have.
    """
    pairs = zip(sources, _matched(sources, settings.inputs), strict=True)
    return {s.name: np.asarray(entry.value, s.dtype) for s, entry in pairs if entry.value is not None}


def _matched(sources: Sequence[SourceInput], entries: Sequence[InputSettings]) -> list[InputSettings]:
    names = [source.name for source in sources]
    found: dict[str, InputSettings] = {}
    left = []
    for entry in entries:
        name = entry.source or entry.name
        if name in names and name not in found:
            found[name] = entry
        elif entry.source:
            raise RequantError(f"conversion.inputs: the source has no input {name!r}; it has {', '.join(names)}.")
        else:
            left.append(entry)
    free = [name for name in names if name not in found]
    if len(left) > len(free):
        raise RequantError(
            f"conversion.inputs: the source has no input {left[len(free)].name!r}; it has {', '.join(names)}."
        )
    found |= dict(zip(free, left, strict=False))
    return [found.get(name, InputSettings(name)) for name in names]


def _known_shape(source: SourceInput) -> Shape:
    shape = source.shape
    if shape is None or None in shape[1:]:
        known = "" if shape is None else f" (it is {', '.join('?' if size is None else str(size) for size in shape)})"
        raise RequantError(
            f"the source leaves the shape of its input {source.name!r} open{known}. Give it in the configuration: "
            f"conversion: {{inputs: [{{name: {source.name}, shape: [...]}}]}}"
        )
    return tuple(1 if size is None else size for size in shape)
