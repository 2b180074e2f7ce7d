"""A stand-in for `coremltools.libcoremlpython`, the native module that only the wheel for macOS has.

coremltools reaches Core ML through one native class, `_MLModelProxy`. Here is a class with its methods that predicts by
`requant.runtime`. All of coremltools above it stays as it is, so that inputs are checked and converted as on a Mac.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from requant.errors import RequantError

MACOS_VERSION = (15, 5)
NEWEST_SPECIFICATION = 9  # iOS 18, macOS 15


class NeedsAppleError(RuntimeError):
    """The test asks for something that only Apple's compiler or framework makes."""


@dataclass
class Ledger:
    """What the stand-in did during one test.

    Attributes:
        predictions: how many predictions were made.
        errors: the exceptions that `requant` raised, in their order.
        proxies: the model that was last asked for a prediction or a state; some tests make thousands.
        roundings: how far the arrays of the last failed comparison are apart, in roundings to float16.
    """

    predictions: int = 0
    errors: list[BaseException] = field(default_factory=list)
    proxies: deque[ModelProxy] = field(default_factory=lambda: deque(maxlen=1))
    roundings: float | None = None

    def clear(self) -> None:
        """Forget everything, for the next test."""
        self.predictions = 0
        self.errors.clear()
        self.proxies.clear()
        self.roundings = None


LEDGER = Ledger()
OPTIONS: dict[str, Any] = {"compute_precision": "float32"}


def _recorded(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except NeedsAppleError:
        raise
    except Exception as error:
        LEDGER.errors.append(error)
        raise


class StateProxy:
    """A state of a stateful model, as `MLState` wraps it."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def read_state(self, name: str) -> Any:
        """Return the array of a state."""
        return _as_runtime_error(lambda: self.state.read_state(name))

    def write_state(self, name: str, value: Any) -> None:
        """Replace the array of a state."""
        _as_runtime_error(lambda: self.state.write_state(name, value))


def _as_runtime_error(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except RequantError as error:
        raise RuntimeError(f"Unable to compute the prediction using ML Program: {error}") from error


def _with_alpha(value: Any) -> Any:
    """Return a colour picture as coremltools hands it over, with an alpha channel."""
    return value.convert("RGBA") if isinstance(value, Image.Image) and value.mode == "RGB" else value


class ModelProxy:
    """A model that coremltools believes to be loaded by Core ML; it is opened when first asked for a prediction."""

    def __init__(self, path: str, compute_units: str, function: str, hints: dict[str, str], asset: Any) -> None:
        from requant.coreml.model import load

        if asset is not None or path.rstrip("/").endswith(".mlmodelc"):
            raise NeedsAppleError("a compiled model (.mlmodelc)")
        self.model = replace(load(Path(path)), path=Path("model"))  # in messages, that do not change from run to run
        self.function = function
        self._runner: Any = None

    @property
    def runner(self) -> Any:
        """The model, opened by `requant.runtime`."""
        if self._runner is None:
            self._runner = _open(self.model, self.function)
        return self._runner

    def predict(self, inputs: dict[str, Any], state: StateProxy | None = None) -> dict[str, Any]:
        """Return the outputs of one prediction."""
        LEDGER.proxies.append(self)
        more = {} if state is None else {"state": state.state}
        runner = _recorded(lambda: self.runner)
        outputs = _recorded(lambda: _as_runtime_error(lambda: runner.predict(inputs, **more)))
        LEDGER.predictions += 1
        return {name: _with_alpha(value) for name, value in outputs.items()}

    def batchPredict(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802 - Apple's name
        """Return the outputs of several predictions."""
        return [self.predict(inputs) for inputs in batch]

    def newState(self) -> StateProxy:  # noqa: N802 - Apple's name
        """Return a fresh state."""
        LEDGER.proxies.append(self)
        return StateProxy(_recorded(self._make_state))

    def _make_state(self) -> Any:
        return self.runner.make_state()

    def get_compiled_model_path(self) -> str:
        """Refuse: only Apple's compiler makes one."""
        raise NeedsAppleError("the path of a compiled model (.mlmodelc)")

    @staticmethod
    def maximum_supported_specification_version() -> int:
        """Return the newest specification version that the imitated macOS reads."""
        return NEWEST_SPECIFICATION

    @staticmethod
    def compileModel(path: str) -> str:  # noqa: N802 - Apple's name
        """Refuse: only Apple's compiler makes one."""
        raise NeedsAppleError("Apple's compiler (compileModel)")

    @staticmethod
    def auto_set_specification_version(spec: bytes) -> bytes:
        """Refuse: coremltools goes on with the version that the model has."""
        raise NeedsAppleError("Core ML's choice of the lowest specification version")

    @staticmethod
    def get_all_compute_devices() -> list[Any]:
        """Refuse: there are none."""
        raise NeedsAppleError("Apple's list of compute devices")

    @staticmethod
    def get_available_compute_devices() -> list[Any]:
        """Refuse: there are none."""
        raise NeedsAppleError("Apple's list of compute devices")

    @staticmethod
    def get_model_structure(path: str) -> Any:
        """Refuse: it is read from a compiled model."""
        raise NeedsAppleError("the structure of a compiled model")

    @staticmethod
    def get_compute_plan(path: str, compute_units: str) -> Any:
        """Refuse: it is Core ML's own."""
        raise NeedsAppleError("a compute plan")

    @staticmethod
    def create_model_asset_from_path(path: str) -> Any:
        """Refuse: it is made of a compiled model."""
        raise NeedsAppleError("an asset of a compiled model")

    @staticmethod
    def create_model_asset_from_memory(spec: bytes, blobs: dict[str, bytes]) -> Any:
        """Refuse: it is compiled by Core ML."""
        raise NeedsAppleError("an asset that Core ML compiles")


class AssetProxy:
    """The native class of a compiled model's asset; there are no instances."""


class ComputePlanProxy:
    """The native class of a compute plan; there are no instances."""


class DeviceProxy:
    """The native class of a compute device; there are no instances."""


def _open(model: Any, function: str) -> Any:
    from requant.runtime import open_model

    return open_model(model, "onnxruntime", function=function, compute_precision=OPTIONS["compute_precision"])


def operation_types(proxy: ModelProxy) -> list[str]:
    """Return the types of the operations or layers of a model, each once, in the order of their appearance."""
    spec = proxy.model.spec
    kind = spec.WhichOneof("Type")
    if kind == "mlProgram":
        found = [operation.type for operation in _all_operations(spec)]
    elif kind is not None and kind.startswith("neuralNetwork"):
        found = [layer.WhichOneof("layer") or "none" for layer in getattr(spec, kind).layers]
    else:
        found = [kind or "none"]
    return [name for name in dict.fromkeys(found) if name != "const"]


def computes_in_float16(proxy: ModelProxy) -> bool:
    """Tell whether an ML Program types an input, a result or a constant as float16."""
    from requant.coreml.program import data_type

    spec = proxy.model.spec
    values = [value for function in spec.mlProgram.functions.values() for value in function.inputs]
    values += [output for operation in _all_operations(spec) for output in operation.outputs]
    return any(data_type(value.type) == "FLOAT16" for value in values)


def _all_operations(spec: Any) -> list[Any]:
    functions = spec.mlProgram.functions.values()
    blocks = [block for function in functions for block in function.block_specializations.values()]
    return [operation for block in blocks for operation in _operations(block)]


def _operations(block: Any) -> list[Any]:
    inner = [found for operation in block.operations for nested in operation.blocks for found in _operations(nested)]
    return [*block.operations, *inner]


def install() -> None:
    """Make coremltools, which must not have been imported yet, believe that it runs on a Mac.

    Raises:
        RuntimeError: if coremltools has been imported before.
    """
    if "coremltools" in sys.modules:
        raise RuntimeError("coremltools was imported before the stand-in: load the plugin with -p")
    native = ModuleType("coremltools.libcoremlpython", __doc__)
    native._MLModelProxy = ModelProxy  # type: ignore[attr-defined]
    native._MLModelAssetProxy = AssetProxy  # type: ignore[attr-defined]
    native._MLComputePlanProxy = ComputePlanProxy  # type: ignore[attr-defined]
    for device in ("CPU", "GPU", "NeuralEngine"):
        setattr(native, f"_ML{device}ComputeDeviceProxy", DeviceProxy)
    sys.modules[native.__name__] = native
    import coremltools.models.utils as model_functions

    originals = {"_is_macos": model_functions._is_macos, "_macos_version": model_functions._macos_version}
    replacements = {"_is_macos": lambda: True, "_macos_version": lambda: MACOS_VERSION}
    for name, module in list(sys.modules.items()):
        if name.startswith("coremltools"):
            if "_IS_MACOS" in vars(module):
                vars(module)["_IS_MACOS"] = True
            for function, original in originals.items():
                if vars(module).get(function) is original:
                    setattr(module, function, replacements[function])
