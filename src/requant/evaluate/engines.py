"""The same model run in several ways: what Apple's framework and ONNX Runtime give, and what float16 costs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from requant.coreml.audit import signal_to_noise
from requant.evaluate.data import Data, load_data
from requant.evaluate.metrics import agreement, largest_error, psnr
from requant.evaluate.outputs import ModelOutputs, run_all
from requant.runtime import Runner, load

REFERENCE = "onnxruntime, float32"


@dataclass(frozen=True)
class Difference:
    """How one output differs from that of ONNX Runtime in float32.

    Attributes:
        engine: what ran the model.
        output: the output's name.
        figure: the fidelity in words, as `93.1 dB`.
        largest: the largest absolute difference; NaN for labels.
    """

    engine: str
    output: str
    figure: str
    largest: float


def engines(path: Path, function: str = "") -> dict[str, Callable[[], Runner]]:
    """Return the ways in which a model can be run on this machine, the reference first."""
    found: dict[str, Callable[[], Runner]] = {
        REFERENCE: lambda: load(path, "onnxruntime", function=function),
        "onnxruntime, float16": lambda: load(path, "onnxruntime", function=function, compute_precision="float16"),
    }
    if sys.platform == "darwin":
        found |= {
            "Apple, CPU": lambda: load(path, "apple", function=function, compute_units="cpu"),
            "Apple, CPU and GPU": lambda: load(path, "apple", function=function, compute_units="cpu-and-gpu"),
            "Apple, all units": lambda: load(path, "apple", function=function, compute_units="all"),
        }
    return found


def compare_engines(path: Path, data: Data, function: str = "") -> list[Difference]:
    """Run a model on the same samples in all ways that this machine has, and compare each with ONNX Runtime in float32.

    Args:
        path: the model's file.
        data: evaluation data as in the configuration; without it, inputs made up from a seed.
        function: of an ML Program with several.

    Raises:
        RequantError: if the model can't be run or the data does not fit it.
    """
    runners = engines(path, function)
    reference = runners.pop(REFERENCE)()
    samples = load_data(data, reference.inputs)
    wanted = run_all(reference, samples)
    rows = []
    for engine, make in runners.items():
        rows += differences(engine, wanted, run_all(make(), samples))
    return rows


def differences(engine: str, wanted: ModelOutputs, found: ModelOutputs) -> list[Difference]:
    """Return how outputs differ from others, a row per output."""
    rows = []
    for name, pictures in wanted.pictures.items():
        other = found.pictures[name]
        rows.append(Difference(engine, name, _decibels(psnr(pictures, other), "PSNR"), largest_error(pictures, other)))
    for name, numbers in {**wanted.arrays, **wanted.probabilities}.items():
        other = np.asarray({**found.arrays, **found.probabilities}[name])
        rows.append(
            Difference(engine, name, _decibels(signal_to_noise(numbers, other), "SNR"), largest_error(numbers, other))
        )
    for name, labels in wanted.labels.items():
        share = agreement(labels, found.labels[name])
        rows.append(Difference(engine, name, f"{100 * share:.1f} % of the labels agree", math.nan))
    return rows


def _decibels(value: float, name: str) -> str:
    return "equal" if math.isinf(value) else f"{value:.1f} dB {name}"


def comparison_table(rows: list[Difference]) -> str:
    """Return the differences as a table for a terminal."""
    lines = [f"  {'engine':<24}{'output':<24}{'against ' + REFERENCE:<32}largest difference"]
    for row in rows:
        largest = "" if math.isnan(row.largest) else f"{row.largest:.3g}"
        lines.append(f"  {row.engine:<24}{row.output:<24}{row.figure:<32}{largest}")
    return "\n".join(lines)
