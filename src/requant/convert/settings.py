"""What the configuration says of a conversion: a plain value that jobs can be handed.

Nothing heavy is imported here, because Snakemake reads the configuration again for every job.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from requant.coreml.kind import Kind
from requant.coreml.systems import System, system_named
from requant.errors import RequantError

ColorLayout = Literal["", "RGB", "BGR", "GRAYSCALE"]
Precision = Literal["float16", "float32"]
OLDEST_WITH_PROGRAMS = "iOS15"
# The least SNR in dB that a conversion has to have where none is set. Weights rounded to float16 leave 40 to 90 dB,
# sums in another order in float32 more than 100 dB; a wrong layout, scale or bias leaves less than 20 dB.
LEAST_SNR_DB: dict[Precision, float] = {"float16": 30.0, "float32": 60.0}
LEAST_AGREEMENT = 0.99
LIMITS = ("min_snr", "min_psnr", "min_agreement")  # keys of the check, which the conversion does not hang on
CONVERT_TO = {"mlprogram": Kind.ML_PROGRAM, "neuralnetwork": Kind.NEURAL_NETWORK}


@dataclass(frozen=True)
class SizeRange:
    """A size that the float model leaves open: from `low` to `high`, both included; `default` is what it shows."""

    low: int
    high: int
    default: int


Size = int | SizeRange
Shape = tuple[Size, ...]


@dataclass(frozen=True)
class InputSettings:
    """One input of the float model.

    Attributes:
        name: in the float model.
        source: in the source, where it has another name there.
        shapes: the source's own axes, with the batch: one shape, of which sizes may be ranges, or several fixed ones
            that are enumerated, the default first. Empty where the source knows it.
        dtype: of an array in the float model; empty for the source's, in Core ML's types.
        value: a constant that the float model has in place of this input.
        color_layout: of a picture; empty for an array.
        scale: what the pixels of a picture, 0 to 255, are multiplied by.
        bias: what is added after that: a number, or one per channel.
    """

    name: str
    source: str = ""
    shapes: tuple[Shape, ...] = ()
    dtype: str = ""
    value: Any = None
    color_layout: ColorLayout = ""
    scale: float = 1.0
    bias: tuple[float, ...] = ()

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> InputSettings:
        """Return the input that a table of plain values describes.

        Raises:
            RequantError: if keys contradict each other, naming them.
        """
        rest = dict(table)
        _require_known(rest, cls, "conversion.inputs", "shape")
        name = rest["name"]
        if "shape" in rest and "shapes" in rest:
            raise RequantError(f"conversion.inputs: {name!r} has shape and shapes; give one of them.")
        if "value" in rest and len(set(rest) - {"name", "source", "value"}):
            raise RequantError(f"conversion.inputs: {name!r} is a constant (value), which has no other keys.")
        if not rest.get("color_layout") and {"scale", "bias"} & set(rest):
            raise RequantError(
                f"conversion.inputs: {name!r} has a scale or bias, but no color_layout: it is no picture."
            )
        shapes = [rest.pop("shape")] if "shape" in rest else rest.pop("shapes", [])
        bias = rest.pop("bias", ())
        return cls(
            **rest,
            shapes=tuple(tuple(_size(size, name) for size in shape) for shape in shapes),
            bias=tuple(map(float, bias)) if isinstance(bias, Sequence) else (float(bias),),
        )

    def default_shape(self) -> tuple[int, ...] | None:
        """Return the shape that the float model shows, None where the configuration gives none."""
        if not self.shapes:
            return None
        return tuple(size.default if isinstance(size, SizeRange) else size for size in self.shapes[0])


def _size(size: int | Mapping[str, int], name: str) -> Size:
    if isinstance(size, int):
        return size
    low, high = size["min"], size["max"]
    found = SizeRange(low, high, size.get("default", low))
    if not low <= found.default <= high:
        raise RequantError(f"conversion.inputs: the sizes {low} to {high} of {name!r} do not hold {found.default}.")
    return found


@dataclass(frozen=True)
class OutputSettings:
    """One output of the float model: its name, and the colour layout if it is to be a picture.

    Attributes:
        name: in the float model.
        color_layout: of a picture; empty for an array.
    """

    name: str
    color_layout: ColorLayout = ""


@dataclass(frozen=True)
class Limits:
    """What a conversion has to reach, held against the source run in its own framework.

    Attributes:
        min_snr: of every array, in dB; None for what suits the compute precision.
        min_psnr: of every picture, in dB.
        min_agreement: share of samples with the source's label, for classifiers.
    """

    min_snr: float | None = None
    min_psnr: float = 40.0
    min_agreement: float = LEAST_AGREEMENT


@dataclass(frozen=True)
class ConversionSettings:
    """What a conversion needs to know beyond the source.

    Attributes:
        inputs: those of which the configuration says something; others are as the source has them.
        outputs: all of them, in the source's order; empty for the source's names.
        class_labels: of a classifier, in the order of its scores, or the file that has one in each line.
        convert_to: the kind of the float model.
        minimum_deployment_target: the oldest system that the float model is for; None for all that a NeuralNetwork can
            run on.
        compute_precision: of an ML Program.
        factory: `file.py:function` that returns the module whose state dictionary the source is.
        trust_pickle: whether a source may be unpickled, which runs what code it holds.
        limits: what the conversion has to reach.
    """

    inputs: tuple[InputSettings, ...] = ()
    outputs: tuple[OutputSettings, ...] = ()
    class_labels: tuple[str | int, ...] | Path = ()
    convert_to: Kind = Kind.ML_PROGRAM
    minimum_deployment_target: System | None = None
    compute_precision: Precision = "float16"
    factory: str = ""
    trust_pickle: bool = False
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, table: Mapping[str, Any] | None) -> ConversionSettings:
        """Return what a table of plain values, as the configuration has it, describes.

        Raises:
            RequantError: if keys contradict each other, naming them.
        """
        rest = dict(table or {})
        _require_known(rest, cls, "conversion", *LIMITS)
        kind = CONVERT_TO[rest.pop("convert_to", "mlprogram")]
        target = rest.pop("minimum_deployment_target", None)
        labels = rest.pop("class_labels", ())
        limits = {key: rest.pop(key) for key in LIMITS if key in rest}
        if kind is Kind.NEURAL_NETWORK and "compute_precision" in rest:
            raise RequantError("conversion: compute_precision is for ML Programs; a NeuralNetwork has none.")
        inputs = tuple(InputSettings.of(entry) for entry in rest.pop("inputs", ()))
        outputs = tuple(OutputSettings(**entry) for entry in rest.pop("outputs", ()))
        _require_distinct([*(entry.name for entry in inputs), *(entry.name for entry in outputs)])
        return cls(
            **rest,
            inputs=inputs,
            outputs=outputs,
            class_labels=Path(labels) if isinstance(labels, str) else tuple(labels),
            convert_to=kind,
            minimum_deployment_target=_target(target, kind),
            limits=Limits(**limits),
        )

    @property
    def least_snr(self) -> float:
        """The SNR in dB that every array has to have."""
        if self.limits.min_snr is not None:
            return self.limits.min_snr
        return LEAST_SNR_DB["float32" if self.convert_to is Kind.NEURAL_NETWORK else self.compute_precision]

    def labels(self) -> list[str | int]:
        """Return the class labels, read from their file if they are in one.

        Raises:
            RequantError: if the file can't be read or is empty.
        """
        if not isinstance(self.class_labels, Path):
            return list(self.class_labels)
        try:
            lines = self.class_labels.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise RequantError(f"the class labels {self.class_labels} can't be read: {error}.") from error
        labels: list[str | int] = [line.strip() for line in lines if line.strip()]
        if not labels:
            raise RequantError(f"there are no class labels in {self.class_labels}; one is expected in each line.")
        return labels


def _require_known(table: Mapping[str, Any], kind: type[Any], place: str, *more: str) -> None:
    known = [*(each.name for each in dataclasses.fields(kind) if each.name != "limits"), *more]
    unknown = [key for key in table if key not in known]
    if unknown:
        raise RequantError(f"{place}: unknown key {unknown[0]!r}; known are {', '.join(known)}.")


def _require_distinct(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RequantError(f"conversion: the name {twice[0]!r} is there twice among inputs and outputs.")


def _target(name: str | None, kind: Kind) -> System | None:
    if kind is Kind.ML_PROGRAM:
        system = system_named(name or OLDEST_WITH_PROGRAMS)
        if system < system_named(OLDEST_WITH_PROGRAMS):
            raise RequantError(
                f"conversion: an ML Program needs iOS 15 or macOS 12; {name} runs a NeuralNetwork "
                "(convert_to: neuralnetwork)."
            )
        return system
    if name is None:
        return None
    system = system_named(name)
    if system >= system_named(OLDEST_WITH_PROGRAMS):
        raise RequantError(
            f"conversion: a NeuralNetwork is converted for iOS 14, macOS 11 or older, and runs on {name} too. Leave "
            "minimum_deployment_target out."
        )
    return system
