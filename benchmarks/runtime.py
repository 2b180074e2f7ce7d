"""Time and memory of running a Core ML model off a Mac: requant beside PyTorch and a directly exported ONNX file.

    pip install '.[torch]'
    python -m benchmarks.runtime

Each measurement is a process of its own. "ready" is the time from a loaded file to a model that can predict (for
requant: the translation and ONNX Runtime's session), "first" the first prediction, "next" the median of the following
ones, on one thread everywhere. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PREDICTIONS = 30
ENGINES = ("requant, ML Program", "requant, NeuralNetwork", "ONNX export", "torch")


def networks() -> dict[str, tuple[Callable[[], Any], tuple[int, ...]]]:
    """Return the networks to measure: how to make each, and the shape of its input."""
    from tests import torch_networks as known

    return {
        "ResNet, 25 M": (lambda: known.ResNet((64, 128, 256, 512, 768, 768)), (1, 3, 224, 224)),
        "MobileNet": (known.MobileNet, (1, 3, 224, 224)),
        "vision transformer": (lambda: known.VisionTransformer(224, 16, 192, 3, 6), (1, 3, 224, 224)),
        "U-Net": (known.UNet, (1, 3, 256, 256)),
        "style network": (lambda: known.Style(16), (1, 3, 256, 256)),
    }


def prepare(folder: Path) -> None:
    """Write each network as an ML Program, a NeuralNetwork, an ONNX file and a TorchScript file."""
    import coremltools as ct
    import torch

    from tests.torch_networks import made

    for number, (make, shape) in enumerate(networks().values()):
        module, example = made(make()), torch.zeros(shape)
        traced = torch.jit.trace(module, example)
        inputs = [ct.TensorType("x", shape)]
        options = {"inputs": inputs, "skip_model_load": True}
        program = ct.convert(traced, compute_precision=ct.precision.FLOAT32, **options)
        program.save(str(folder / f"{number}.mlpackage"))
        ct.convert(traced, convert_to="neuralnetwork", **options).save(str(folder / f"{number}.mlmodel"))
        traced.save(str(folder / f"{number}.pt"))
        torch.onnx.export(
            module, (example,), str(folder / f"{number}.onnx"), input_names=["x"], dynamo=False, opset_version=18
        )


def predictor(engine: str, folder: Path, number: int) -> tuple[float, Callable[[Any], Any]]:
    """Return the seconds that a model took to be ready, and a function that predicts; imports do not count."""
    if engine.startswith("requant"):
        from requant.coreml.model import load
        from requant.runtime import open_model

        model = load(folder / f"{number}{'.mlpackage' if 'Program' in engine else '.mlmodel'}")
        return _timed(lambda: open_model(model, "onnxruntime").predict, lambda predict, x: predict({"x": x}))
    if engine == "torch":
        import torch

        torch.set_num_threads(1)
        network = torch.jit.load(str(folder / f"{number}.pt"))
        return _timed(lambda: torch.jit.freeze(network.eval()), lambda module, x: module(torch.from_numpy(x)))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    file = str(folder / f"{number}.onnx")
    return _timed(
        lambda: onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]),
        lambda session, x: session.run(None, {"x": x}),
    )


def _timed(make: Callable[[], Any], call: Callable[[Any, Any], Any]) -> tuple[float, Callable[[Any], Any]]:
    start = time.perf_counter()
    made = make()
    return time.perf_counter() - start, lambda x: call(made, x)


def measure(engine: str, folder: Path, number: int) -> dict[str, float]:
    """Return the seconds until ready, of the first and of the following predictions, and the peak memory in MB."""
    shape = list(networks().values())[number][1]
    x = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    ready, predict = predictor(engine, folder, number)
    times = []
    for _ in range(PREDICTIONS + 1):
        start = time.perf_counter()
        predict(x)
        times.append(time.perf_counter() - start)
    return {"ready": ready, "first": times[0], "next": statistics.median(times[1:]), "peak": peak_memory()}


def peak_memory() -> float:
    """Return the peak memory of this process in MB; on Linux without that of the process which started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Measure all networks with all engines, or one with one (which is what the processes do)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=3, metavar=("ENGINE", "FOLDER", "NUMBER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], Path(options.one[1]), int(options.one[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        print("| network | engine | ready | first | next | against ONNX export | peak memory |")
        print("|---|---|---|---|---|---|---|")
        for number, name in enumerate(networks()):
            _print_rows(name, number, folder)


def _print_rows(name: str, number: int, folder: str) -> None:
    found = {}
    for engine in ENGINES:
        command = [sys.executable, "-m", "benchmarks.runtime", "--one", engine, folder, str(number)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found[engine] = json.loads(done.stdout) if done.returncode == 0 else {}
    export = found["ONNX export"].get("next", float("nan"))
    for engine, figures in found.items():
        if not figures:
            print(f"| {name} | {engine} | failed | | | | |")
            continue
        print(
            f"| {name} | {engine} | {figures['ready']:.2f} s | {1e3 * figures['first']:.0f} ms | "
            f"{1e3 * figures['next']:.1f} ms | {figures['next'] / export:.2f} | {figures['peak']:.0f} MB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
