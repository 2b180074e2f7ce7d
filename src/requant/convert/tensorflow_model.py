"""Originals from TensorFlow: Keras files (`.keras`, `.h5`, `.hdf5`) and SavedModel folders (`.savedmodel`).

Whatever the file, the model becomes one function with fixed inputs, its variables become constants, and the graph of
that goes through coremltools' converter. coremltools can't take a Keras 3 model itself, and asks for TensorFlow 2.12 at
most; this way it meets nothing but graphs, which have hardly changed since.
"""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from requant.convert.settings import ConversionSettings, SizeRange
from requant.convert.source import ResolvedInput, SourceInput, constant_inputs, resolve_inputs
from requant.convert.tensorflow_graph import prepare, sort
from requant.coreml.kind import Kind
from requant.errors import RequantError
from requant.frameworks import require

if TYPE_CHECKING:  # coremltools, which that imports, imports TensorFlow, which is to be told to be quiet before
    from requant.coreml.model import Model

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNKNOWN_OPERATION = re.compile(r"Conversion for TF op '(\w+)' not implemented.*?name: \"([^\"]+)\"", re.DOTALL)
_SIGNATURE = "serving_default"  # what TensorFlow calls the signature that is meant to be used


@dataclass(frozen=True)
class _Source:
    """A model as one function from a list of tensors to a list of tensors.

    Attributes:
        framework: its name and version.
        inputs: in order, without those that are constants.
        all_inputs: in order.
        constants: by the name of the input.
        outputs: the names of the outputs, in order.
        call: the function, on all inputs.
        keep: what has to live as long as the function.
    """

    framework: str
    inputs: list[SourceInput]
    all_inputs: list[SourceInput]
    constants: dict[str, NDArray[Any]]
    outputs: list[str]
    call: Callable[[list[Any]], list[Any]]
    keep: Any = field(repr=False, default=None)

    def traced(self, tensors: list[Any]) -> list[Any]:
        """Return the outputs as `call` does, in operations that coremltools knows better than those of Keras."""
        layers = self.keep._flatten_layers() if hasattr(self.keep, "_flatten_layers") else []
        with contextlib.ExitStack() as stack:
            for layer in layers:
                stack.enter_context(_as_one_operation(layer))
            return self.call(tensors)

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the model's outputs for inputs in the order of `self.inputs`."""
        import tensorflow as tf

        given = iter(inputs)
        arrays = [self.constants[e.name] if e.name in self.constants else next(given) for e in self.all_inputs]
        tensors = [tf.constant(a, e.dtype) for a, e in zip(arrays, self.all_inputs, strict=True)]
        try:
            return [np.asarray(output) for output in self.call(tensors)]
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            shapes = ", ".join(f"{e.name} {tuple(a.shape)}" for a, e in zip(arrays, self.all_inputs, strict=True))
            raise RequantError(f"the model does not take these inputs ({shapes}): {_first_line(error)}") from error


def open_source(original: Path, settings: ConversionSettings) -> _Source:
    """Return a TensorFlow original, ready to be run.

    Raises:
        RequantError: if TensorFlow is missing, or the file can't be read or would run code when it is read.
    """
    tf = _tensorflow(original)
    if original.is_dir():
        call, inputs, outputs, keep = _open_saved_model(original)
    else:
        call, inputs, outputs, keep = _open_keras(original)
    constants = constant_inputs(inputs, settings)
    rest = [each for each in inputs if each.name not in constants]
    return _Source(f"TensorFlow {tf.__version__}", rest, inputs, constants, outputs, call, keep)


def convert(original: Path, settings: ConversionSettings) -> Model:
    """Return the float model of a TensorFlow original.

    Raises:
        RequantError: if it can't be read or converted, naming the operation concerned.
    """
    source = open_source(original, settings)
    resolved = resolve_inputs(source.all_inputs, settings)
    names = [output.name for output in settings.outputs] or _distinct(source.outputs, [e.name for e in resolved])
    _require_numbers(original, resolved)
    _require_names([*(each.name for each in resolved), *names])
    _require_count(original, names, source)
    with _on_cpu():
        program = _program(original, source, resolved, names, settings)
        return _converted(program, original, resolved, settings, names)


def _converted(
    program: Any, original: Path, inputs: list[ResolvedInput], settings: ConversionSettings, names: list[str]
) -> Model:
    from requant.convert.through_coremltools import convert_program

    if settings.convert_to is Kind.NEURAL_NETWORK and _has_loop(program):
        raise RequantError(
            f"{original} has recurrent layers that can't become a NeuralNetwork; of these, just an LSTM without a mask "
            "can. Leave convert_to out, for an ML Program."
        )
    _teach_coremltools()
    try:
        return convert_program(program, original, "tensorflow", inputs, settings, output_names=names)
    except RequantError as error:
        found = _UNKNOWN_OPERATION.search(str(error))
        if not found and _has_loop(program) and any(None in _open_shape(each) for each in inputs):
            raise RequantError(
                f"{original} can't be converted to Core ML with a size left open: coremltools does not take the loop "
                "of a recurrent layer then. An LSTM without a mask can have one; for other layers, give the input one "
                "fixed shape."
            ) from error
        if not found:
            raise
        operation, name = found.groups()
        raise RequantError(
            f"{original} can't be converted to Core ML: coremltools has no translation of TensorFlow's operation "
            f"{operation}, which {name!r} is. Build that part of the model from other layers."
        ) from error


def _has_loop(graph: Any) -> bool:
    return any(node.op in ("While", "StatelessWhile") for node in graph.node)


# TensorFlow itself


def _tensorflow(original: Path) -> Any:
    """Return the module `tensorflow`, imported without its messages and on the CPU alone."""
    require("tensorflow", original)
    import tensorflow as tf

    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with contextlib.suppress(RuntimeError):  # it has begun to work with what it found
        tf.config.set_visible_devices([], "GPU")
    return tf


def _on_cpu() -> Any:
    import tensorflow as tf

    return tf.device("/CPU:0")


# Opening


_Opened = tuple[Callable[[list[Any]], list[Any]], list[SourceInput], list[str], Any]


def _open_keras(original: Path) -> _Opened:
    model = _load_keras(original)
    import keras

    try:
        inputs, outputs = list(model.inputs or []), list(model.outputs or [])
    except (AttributeError, ValueError):
        inputs, outputs = [], []
    if not inputs or not outputs:
        raise RequantError(
            f"{original} has no declared inputs: it is a {type(model).__name__} that was never given a shape. Build it "
            "from keras.Input, or save it as a SavedModel (model.export('NAME.savedmodel'))."
        )
    if any(getattr(layer, "stateful", False) for layer in model._flatten_layers()):
        raise RequantError(
            f"{original} keeps a state from one call to the next (stateful=True), which is not converted. Save it with "
            "stateful=False; what it would keep can be an input and an output."
        )
    names = _identifiers([tensor._keras_history.operation.name for tensor in inputs])
    described = [
        SourceInput(name, str(tensor.dtype), tuple(tensor.shape)) for name, tensor in zip(names, inputs, strict=True)
    ]

    def call(tensors: list[Any]) -> list[Any]:
        given = tensors[0] if isinstance(model, keras.Sequential) else keras.tree.pack_sequence_as(model.input, tensors)
        return list(keras.tree.flatten(model(given, training=False)))

    return call, described, _identifiers([tensor._keras_history.operation.name for tensor in outputs]), model


def _load_keras(original: Path) -> Any:
    """Return the model in a Keras file; code in it, as a Lambda layer has it, is not loaded."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise RequantError(
            f"{original} is converted with Keras on TensorFlow, but Keras is set to {keras.backend.backend()} here. "
            "Set the environment variable KERAS_BACKEND to tensorflow."
        )
    try:
        return keras.saving.load_model(original, compile=False, safe_mode=True)
    except Exception as error:  # Keras has no common class for what is wrong with a file
        raise RequantError(_refusal_of_keras(original, error)) from error


def _refusal_of_keras(original: Path, error: Exception) -> str:
    said = str(error)
    if "lambda" in said.lower() or "safe_mode" in said or "TFSMLayer" in said:
        return (
            f"{original} holds code (a Lambda layer, or another that runs what the file says), which is not run. "
            "Replace it by Keras' own layers or operations (keras.ops), or save the model as a SavedModel from where "
            "it was made: model.export('NAME.savedmodel')."
        )
    unknown = re.search(r"(?:Could not locate class|Unknown layer:) '?(\w+)", said)
    if unknown:
        return (
            f"{original} uses a class of its own that Keras does not know: {unknown[1]}. Save it as a "
            "SavedModel from where it was made, which needs no classes: model.export('NAME.savedmodel')."
        )
    return f"{original} is not a model that Keras can read, or it is damaged: {_first_line(error)}"


def _open_saved_model(original: Path) -> _Opened:
    import tensorflow as tf

    if not (original / "saved_model.pb").is_file():
        raise RequantError(f"{original} is not a SavedModel: there is no saved_model.pb in it.")
    try:
        with _without_optimizer(original) as folder:
            loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises what its parts raise
        raise RequantError(
            f"{original} is not a SavedModel that TensorFlow can read, or it is damaged: {_first_line(error)}"
        ) from error
    function = _signature(original, loaded.signatures)
    specs = function.structured_input_signature[1]
    keys, results = list(specs), sorted(function.structured_outputs)
    described = [
        SourceInput(name, specs[key].dtype.name, _shape_of(specs[key]))
        for name, key in zip(_identifiers(keys), keys, strict=True)
    ]

    def call(tensors: list[Any]) -> list[Any]:
        found = function(**dict(zip(keys, tensors, strict=True)))
        return [found[key] for key in results]

    return call, described, _identifiers(results), loaded


@contextlib.contextmanager
def _without_optimizer(original: Path) -> Iterator[Path]:
    """Give a SavedModel without what an optimizer noted of each variable, which nothing but training needs.

    TensorFlow can't read that back where it was noted by Keras 2.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((original / "saved_model.pb").read_bytes())
    noted = [node for graph in saved.meta_graphs for node in graph.object_graph_def.nodes if node.slot_variables]
    if not noted:
        yield original
        return
    for node in noted:
        del node.slot_variables[:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in original.resolve().iterdir():
            if path.name not in ("saved_model.pb", "fingerprint.pb"):
                (folder / path.name).symlink_to(path)
        (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
        yield folder


def _signature(original: Path, signatures: Mapping[str, Any]) -> Any:
    if _SIGNATURE in signatures:
        return signatures[_SIGNATURE]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    found = f"it has {', '.join(sorted(signatures))}" if signatures else "it has none"
    raise RequantError(
        f"{original} does not say which of its functions is the model: {found}. Save it with one signature: "
        f"tf.saved_model.save(module, 'NAME.savedmodel', signatures={{'{_SIGNATURE}': function}})."
    )


def _shape_of(spec: Any) -> tuple[int | None, ...] | None:
    return None if spec.shape.rank is None else tuple(spec.shape.as_list())


@contextlib.contextmanager
def _as_one_operation(layer: Any) -> Iterator[None]:
    """Have an LSTM layer of the usual kind be one operation, which Core ML has too, where Keras traces a loop."""
    import keras

    if not isinstance(layer, keras.layers.LSTM) or not _is_usual(layer):
        yield
        return
    loop = layer.inner_loop

    def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if mask is not None:
            return loop(sequences, initial_state, mask, training)
        return _block_lstm(layer, sequences, initial_state)

    layer.inner_loop = inner_loop
    try:
        yield
    finally:
        del layer.inner_loop


def _is_usual(layer: Any) -> bool:
    import keras

    activations = (layer.activation, layer.recurrent_activation)
    return activations == (keras.activations.tanh, keras.activations.sigmoid) and not layer.stateful


def _block_lstm(layer: Any, sequences: Any, state: Any) -> Any:
    """Return the last output, all outputs and the states, as Keras' LSTM layer does."""
    import tensorflow as tf

    x = tf.transpose(sequences, [1, 0, 2])
    x = tf.reverse(x, [0]) if layer.go_backwards else x
    kernel = tf.concat([layer.cell.kernel, layer.cell.recurrent_kernel], 0)
    bias = tf.zeros([4 * layer.units]) if layer.cell.bias is None else layer.cell.bias
    none = tf.zeros([layer.units])
    found = tf.raw_ops.BlockLSTMV2(
        seq_len_max=tf.shape(x, tf.int64)[0], x=x, cs_prev=state[1], h_prev=state[0], w=kernel, wci=none, wcf=none,
        wco=none, b=bias, cell_clip=0.0, use_peephole=False,
    )  # fmt: skip
    last = found.h[-1]
    outputs = tf.transpose(found.h, [1, 0, 2]) if layer.return_sequences else last[:, None]
    return last, outputs, [last, found.cs[-1]]


# Names


def _identifiers(names: Sequence[str]) -> list[str]:
    """Return names that Core ML takes, for what TensorFlow calls its tensors, all different."""
    return _distinct([re.sub(r"^(?=\d)", "_", re.sub(r"\W", "_", name, flags=re.ASCII)) for name in names])


def _distinct(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Return names with a number after those that are there already."""
    found: list[str] = []
    for name in names:
        others = [*taken, *found]
        number = next(i for i in range(len(others) + 1) if (f"{name}_{i}" if i else name) not in others)
        found.append(f"{name}_{number}" if number else name)
    return found


def _require_numbers(original: Path, inputs: Sequence[ResolvedInput]) -> None:
    for each in inputs:
        if each.source.dtype == "string":
            raise RequantError(
                f"{original} takes text ({each.source.name}), where a network in Core ML takes numbers. Save the model "
                "without the layer that makes numbers of text, and do that in the app."
            )


def _require_names(names: Sequence[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise RequantError(
                f"conversion: {name!r} can't be the name of an input or output. Use letters, digits and underscores, "
                "and no digit first."
            )


def _require_count(original: Path, names: Sequence[str], source: _Source) -> None:
    if len(names) != len(source.outputs):
        raise RequantError(
            f"conversion.outputs names {len(names)} outputs, but {original} has {len(source.outputs)}: "
            f"{', '.join(source.outputs)}."
        )


def _first_line(error: Exception) -> str:
    """Return the one line of a framework's message that says what is wrong."""
    plain = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip() and not line.startswith("Exception encount")]
    return lines[0] if lines else type(error).__name__


# The graph that coremltools is given


def _program(
    original: Path, source: _Source, inputs: list[ResolvedInput], names: list[str], settings: ConversionSettings
) -> Any:
    """Return the model's graph (`GraphDef`) with the inputs and outputs of the float model, under their names."""
    import tensorflow as tf

    specs = [tf.TensorSpec(_open_shape(each), each.source.dtype, name=each.name) for each in inputs]
    pictures = [bool(output.color_layout) for output in settings.outputs] or [False] * len(names)
    try:
        graph, feeds, fetches = _frozen(source, inputs, specs, pictures)
    except Exception as error:  # a layer may raise anything while it is traced
        raise RequantError(
            f"{original} does not take inputs of the shapes {', '.join(str(tuple(s.shape)) for s in specs)}: "
            f"{_first_line(error)}"
        ) from error
    prepare(graph, feeds, dict(zip(fetches, names, strict=True)))
    try:
        return _optimized(graph, feeds, names)
    except (KeyError, ValueError, tf.errors.OpError) as error:
        raise RequantError(
            f"{original} can't be made a graph of operations on numbers, as tables of text can't: {_first_line(error)}"
        ) from error


def _optimized(graph: Any, feeds: list[str], fetches: list[str]) -> Any:
    """Return a graph with all constants computed and just what the outputs need, as coremltools has other sources.

    Its nodes are put in order, since TensorFlow has them in another one each time.
    """
    import tensorflow as tf
    from tensorflow.lite.python.util import get_grappler_config, run_graph_optimizations

    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    frozen = _constant(wrapped.prune([f"{name}:0" for name in feeds], [f"{name}:0" for name in fetches]))
    optimized = run_graph_optimizations(
        frozen.graph.as_graph_def(add_shapes=True), frozen.inputs, frozen.outputs,
        get_grappler_config(["constfold", "dependency", "debug_stripper"]), graph=frozen.graph,
    )  # fmt: skip
    sort(optimized)
    return optimized


def _constant(function: Any) -> Any:
    """Return a function with its variables as constants, and what it calls in place of the calls."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)


def _open_shape(each: ResolvedInput) -> list[int | None]:
    """Return a shape that is open where the float model's is a range or one of several."""
    axes = zip(*each.shapes, strict=True)
    return [sizes[0] if len(set(sizes)) == 1 and not isinstance(sizes[0], SizeRange) else None for sizes in axes]


def _frozen(
    source: _Source, inputs: list[ResolvedInput], specs: list[Any], pictures: Sequence[bool]
) -> tuple[Any, list[str], list[str]]:
    """Return the model's graph without variables, and the names of its inputs and outputs in it."""
    import tensorflow as tf

    names = [each.source.name for each in inputs]

    def main(*tensors: Any) -> list[Any]:
        given = dict(zip(names, tensors, strict=True))
        given |= {name: tf.constant(value) for name, value in source.constants.items()}
        outputs = source.traced([given[each.name] for each in source.all_inputs])
        return [_channels_first(o) if p else tf.identity(o) for o, p in zip(outputs, pictures, strict=True)]

    concrete = tf.function(main, input_signature=specs, autograph=False).get_concrete_function()
    frozen = _constant(concrete)
    feeds = [tensor.op.name for tensor in frozen.inputs]
    return frozen.graph.as_graph_def(add_shapes=True), feeds, [tensor.op.name for tensor in frozen.outputs]


def _channels_first(output: Any) -> Any:
    """Return an output that is to be a picture in the order of axes that coremltools asks for."""
    import tensorflow as tf

    return tf.transpose(output, [0, 3, 1, 2]) if output.shape.rank == 4 else tf.identity(output)


# Operations that coremltools has no translation of


def _teach_coremltools() -> None:
    """Add translations through coremltools' interface for that; those that are there stay as they are."""
    from coremltools.converters.mil import Builder as mb  # noqa: N813  coremltools' own name
    from coremltools.converters.mil import register_tf_op

    def Erfc(context: Any, node: Any) -> None:  # noqa: N802  the operation's name
        x = mb.erf(x=context[node.inputs[0]])
        context.add(node.name, mb.sub(x=np.float32(1), y=x, name=node.name))

    def Expm1(context: Any, node: Any) -> None:  # noqa: N802
        x = mb.exp(x=context[node.inputs[0]])
        context.add(node.name, mb.sub(x=x, y=np.float32(1), name=node.name))

    for translation in (Erfc, Expm1):
        register_tf_op(translation, strict=False)
