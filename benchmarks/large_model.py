"""An ML Program of any size, made of random float16 weights: an embedding and many linear layers of different sizes.

    python -m benchmarks.large_model 1000 large.mlpackage

makes one of 1,000 MB. It is written layer by layer, so that making it takes no more memory than its largest layer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.blob import Blob, WeightFileWriter
from requant.coreml.mapped import content_of
from requant.coreml.messages import MIL_pb2, Model_pb2
from requant.coreml.model import WEIGHT_FILE, Model, unpack_package
from requant.coreml.program import MODEL_PATH

IOS18 = 9
WIDTHS = (768, 3072, 1024, 2304, 512, 4096, 1536)  # of the layers, over and over
EMBEDDING_SHARE = 0.12  # of all weights
TYPES = {"FLOAT16": MIL_pb2.FLOAT16, "INT32": MIL_pb2.INT32, "STRING": MIL_pb2.STRING, "BOOL": MIL_pb2.BOOL}


def shapes(megabytes: float) -> Iterator[tuple[int, int]]:
    """Yield the shapes of the weights: the embedding's, then (outputs, inputs) of each layer."""
    left = round(megabytes * 1e6 / 2)
    rows = max(1, round(left * EMBEDDING_SHARE / WIDTHS[0]))
    yield rows, WIDTHS[0]
    left -= rows * WIDTHS[0]
    inputs, number = WIDTHS[0], 1
    while left >= inputs:
        outputs = min(WIDTHS[number % len(WIDTHS)], left // inputs)
        yield outputs, inputs
        left -= outputs * inputs
        inputs, number = outputs, number + 1


def weights(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.float16]:
    """Return the weights of a layer: normally distributed, each layer with a spread of its own."""
    numbers = random.standard_normal(shape, np.float32)
    numbers *= np.float32(random.uniform(0.5, 2) / shape[1] ** 0.5)
    return numbers.astype(np.float16)


def large_program(megabytes: float, folder: Path | None = None) -> Model:
    """Return an ML Program for iOS 18 whose float16 weights take so many MB.

    Args:
        megabytes: at least 0.01.
        folder: on whose disk the weights are kept, in a file without a name.
    """
    random = np.random.default_rng(8)
    spec = Model_pb2.Model(specificationVersion=IOS18)
    _feature(spec.description.input, "token", (1,), "INT32")
    function = spec.mlProgram.functions["main"]
    spec.mlProgram.version = 1
    function.opset = "CoreML8"
    _declare(function.inputs, "token", (1,), "INT32")
    block = function.block_specializations["CoreML8"]
    with tempfile.TemporaryFile(dir=folder) as stream:
        writer = WeightFileWriter(stream)
        last = ""
        for number, shape in enumerate(shapes(megabytes)):
            name = f"layer{number}_weight" if number else "embedding_weight"
            value = _operation(block, "const", name, shape).attributes["val"]
            _typed(value.type, shape, "FLOAT16")
            value.blobFileValue.fileName = MODEL_PATH + WEIGHT_FILE
            value.blobFileValue.offset = writer.add(Blob("FLOAT16", weights(shape, random).tobytes()))
            if number:
                layer = _operation(block, "linear", f"layer{number}", (1, shape[0]))
                _read(layer, x=last, weight=name)
                last = f"layer{number}"
            else:
                _small(block, "axis", 0)
                _small(block, "batch_dims", 0)
                _small(block, "validate", flag=False)
                layer = _operation(block, "gather", "embedding", (1, shape[1]))
                _read(layer, x=name, indices="token", axis="axis", batch_dims="batch_dims", validate_indices="validate")
                last = "embedding"
        writer.close()
        content = content_of(stream)
    block.outputs.append(last)
    _feature(spec.description.output, last, (), "FLOAT16")
    return Model(spec, {WEIGHT_FILE: content}, Path("large"))


def _feature(features: Any, name: str, shape: tuple[int, ...], dtype: str) -> None:
    feature = features.add()
    feature.name = name
    array = feature.type.multiArrayType
    array.shape.extend(shape)
    array.dataType = array.INT32 if dtype == "INT32" else array.FLOAT16


def _typed(value_type: Any, shape: tuple[int, ...], dtype: str) -> None:
    tensor = value_type.tensorType
    tensor.dataType = TYPES[dtype]
    tensor.rank = len(shape)
    for size in shape:
        tensor.dimensions.add().constant.size = size


def _declare(outputs: Any, name: str, shape: tuple[int, ...], dtype: str) -> None:
    output = outputs.add()
    output.name = name
    _typed(output.type, shape, dtype)


def _operation(block: Any, kind: str, name: str, shape: tuple[int, ...], dtype: str = "FLOAT16") -> Any:
    operation = block.operations.add()
    operation.type = kind
    _declare(operation.outputs, name, shape, dtype)
    label = operation.attributes["name"]
    _typed(label.type, (), "STRING")
    label.immediateValue.tensor.strings.values.append(name)
    return operation


def _small(block: Any, name: str, number: int = 0, *, flag: bool | None = None) -> None:
    """Add a single number or flag as a constant."""
    dtype = "INT32" if flag is None else "BOOL"
    value = _operation(block, "const", name, (), dtype).attributes["val"]
    _typed(value.type, (), dtype)
    if flag is None:
        value.immediateValue.tensor.ints.values.append(number)
    else:
        value.immediateValue.tensor.bools.values.append(flag)


def _read(operation: Any, **names: str) -> None:
    for parameter, name in names.items():
        operation.inputs[parameter].arguments.add().name = name


def main() -> None:
    """Write a package."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("megabytes", type=float)
    parser.add_argument("package", type=Path, help="an .mlpackage folder")
    options = parser.parse_args()
    options.package.parent.mkdir(parents=True, exist_ok=True)
    model = large_program(options.megabytes, options.package.parent)
    unpack_package(model, options.package)
    print(json.dumps({"layers": len(list(shapes(options.megabytes))), "bytes": len(model.weight_file)}))


if __name__ == "__main__":
    main()
