"""The named suites: which of Apple's tests, for which backend, with which options."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_OPERATIONS = ("coremltools/converters/mil/mil/ops/tests",)
_TORCH = ("coremltools/converters/mil/frontend/torch/test",)
_LAYERS = "coremltools/test/neural_network/test_numpy_nn_layers.py"
# Convolutions of 60 million values and random tensors of 100 million take minutes and say no more than the small ones.
_HUGE = ("test_static_weight_conv2d_stress", "test_random_normal_like_cpu", "test_random_normal_like_gpu")


@dataclass(frozen=True)
class Suite:
    """A selection of Apple's tests.

    Attributes:
        title: what it tests, for the table.
        paths: files and folders below the folder of installed packages.
        target: the kind of model that coremltools converts to.
        options: options of the plugin.
        needs_torch: whether torch is needed for it to mean anything.
        per_function: how many tests of a test function `make conformance` runs; 0 is all.
    """

    title: str
    paths: tuple[str, ...]
    target: str = "mlprogram"
    options: tuple[str, ...] = ()
    needs_torch: bool = False
    per_function: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """The variables that Apple's tests read, and those that make a run repeat."""
        return {
            "PYMIL_TEST_TARGETS": self.target,
            "INCLUDE_MIL_FP32_UNIT_TESTS": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONSAFEPATH": "1",  # some packages install a folder named tests
            "OMP_NUM_THREADS": "1",
        }


# The float32 tests of operations feed float16 to some of them, and expect values rounded as float16.
_FP32 = ("--precision=fp32", "--compute-precision=float16")

SUITES = {
    "mil-fp32": Suite("operations of ML Programs, float32", _OPERATIONS, options=_FP32, per_function=25),
    "mil-fp16": Suite("operations of ML Programs, float16", _OPERATIONS, options=("--precision=fp16",), per_function=2),
    "mil-neuralnetwork": Suite("operations as NeuralNetwork layers", _OPERATIONS, "neuralnetwork", per_function=3),
    "torch": Suite("PyTorch layers as ML Programs, float32", _TORCH, options=_FP32, needs_torch=True, per_function=3),
    "torch-neuralnetwork": Suite(
        "PyTorch layers as NeuralNetworks", _TORCH, "neuralnetwork", needs_torch=True, per_function=1
    ),
    "neural-network": Suite(
        "NeuralNetwork layers and models",
        ("coremltools/test/neural_network",),
        "neuralnetwork",
        ("--time-limit=900",),
    ),
    "ml-program": Suite("models of several functions, states", ("coremltools/test/ml_program",), needs_torch=True),
    "optimize": Suite("compressed models", ("coremltools/test/optimize",), needs_torch=True, per_function=2),
    "sample-operations": Suite("a sample of mil-fp32", _OPERATIONS, options=_FP32, per_function=3),
    "sample-layers": Suite(
        "most of neural-network",
        (_LAYERS,),
        "neuralnetwork",
        ("-k", " and ".join(f"not {name}" for name in _HUGE)),
    ),
}
SAMPLES = ("sample-operations", "sample-layers")
WHOLE = tuple(name for name in SUITES if name not in SAMPLES)


def package_folder() -> Path:
    """Return the folder of installed packages that coremltools is in, without importing coremltools."""
    spec = find_spec("coremltools")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("coremltools is not installed")
    return Path(spec.origin).parents[1]
