"""Converting an ONNX model in a test, and running both sides of it."""

import dataclasses

import numpy as np
import onnx

from requant.convert.onnx import convert, open_source
from requant.convert.onnx.preparing import prepare
from requant.convert.settings import ConversionSettings, InputSettings
from requant.runtime import open_model

FLOAT32 = {"compute_precision": "float32"}


def settings_of(table=None, **constants):
    """Return the settings of a table as the configuration has it, with more inputs that are constants."""
    settings = ConversionSettings.of(FLOAT32 if table is None else table)
    added = tuple(InputSettings(name, value=value) for name, value in constants.items())
    return dataclasses.replace(settings, inputs=(*settings.inputs, *added))


def saved(model, folder, name="network"):
    path = folder / f"{name}.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def network(nodes, inputs, outputs=("y",), constants=None, opset=17, **options):
    """Return an ONNX model; `inputs` has shapes by names, or (type, shape)."""
    values = []
    for name, entry in inputs.items():
        dtype, shape = entry if entry and isinstance(entry[0], str) else ("FLOAT", entry)
        values.append(onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, dtype), shape))
    made = [onnx.helper.make_empty_tensor_value_info(name) for name in outputs]
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = onnx.helper.make_graph(nodes, "network", values, made, tensors)
    opsets = options.pop("opset_imports", [onnx.helper.make_opsetid("", opset)])
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=options.pop("ir_version", 8))


def node(kind, inputs, outputs=("y",), **attributes):
    return onnx.helper.make_node(kind, list(inputs), list(outputs), **attributes)


def ran(path, settings, arrays):
    """Return what the float model gives for arrays in the source's order."""
    runner = open_model(convert(path, settings))
    found = runner.predict({feature.name: array for feature, array in zip(runner.inputs, arrays, strict=True)})
    return [np.asarray(found[feature.name]) for feature in runner.outputs]


def both(path, settings, arrays):
    """Return what the source and its float model give."""
    return open_source(path, settings).run(arrays), ran(path, settings, arrays)


def random_inputs(path, settings, seed=0, shapes=None):
    resolved = prepare(path, settings).resolved
    rng = np.random.default_rng(seed)
    shapes = shapes or [each.default_shape for each in resolved]
    return [rng.normal(size=shape).astype(each.source.dtype) for each, shape in zip(resolved, shapes, strict=True)]


def snr(reference, found):
    reference, found = np.asarray(reference, np.float64), np.asarray(found, np.float64)
    noise = np.square(reference - found.reshape(reference.shape)).sum()
    return np.inf if noise == 0 else 10 * np.log10(np.square(reference).sum() / noise)
