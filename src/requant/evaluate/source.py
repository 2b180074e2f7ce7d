"""The check of a conversion: the float model held against the source, run in its own framework on the same samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.convert import open_source
from requant.convert.settings import ConversionSettings
from requant.convert.source import ResolvedInput, Source, resolve_inputs
from requant.convert.through_coremltools import is_channel_first
from requant.coreml.audit import signal_to_noise
from requant.coreml.description import Feature
from requant.coreml.model import load
from requant.errors import RequantError
from requant.evaluate.comparison import Figures, compare, finite
from requant.evaluate.data import Data, load_data
from requant.evaluate.outputs import ModelOutputs, run_all
from requant.runtime import open_model
from requant.runtime.features import Inputs, Outputs, picture_to_tensor, tensor_to_picture


def check_conversion(original: Path, float_model: Path, settings: ConversionSettings, data: Data) -> Figures:
    """Run the source and its float model on evaluation data, and return how the outputs differ.

    Args:
        original: the source, in any format but Core ML's own.
        float_model: what the conversion made of it.
        settings: those of the conversion.
        data: evaluation data; None for inputs that are made up.

    Returns:
        The framework with its version, the number of samples and whether they are made up, the figures of each output,
        and over all outputs the lowest ratio of signal to noise in dB (PSNR of pictures; None if all are equal), the
        largest error of an array, and the share of samples with the source's label (None without labels).

    Raises:
        RequantError: if the source can't be run, or an output is further from the source's than the limits allow, with
            both figures and the output's name.
    """
    runner = open_model(load(float_model))
    source = SourceRunner(open_source(original, settings), settings, runner.inputs, runner.outputs)
    samples = load_data(data, runner.inputs)
    reference, outputs = run_all(source, samples), run_all(runner, samples)
    figures = _figures(outputs, reference)
    for name, found in figures.items():
        _require_good(original, source.framework, name, found, settings, samples.synthetic)
    ratios = [found["ratio_db"] for found in figures.values() if found.get("ratio_db") is not None]
    agreements = [found["agreement"] for found in figures.values() if found["type"] == "label"]
    return {
        "framework": source.framework,
        "samples": len(samples.names),
        "synthetic": samples.synthetic,
        "ratio_db": min(ratios, default=None),
        "max_error": max((found["max_error"] for found in figures.values() if "max_error" in found), default=None),
        "agreement": min(agreements, default=None),
        "outputs": figures,
    }


def _figures(outputs: ModelOutputs, reference: ModelOutputs) -> dict[str, Figures]:
    """Return what tells the outputs apart, with one ratio of signal to noise for each kind of output."""
    _require_alike(outputs, reference)
    figures = compare(outputs, reference)
    for name, found in figures.items():
        found.pop("psnr_db_of_each", None)
        if found["type"] == "picture":
            found["ratio_db"] = found["psnr_db"]
        elif found["type"] != "label":
            group = "arrays" if found["type"] == "array" else "probabilities"
            ratio = signal_to_noise(getattr(reference, group)[name], getattr(outputs, group)[name])
            found["ratio_db"] = finite(max(ratio, -999.0))  # a source that gives nothing but zeros has no signal
    return figures


def _require_alike(outputs: ModelOutputs, reference: ModelOutputs) -> None:
    for group in ("pictures", "arrays", "probabilities"):
        for name, values in getattr(reference, group).items():
            shape = getattr(outputs, group)[name].shape
            if values.shape != shape:
                raise RequantError(
                    f"the output {name!r} has the shape {values.shape[1:]} in the source, but {shape[1:]} in the float "
                    "model: the conversion is wrong."
                )


def _require_good(
    original: Path, framework: str, name: str, figures: Figures, settings: ConversionSettings, synthetic: bool
) -> None:
    problem = _shortfall(figures, settings, synthetic)
    if problem:
        error = f", largest error {figures['max_error']:.3g}" if "max_error" in figures else ""
        raise RequantError(
            f"the conversion of {original} is not good enough: held against {framework}, the output {name!r} {problem}"
            f"{error}. Look at scale, bias, color_layout and shapes under conversion, or at compute_precision; if the "
            "figure is good enough for you, set its limit there."
        )


def _shortfall(figures: Figures, settings: ConversionSettings, synthetic: bool) -> str:
    """Return what an output falls short of, in words; nothing if it is good enough."""
    limits = settings.limits
    if figures["type"] == "label":
        # Scores of inputs that mean nothing may be equal but for rounding, and which one wins is chance.
        if synthetic or figures["agreement"] >= limits.min_agreement:
            return ""
        share, least = figures["agreement"], limits.min_agreement
        return f"is the source's label for {share:.2%} of the samples, and {least:.2%} are wanted (min_agreement)"
    picture = figures["type"] == "picture"
    what, key, wanted = ("PSNR", "min_psnr", limits.min_psnr) if picture else ("SNR", "min_snr", settings.least_snr)
    ratio = figures["ratio_db"]
    if ratio is None or ratio >= wanted:
        return ""
    return f"has a {what} of {ratio:.1f} dB, and {wanted:.1f} dB are wanted ({key})"


class SourceRunner:
    """A source that takes and gives what its float model does, so that both can be run on the same samples."""

    def __init__(
        self, source: Source, settings: ConversionSettings, inputs: Sequence[Feature], outputs: Sequence[Feature]
    ) -> None:
        """Join a source with the inputs and outputs that its float model declares."""
        self.framework = source.framework
        self.inputs, self.outputs = list(inputs), list(outputs)
        self._source = source
        open_inputs = tuple(entry for entry in settings.inputs if entry.value is None)
        self._resolved = resolve_inputs(source.inputs, dataclasses.replace(settings, inputs=open_inputs))
        self._labels = list(getattr(source, "labels", ())) or settings.labels()

    def make_state(self) -> None:
        """Return nothing: a source keeps no state from one sample to the next."""

    def predict(self, inputs: Inputs, state: Any = None) -> Outputs:
        """Return the source's outputs as its float model would give them; see `requant.runtime.Runner`."""
        del state
        pairs = zip(self.inputs, self._resolved, strict=True)  # in order: the float model can't have every name
        tensors = [_in_source(inputs[feature.name], feature, each) for feature, each in pairs]
        return self._in_features(self._source.run(tensors))

    def _in_features(self, tensors: list[NDArray[Any]]) -> Outputs:
        rest = list(tensors)
        outputs: Outputs = {}
        if any(feature.type == "label" for feature in self.outputs):
            outputs |= self._classes(rest)
        arrays = [feature for feature in self.outputs if feature.type in ("array", "picture", "number")]
        if len(arrays) != len(rest):
            raise RequantError(f"the source has {len(tensors)} outputs, but its float model {len(self.outputs)}.")
        outputs |= {f.name: _as_feature(tensor, f) for f, tensor in zip(arrays, rest, strict=True)}
        return {feature.name: outputs[feature.name] for feature in self.outputs if feature.name in outputs}

    def _classes(self, rest: list[NDArray[Any]]) -> Outputs:
        """Take the scores, or the label itself, out of what the source gave, and return label and probabilities."""
        label = next(feature.name for feature in self.outputs if feature.type == "label")
        if len(rest) == 1 and rest[0].dtype.kind in "USOiu" and rest[0].size == 1:
            return {label: rest.pop().reshape(-1)[0].item()}
        at = next((i for i, tensor in enumerate(rest) if tensor.size == len(self._labels)), None)
        if at is None:
            raise RequantError(
                f"there are {len(self._labels)} class labels, but no output of the source has as many scores."
            )
        scores = rest.pop(at).reshape(-1)
        found: Outputs = {label: self._labels[int(scores.argmax())]}
        names = [feature.name for feature in self.outputs if feature.type == "dictionary"]
        return found | {name: dict(zip(self._labels, scores.tolist(), strict=True)) for name in names}


def _in_source(value: Any, feature: Feature, each: ResolvedInput) -> NDArray[Any]:
    """Return an input as the source takes it: its axes, its element type, pixels scaled as the float model does."""
    if feature.type != "picture":
        array = np.asarray(value)
        shape = each.default_shape if array.size == int(np.prod(each.default_shape)) else array.shape
        return array.reshape(shape).astype(each.source.dtype)
    planes = picture_to_tensor(value, feature)
    bias = np.asarray(each.settings.bias or (0.0,), np.float32).reshape(1, -1, 1, 1)
    scaled = planes * np.float32(each.settings.scale) + bias
    return (scaled if is_channel_first(each) else scaled.transpose(0, 2, 3, 1)).astype(each.source.dtype)


def _as_feature(tensor: NDArray[Any], feature: Feature) -> Any:
    if feature.type == "number":
        return float(tensor.reshape(-1)[0])
    if feature.type == "array":
        return np.atleast_1d(tensor)
    channels_last = tensor.ndim > 2 and tensor.shape[-1] in (1, 3) and tensor.shape[-3] not in (1, 3)
    return tensor_to_picture(np.moveaxis(tensor, -1, -3) if channels_last else tensor, feature)
