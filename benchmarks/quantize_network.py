"""Time and peak memory of quantizing a NeuralNetwork: requant beside coremltools' `quantize_weights`.

    python benchmarks/quantize_network.py models_original/starry_night.mlmodel

Each measurement is a process of its own; the time is that of the call, without imports and reading. What coremltools
can't do is shown as the exception that it raises.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import subprocess
import sys
import time
from pathlib import Path

SCHEMES = (
    "linear_16",
    "linear_8",
    "linear_6",
    "linear_4",
    "linear_1",
    "linear_lut_6",
    "kmeans_8",
    "kmeans_6",
    "kmeans_4",
)


def measure(engine: str, path: Path, scheme: str) -> str:
    """Return seconds and peak MB of one quantization, or the name of the exception."""
    from requant.coreml.model import load
    from requant.quantize.scheme import Scheme
    from requant.quantize.variant import quantize

    wanted = Scheme.parse(scheme)
    model = load(path)
    if engine == "requant":
        start = time.perf_counter()
        quantize(model, wanted)
    else:
        from coremltools.models import MLModel
        from coremltools.models.neural_network.quantization_utils import quantize_weights

        loaded = MLModel(model.spec, skip_model_load=True)
        start = time.perf_counter()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                quantize_weights(loaded, wanted.bits, wanted.mode)
        except Exception as error:  # whatever it raises is the result
            return type(error).__name__
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024  # bytes in ru_maxrss's unit
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return f"{seconds:.2f} s {peak:.0f} MB"


def main() -> None:
    """Measure all schemes with both, or one with one (which is what the processes do)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .mlmodel with float32 weights")
    parser.add_argument("--one", nargs=2, metavar=("ENGINE", "SCHEME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measure(options.one[0], options.model, options.one[1]))
        return
    print(f"{'scheme':<16}{'requant':>20}{'coremltools':>24}")
    for scheme in SCHEMES:
        cells = []
        for engine in ("requant", "coremltools"):
            command = [sys.executable, __file__, str(options.model), "--one", engine, scheme]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            cells.append(done.stdout.strip() or "failed")
        print(f"{scheme:<16}{cells[0]:>20}{cells[1]:>24}", flush=True)


if __name__ == "__main__":
    main()
