"""Time and memory of running a Core ML model off a Mac: requant beside PyTorch and a directly exported ONNX file.

    pip install '.[torch]'
    python -m benchmarks.runtime

Each measurement is a process of its own. "ready" is the time from a loaded file to a model that can predict (for
requant: the translation and ONNX Runtime's session), "first" the first prediction, "next" the median of the following
ones, on one thread everywhere. The result goes to docs/performance.md and docs/images/runtime.svg. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.performance_page import (
    REPEATS,
    Middle,
    machine,
    peak_mb,
    plot,
    ran_well,
    repeated,
    table,
    write_section,
)

Figures = dict[str, Middle]
LIBRARIES = ("coremltools", "onnxruntime", "torch", "numpy", "protobuf")
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
    import numpy as np

    shape = list(networks().values())[number][1]
    x = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    ready, predict = predictor(engine, folder, number)
    times = []
    for _ in range(PREDICTIONS + 1):
        start = time.perf_counter()
        predict(x)
        times.append(time.perf_counter() - start)
    return {"ready": ready, "first": times[0], "next": statistics.median(times[1:]), "peak": peak_mb()}


def middles(engine: str, folder: Path, number: int) -> Figures:
    """Return the medians of several processes."""
    command = [sys.executable, "-m", "benchmarks.runtime", "--one", engine, str(folder), str(number)]
    runs: list[tuple[float, dict[str, float]]] = repeated(lambda: _one(command), lambda run: run[0])
    return {key: Middle.of(figures[key] for _, figures in runs) for key in runs[0][1]}


def _one(command: list[str]) -> tuple[float, dict[str, float]]:
    done = ran_well(command)
    return done.seconds, json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))


def milliseconds(middle: Middle) -> Middle:
    """Return seconds as milliseconds."""
    return Middle(1e3 * middle.median, 1e3 * middle.least, 1e3 * middle.most, middle.count)


def rows(name: str, found: dict[str, Figures]) -> list[list[str]]:
    """Return the lines of one network, with the time of a prediction as a ratio to that of the direct export."""
    export = found["ONNX export"]["next"].median
    return [
        [
            name, engine, figures["ready"].shown("{:.2f} s", spread=False),
            f"{1e3 * figures['first'].median:.0f} ms",
            milliseconds(figures["next"]).shown("{:.1f}"),
            f"{figures['next'].median / export:.2f}", f"{figures['peak'].median:.0f} MB",
        ]
        for engine, figures in found.items()
    ]  # fmt: skip


def draw(results: dict[str, dict[str, Figures]]) -> None:
    """Draw the time of a prediction as a ratio to that of the direct export, and the peak memory."""
    colours = dict(zip(ENGINES, ("#009E73", "#56B4E9", "#999999", "#E69F00"), strict=True))
    with plot("runtime", 2, 5.0, 4.0) as panels:
        for place, engine in enumerate(ENGINES):
            positions = [index + 0.2 * (place - 1.5) for index in range(len(results))]
            ratios = [found[engine]["next"].median / found["ONNX export"]["next"].median for found in results.values()]
            peaks = [found[engine]["peak"].median for found in results.values()]
            for axes, values in zip(panels, (ratios, peaks), strict=True):
                axes.barh(positions, values, 0.19, color=colours[engine], label=engine)
        for axes, title in zip(panels, ("a prediction, against the ONNX export", "peak memory in MB"), strict=True):
            axes.set_yticks(range(len(results)), list(results))
            axes.invert_yaxis()
            axes.set_xlabel(title)
        panels[0].axvline(1, color="#444444", linewidth=0.6)
        panels[0].legend(frameon=False)


def main() -> None:
    """Measure all networks with all engines, or one with one (which is what the processes do)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=3, metavar=("ENGINE", "FOLDER", "NUMBER"), help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], Path(options.one[1]), int(options.one[2]))))
    elif options.prepare:
        prepare(options.prepare)
    else:
        compare()


def compare() -> None:
    """Measure everything and write the section of the page."""
    results: dict[str, dict[str, Figures]] = {}
    names = json.loads(ran_well([sys.executable, "-c", _NAMES]).output.splitlines()[-1])
    with tempfile.TemporaryDirectory() as folder:
        ran_well([sys.executable, "-m", "benchmarks.runtime", "--prepare", folder])
        for number, name in enumerate(names):
            results[name] = {engine: middles(engine, Path(folder), number) for engine in ENGINES}
            print(table([], rows(name, results[name])), file=sys.stderr, flush=True)
    head = ("network", "engine", "ready", "first", "next, ms", "against ONNX export", "peak memory")
    lines = table(head, [line for name, found in results.items() for line in rows(name, found)])
    notes = f"One thread; medians of {REPEATS} processes, each of which takes the median of {PREDICTIONS} predictions."
    text = f"{machine(LIBRARIES)} {notes}\n\n![Running a model](images/runtime.svg)\n\n{lines}"
    write_section("runtime", "Running a model", text)
    draw(results)


_NAMES = "import json; from benchmarks.runtime import networks; print(json.dumps(list(networks())))"


if __name__ == "__main__":
    main()
