"""Originals of PyTorch: exported programs, TorchScript, and state dictionaries with a function that builds the module.

Pickled modules are not taken: to load one is to run whatever code it names. Everything is read with torch's own
`weights_only` unpickler, which knows tensors and plain containers. TorchScript is a program in a language of its own,
that torch runs when the model is run.
"""

from __future__ import annotations

import inspect
import logging
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from requant.convert.settings import ConversionSettings, SizeRange
from requant.convert.source import ResolvedInput, SourceInput, constant_inputs, resolve_inputs
from requant.convert.through_coremltools import convert_program
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.user_function import load_function

Storage = Literal["exported", "torchscript", "pickle"]
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the state dictionary
_POOLINGS = frozenset(f"{kind}_pool{axes}d" for kind in ("max", "avg") for axes in (1, 2, 3))
_SHOWN = 5


def convert(original: Path, settings: ConversionSettings) -> Model:
    """Return the float model of a PyTorch original.

    Raises:
        RequantError: if the file can't be read or converted, or the shapes of its inputs are not known.
    """
    source = open_source(original, settings)
    inputs = resolve_inputs(source.all_inputs, settings)
    if source.exported is None:
        try:
            return convert_program(source.traced(inputs), original, "pytorch", inputs, settings)
        except RequantError as error:
            raise RequantError(f"{error}{_hint(source.scripted)}") from error
    _require_exported_shapes(original, inputs)
    program = _with_strides(source.exported.run_decompositions({}))
    try:
        return convert_program(program, original, "pytorch", inputs, settings)
    except RequantError as error:
        logging.info("%s Trying the traced program, of which coremltools knows more operations.", error)
        try:
            return convert_program(source.traced(inputs), original, "pytorch", inputs, settings)
        except RequantError:
            raise error from None


def _hint(scripted: set[str]) -> str:
    """Return what to do about TorchScript that is code with branches rather than the trace of a run."""
    if not scripted:
        return ""
    return (
        f" It is scripted code ({', '.join(sorted(scripted))}), of which coremltools converts only some: trace the "
        "module instead, export it as .pt2, or take its ONNX form if there is one."
    )


class TorchSource:
    """A PyTorch original, opened in PyTorch; what the configuration makes constant is passed on by itself."""

    def __init__(
        self,
        original: Path,
        module: Callable[..., Any],
        all_inputs: Sequence[SourceInput],
        settings: ConversionSettings,
        exported: Any = None,
    ) -> None:
        """Keep a module that takes these inputs, and the exported program that it is from, if it is from one."""
        import torch

        self.framework = f"PyTorch {torch.__version__.partition('+')[0]}"
        self.all_inputs = list(all_inputs)
        self._original = original
        self.exported = exported
        self.scripted = _scripted_in(module)
        constants = constant_inputs(all_inputs, settings)
        self.inputs = [each for each in all_inputs if each.name not in constants]
        self._call = _with_constants(module, [each.name for each in all_inputs], constants) if constants else module

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs for inputs in the module's own axes and element types; see `Source`."""
        import torch

        with torch.no_grad():
            try:
                outputs = self._call(*(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs))
            except Exception as error:  # whatever the user's module raises
                shapes = ", ".join(str(array.shape) for array in inputs)
                raise RequantError(
                    f"{self._original} does not run on inputs of the shapes {shapes}. PyTorch says: {_first(error)}"
                ) from error
        return [tensor.detach().cpu().numpy() for tensor in _tensors(outputs)]

    def traced(self, inputs: Sequence[ResolvedInput]) -> Any:
        """Return the module as TorchScript: traced, if it is not TorchScript already."""
        import torch

        if isinstance(self._call, torch.jit.ScriptModule):
            return self._call
        arrays = [each.example() for each in inputs]
        self.run(arrays)  # wrong shapes are told in the project's words
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's, of Python numbers that become constants
            try:
                return torch.jit.trace(self._call, tuple(map(torch.from_numpy, arrays)), check_trace=False)
            except Exception as error:
                raise RequantError(f"{self._original} can't be traced. PyTorch says: {_first(error)}") from error


def open_source(original: Path, settings: ConversionSettings) -> TorchSource:
    """Open a PyTorch original; see `requant.convert.source.Source`.

    Raises:
        RequantError: if it can't be read, is a pickled module, or is a state dictionary that does not fit its factory.
    """
    storage = stored_as(original)
    if storage == "exported":
        return _open_exported(original, settings)
    if storage == "torchscript":
        return _open_torchscript(original, settings)
    return _open_state(original, settings)


def stored_as(original: Path) -> Storage:
    """Return what a PyTorch file holds, from the names in its archive; nothing of it is loaded.

    Raises:
        RequantError: if it can't be read, or is damaged.
    """
    try:
        with original.open("rb") as stream:
            begin = stream.read(4)
        if begin[:2] != b"PK":
            if original.suffix != ".pt2" and begin[:1] == b"\x80":
                return "pickle"  # as torch before 1.6 wrote it
            raise RequantError(f"{original} is not a PyTorch file, or it is damaged: its first bytes are {begin!r}.")
        with zipfile.ZipFile(original) as archive:
            names = [name.partition("/")[2] or name for name in archive.namelist()]
    except OSError as error:
        raise RequantError(f"{original} can't be read: {error.strerror or error}.") from error
    except zipfile.BadZipFile as error:
        raise RequantError(
            f"{original} is damaged or cut off: its archive has no end. Get or save it again."
        ) from error
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        return "exported"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    if "data.pkl" in names and original.suffix != ".pt2":
        return "pickle"
    if original.suffix == ".pt2":
        raise RequantError(f"{original} is no exported program, or it is damaged or cut off. Get or save it again.")
    raise RequantError(f"{original} is an archive, but not one that PyTorch wrote: there is no model in it.")


@contextmanager
def _only_weights(settings: ConversionSettings) -> Iterator[None]:
    """Have torch unpickle nothing but tensors and plain containers, also where it would fall back to more."""
    names = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": None if settings.trust_pickle else "1"}
    names["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = None
    before = {name: os.environ.get(name) for name in names}
    _set_environment(names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _open_exported(original: Path, settings: ConversionSettings) -> TorchSource:
    import torch

    if any(entry.value is not None for entry in settings.inputs):
        raise RequantError(f"{original} is an exported program: export it with the constant in it, instead of value.")
    try:
        with _only_weights(settings):
            exported = torch.export.load(original)
        module = exported.module()
    except Exception as error:  # torch has no common class for what may be wrong with a file
        raise RequantError(
            f"{original} can't be loaded as an exported program. It may be damaged, or written by another version of "
            f"PyTorch than {torch.__version__}. PyTorch says: {_first(error)}"
        ) from error
    return TorchSource(original, module, _exported_inputs(exported), settings, exported)


def _scripted_in(module: Any) -> set[str]:
    """Return the kinds of nodes in TorchScript that no trace of a run has; none for other modules."""
    graph = getattr(module, "inlined_graph", None)
    kinds = {"prim::If", "prim::Loop", "prim::SetAttr", "prim::RaiseException"}
    return {kind for kind in kinds if graph is not None and graph.findNode(kind)}


def _exported_inputs(exported: Any) -> list[SourceInput]:
    wanted = set(exported.graph_signature.user_inputs)
    found = []
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in wanted:
            value = node.meta["val"]
            if not hasattr(value, "shape"):
                raise RequantError(f"the input {node.name!r} of the exported program is no tensor, but {value!r}.")
            shape = tuple(_exported_size(size, exported.range_constraints) for size in value.shape)
            found.append(SourceInput(node.name, str(value.dtype).removeprefix("torch."), shape))
    return found


def _exported_size(size: Any, ranges: Mapping[Any, Any]) -> int | SizeRange | None:
    """Return a size of an exported program: fixed, the range it was exported for, or None where that has no end."""
    if isinstance(size, int):
        return size
    bounds = ranges.get(size.node.expr)
    if bounds is None:
        return None
    try:
        low, high = int(bounds.lower), int(bounds.upper)
    except (TypeError, ValueError, OverflowError):  # what has no end is no number
        return None
    return SizeRange(low, high, min(max(int(size.node.hint), low), high))


def _with_strides(exported: Any) -> Any:
    """Give each pooling the stride, which torch leaves out where it is the window's size, and coremltools 9 wants."""
    for node in exported.graph.nodes:
        name = getattr(node.target, "_opname", "")
        if node.op == "call_function" and name in _POOLINGS and len(node.args) == 2 and "stride" not in node.kwargs:
            node.args = (*node.args, node.args[1])
    return exported


def _require_exported_shapes(original: Path, inputs: Sequence[ResolvedInput]) -> None:
    for each in inputs:
        for shape in each.shapes:
            known = each.source.shape or ()
            if len(shape) != len(known) or any(not _is_within(a, b) for a, b in zip(shape, known, strict=True)):
                raise RequantError(
                    f"{original} was exported for an input {each.source.name!r} of the shape {_in_words(known)}, not "
                    f"{_in_words(shape)}. Export it again, with dynamic_shapes for sizes that are to vary."
                )


def _is_within(size: int | SizeRange, known: int | SizeRange | None) -> bool:
    low, high = (size.low, size.high) if isinstance(size, SizeRange) else (size, size)
    if known is None:
        return True
    if isinstance(known, SizeRange):
        return known.low <= low and high <= known.high
    return low == high == known


def _in_words(shape: Sequence[int | SizeRange | None]) -> str:
    sizes = [f"{s.low} to {s.high}" if isinstance(s, SizeRange) else "any" if s is None else str(s) for s in shape]
    return f"({', '.join(sizes)})"


def _open_torchscript(original: Path, settings: ConversionSettings) -> TorchSource:
    import torch

    try:
        module = torch.jit.load(str(original), map_location="cpu").eval()
    except Exception as error:
        raise RequantError(
            f"{original} can't be loaded as TorchScript; it may be damaged. PyTorch says: {_first(error)}"
        ) from error
    return TorchSource(original, module.float(), _torchscript_inputs(original, module, settings), settings)


def _torchscript_inputs(original: Path, module: Any, settings: ConversionSettings) -> list[SourceInput]:
    """Return the inputs of TorchScript, which knows their names, but not their shapes."""
    found = []
    for value in list(module.graph.inputs())[1:]:
        name, kind = re.sub(r"\.\d+$", "", value.debugName()), str(value.type())
        if kind == "Tensor":
            found.append(SourceInput(name))
        elif kind in ("int", "float", "bool"):
            found.append(SourceInput(name, {"int": "int64", "float": "float64"}.get(kind, kind)))
            if not any(entry.value is not None and name in (entry.name, entry.source) for entry in settings.inputs):
                raise RequantError(
                    f"{original} takes a number {name!r}, which Core ML can't hand on. Give its value: "
                    f"conversion: {{inputs: [{{name: {name}, value: ...}}]}}"
                )
        else:
            raise RequantError(f"{original} takes {name!r} of the type {kind}; only tensors can be inputs.")
    return _with_configured_types(found, settings)


def _with_configured_types(inputs: list[SourceInput], settings: ConversionSettings) -> list[SourceInput]:
    """Return inputs with the element types of the configuration, for sources that do not know theirs."""
    integers = {"int32": "int64", "int64": "int64"}
    types = {
        entry.source or entry.name: integers.get(entry.dtype, "float32") for entry in settings.inputs if entry.dtype
    }
    return [SourceInput(each.name, types.get(each.name, each.dtype), each.shape) for each in inputs]


def _open_state(original: Path, settings: ConversionSettings) -> TorchSource:
    state = _load_state(original, settings)
    if not settings.factory:
        raise RequantError(
            f"{original} holds a state dictionary: numbers without the network. Name a function of yours that returns "
            "the module which takes them: conversion: {factory: file.py:function}"
        )
    module = load_function(settings.factory, "factory")()
    if not hasattr(module, "load_state_dict"):
        raise RequantError(f"{settings.factory} has to return a PyTorch module, not {type(module).__name__}.")
    try:
        module.load_state_dict(state)
    except Exception as error:
        raise RequantError(
            f"the state dictionary {original} does not fit the module of {settings.factory}. {_misfit(module, state)}"
        ) from error
    names = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    inputs = _with_configured_types([SourceInput(name) for name in names], settings)
    return TorchSource(original, module.float().eval(), inputs, settings)


def _load_state(original: Path, settings: ConversionSettings) -> Mapping[str, Any]:
    import torch

    try:
        with _only_weights(settings):
            state = torch.load(original, map_location="cpu", weights_only=not settings.trust_pickle)
    except pickle.UnpicklingError as error:
        raise RequantError(
            f"{original} is a pickle of more than weights, or no model at all; loading it would run code. "
            "Save the model with torch.export.save as .pt2, or its state_dict(), and name a factory. "
            f"PyTorch says: {_first(error)}"
        ) from error
    except Exception as error:
        raise RequantError(f"{original} can't be loaded; it may be damaged. PyTorch says: {_first(error)}") from error
    for key in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        raise RequantError(
            f"{original} holds no state dictionary, but {type(state).__name__}. Save the model with torch.export.save "
            "as .pt2, or its state_dict()."
        )
    return state


def _misfit(module: Any, state: Mapping[str, Any]) -> str:
    wanted = module.state_dict()
    missing, unknown = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    shapes = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and wanted[name].shape != state[name].shape
    ]
    lists = {"it lacks": missing, "the module has no": unknown, "shapes differ:": shapes}
    return "; ".join(
        f"{what} {', '.join(names[:_SHOWN])}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        for what, names in lists.items()
        if names
    )


def _with_constants(module: Any, names: Sequence[str], constants: Mapping[str, NDArray[Any]]) -> Any:
    """Return a module that passes constants on where another takes inputs."""
    import torch

    class WithConstants(torch.nn.Module):  # type: ignore[misc]  # mypy does not look into torch
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *given: torch.Tensor) -> Any:
            rest = iter(given)
            return self.inner(*(constants[name].item() if name in constants else next(rest) for name in names))

    return WithConstants().eval()


def _tensors(outputs: Any) -> list[Any]:
    """Return the tensors in what a module returns, in order."""
    if isinstance(outputs, Mapping):
        outputs = outputs.values()
    elif hasattr(outputs, "detach"):
        return [outputs]
    elif not isinstance(outputs, Sequence):
        raise RequantError(f"the module returns {type(outputs).__name__}, which is no tensor.")
    return [tensor for output in outputs for tensor in _tensors(output)]


def _first(error: Exception) -> str:
    """Return the first lines of what torch says, which tends to go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:400] or type(error).__name__
