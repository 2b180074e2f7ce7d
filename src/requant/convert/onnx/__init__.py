"""ONNX originals: run by ONNX Runtime, and translated operator by operator to a float Core ML model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from requant.convert.onnx.preparing import Prepared, prepare
from requant.convert.onnx.translation import quiet, translate
from requant.convert.settings import ConversionSettings
from requant.convert.source import SourceInput
from requant.convert.through_coremltools import convert_program
from requant.coreml.model import Model
from requant.errors import RequantError


class OnnxSource:
    """An ONNX file opened in ONNX Runtime.

    Attributes:
        framework: its name and version.
        all_inputs: in the file's order.
        inputs: likewise, without those that the configuration makes constants.
    """

    def __init__(self, prepared: Prepared, original: Path) -> None:
        self.framework = f"ONNX Runtime {onnxruntime.__version__}"
        self.all_inputs: list[SourceInput] = prepared.inputs
        self.inputs = [each for each in prepared.inputs if each.name not in prepared.constants]
        self._constants = prepared.constants
        self._original = original
        try:
            self._session = onnxruntime.InferenceSession(
                prepared.model.SerializeToString(), quiet(), ["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise RequantError(f"{original} can't be run by {self.framework}: {error}") from error

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs, in the file's order.

        Raises:
            RequantError: if ONNX Runtime can't run the network with these inputs.
        """
        feeds = {
            each.name: np.ascontiguousarray(array, each.dtype) for each, array in zip(self.inputs, inputs, strict=True)
        }
        try:
            return [np.asarray(result) for result in self._session.run(None, feeds | self._constants)]
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise RequantError(f"{self._original} can't be run by {self.framework}: {error}") from error


def open_source(original: Path, settings: ConversionSettings) -> OnnxSource:
    """Return an ONNX file opened in ONNX Runtime.

    Raises:
        RequantError: if it can't be read or run.
    """
    return OnnxSource(prepare(original, settings), original)


def convert(original: Path, settings: ConversionSettings) -> Model:
    """Return the float Core ML model of an ONNX file.

    Raises:
        RequantError: if it can't be read, is quantized already, or can't be translated.
    """
    prepared = prepare(original, settings)
    program, inputs = translate(prepared, original, settings)
    return convert_program(program, original, "milinternal", inputs, settings, output_names=prepared.output_names)
