"""The last step of every conversion of a network: coremltools' converter, asked and answered in the project's terms."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from requant.convert.settings import ConversionSettings, OutputSettings, SizeRange
from requant.convert.source import ResolvedInput
from requant.coreml.kind import Kind
from requant.coreml.model import Model, load
from requant.errors import RequantError

# What coremltools notes in a model that is another each day.
_VOLATILE = ("com.github.apple.coremltools.conversion_date",)
_ELEMENT_TYPES = {"float64": "float32", "bool": "float32"} | dict.fromkeys(
    ("int8", "uint8", "int16", "uint16", "uint32", "int64", "uint64"), "int32"
)


def convert_program(
    program: Any,
    original: Path,
    framework: str,
    inputs: Sequence[ResolvedInput],
    settings: ConversionSettings,
    *,
    output_names: Sequence[str] = (),
) -> Model:
    """Return the float model of a program that coremltools' converter takes.

    Args:
        program: an exported or traced PyTorch module, TensorFlow functions, or a MIL program.
        original: where it is from, for messages.
        framework: `pytorch`, `tensorflow` or `milinternal`.
        inputs: of the program, in its order.
        settings: what the configuration says.
        output_names: the source's own names of its outputs, in order, where the converter does not keep them.

    Raises:
        RequantError: if coremltools can't convert it, naming the file and the operation concerned.
    """
    import coremltools as ct

    outputs = _outputs(settings, output_names if framework == "tensorflow" else ())
    if framework == "milinternal" and outputs and len(outputs) == len(program.functions["main"].outputs):
        program.functions["main"].set_output_types(outputs)  # the converter does so for other frameworks only
    with _noting_failures() as failures:
        try:
            converted = ct.convert(
                program,
                source=framework,
                convert_to="mlprogram" if settings.convert_to is Kind.ML_PROGRAM else "neuralnetwork",
                inputs=[_input_type(each) for each in inputs],
                outputs=outputs,
                classifier_config=_classifier(settings),
                minimum_deployment_target=_target(settings),
                compute_precision=_precision(settings),
                skip_model_load=True,
            )
        except Exception as error:  # coremltools has no common class for its errors
            raise RequantError(refusal(original, error, failures)) from error
    return _canonical(converted, original, settings, output_names)


def refusal(original: Path, error: Exception, failures: Sequence[str] = ()) -> str:
    """Return the message about a source that coremltools can't convert: the file, the operation, what it says."""
    said = str(error).strip() or type(error).__name__
    where = f" {failures[-1].strip()}" if failures else ""
    return f"{original} can't be converted to Core ML.{where} coremltools says: {said}"


class _noting_failures:  # noqa: N801  a context manager, used as a function
    """Collect coremltools' error messages, which name the operation that an exception does not."""

    def __enter__(self) -> list[str]:
        self._messages: list[str] = []
        self._handler = logging.Handler(logging.ERROR)
        self._handler.emit = lambda record: self._messages.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("coremltools").addHandler(self._handler)
        return self._messages

    def __exit__(self, *_: object) -> None:
        logging.getLogger("coremltools").removeHandler(self._handler)


def _input_type(each: ResolvedInput) -> Any:
    import coremltools as ct

    shapes = [tuple(_dimension(size) for size in shape) for shape in each.shapes]
    shape = ct.EnumeratedShapes(shapes, default=shapes[0]) if len(shapes) > 1 else ct.Shape(shapes[0])
    entry = each.settings
    if entry.color_layout:
        _require_picture(each)
        layout = {"GRAYSCALE": "G"}.get(entry.color_layout, entry.color_layout)
        bias = list(entry.bias) if len(entry.bias) > 1 else (entry.bias[0] if entry.bias else None)
        if isinstance(bias, float) and layout != "G":
            bias = [bias] * 3
        return ct.ImageType(
            name=each.name, shape=shape, color_layout=layout, scale=entry.scale, bias=bias,
            channel_first=is_channel_first(each),
        )  # fmt: skip
    return ct.TensorType(name=each.name, shape=shape, dtype=np.dtype(element_type(each)).type)


def element_type(each: ResolvedInput) -> str:
    """Return numpy's name of the type that an input's elements have in the float model."""
    if each.settings.color_layout:
        return "float32"
    return each.settings.dtype or _ELEMENT_TYPES.get(each.source.dtype, each.source.dtype)


def is_channel_first(each: ResolvedInput) -> bool:
    """Return whether the channels of a picture come before its height and width in the source's axes."""
    return each.default_shape[1] in (1, 3) or each.default_shape[3] not in (1, 3)


def _require_picture(each: ResolvedInput) -> None:
    channels = 1 if each.settings.color_layout == "GRAYSCALE" else 3
    shape = each.default_shape
    if len(shape) != 4 or shape[0] != 1 or channels not in (shape[1], shape[3]):
        raise RequantError(
            f"conversion.inputs: {each.name!r} is to be a {each.settings.color_layout} picture, which needs the axes "
            f"(1, {channels}, height, width) or (1, height, width, {channels}); it has {shape}."
        )


def _dimension(size: Any) -> Any:
    import coremltools as ct

    return ct.RangeDim(size.low, size.high, default=size.default) if isinstance(size, SizeRange) else size


def _outputs(settings: ConversionSettings, nodes: Sequence[str] = ()) -> list[Any] | None:
    """Return what the converter is told of the outputs: which are pictures, for which it needs them all.

    Args:
        settings: what the configuration says.
        nodes: the outputs' names in a TensorFlow graph, which has no order of its own.
    """
    import coremltools as ct

    outputs = settings.outputs or [OutputSettings(name) for name in nodes]
    if not nodes and not any(output.color_layout for output in outputs):
        return None
    return [
        ct.ImageType(name=output.name, color_layout={"GRAYSCALE": "G"}.get(output.color_layout, output.color_layout))
        if output.color_layout
        else ct.TensorType(name=output.name)
        for output in outputs
    ]


def _classifier(settings: ConversionSettings) -> Any:
    import coremltools as ct

    labels = settings.labels()
    return ct.ClassifierConfig(labels) if labels else None


def _target(settings: ConversionSettings) -> Any:
    import coremltools as ct

    system = settings.minimum_deployment_target
    if system is None:
        return None
    return ct.target[f"iOS{system.ios}"]


def _precision(settings: ConversionSettings) -> Any:
    import coremltools as ct

    if settings.convert_to is Kind.NEURAL_NETWORK:
        return None
    return ct.precision.FLOAT16 if settings.compute_precision == "float16" else ct.precision.FLOAT32


def _canonical(converted: Any, original: Path, settings: ConversionSettings, names: Sequence[str]) -> Model:
    """Return what coremltools made as a model: outputs named, nothing volatile in it."""
    import coremltools as ct

    with tempfile.TemporaryDirectory() as folder:
        suffix = ".mlpackage" if settings.convert_to is Kind.ML_PROGRAM else ".mlmodel"
        path = Path(folder) / f"model{suffix}"
        converted.save(str(path))
        model = load(path)
    spec = model.copy_spec()
    for key in _VOLATILE:
        spec.description.metadata.userDefined.pop(key, None)
    for old, new in _renamed(spec, settings.outputs, names, original):
        ct.utils.rename_feature(spec, old, new)  # of outputs alone it would forget those of a network's layers
    return Model(spec, model.files, original)


def legal_name(name: str) -> str:
    """Return a name that an ML Program takes for an input or output: letters, digits and underscores."""
    letters = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{letters}" if letters[:1].isdigit() else letters


def _renamed(
    spec: Any, outputs: Sequence[OutputSettings], names: Sequence[str], original: Path
) -> list[tuple[str, str]]:
    """Return which outputs of a converted model get another name."""
    description = spec.description
    classified = (description.predictedFeatureName, description.predictedProbabilitiesName)
    found = [output.name for output in description.output if output.name not in classified]
    wanted = [legal_name(name) for name in names] if len(names) == len(found) else list(found)
    if outputs:
        if len(outputs) != len(found):
            raise RequantError(
                f"conversion.outputs names {len(outputs)} outputs, but {original} has {len(found)}: {', '.join(found)}."
            )
        wanted = [output.name for output in outputs]
    return [(old, new) for old, new in zip(found, wanted, strict=True) if old != new]
