"""Write the trained style network as a Core ML NeuralNetwork with pictures in and out.

    python export.py --weights starry_night.npz --model starry_night.mlmodel

The colour layout (RGB) and the scaling from 0..255 to -1..1 and back are in the model, so that an app hands it a pixel
buffer and gets one. It needs iOS 11: no layer is newer than the first version of the format.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from network import EPSILON, STAGES, Stage

from requant.coreml.model import Model, to_bytes
from requant.records import write_whole

SIDE = 256
HALF_RANGE = 127.5


def level_channels(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters with all output channels of a normalized convolution on one level.

    The normalization behind a convolution makes the scale of each of its channels arbitrary: training leaves them far
    apart, and a lookup table, of which a tensor has one, would serve the loudest only. (Nagel et al. 2019,
    arXiv:1906.04721, equalize for the same reason.) The level is a mean of the sixth power, between the RMS, which
    counts for the error, and the greatest weight, which counts for the range; it is that of the loudest channel.
    """
    levelled = dict(weights)
    for index, stage in enumerate(STAGES):
        if stage.normalize:
            kernel = weights[f"layers.{index}.conv.weight"].astype(np.float64)
            level = np.power(np.mean(np.abs(kernel) ** 6, axis=(1, 2, 3), keepdims=True), 1 / 6)
            levelled[f"layers.{index}.conv.weight"] = (kernel * level.max() / level).astype(np.float32)
    return levelled


def build(weights: dict[str, np.ndarray]) -> NeuralNetworkBuilder:
    """Return the network with the parameters of `train.py`, float32."""
    picture = (3, SIDE, SIDE)
    builder = NeuralNetworkBuilder([("image", datatypes.Array(*picture))], [("stylized", datatypes.Array(*picture))])
    x = block_input = "image"
    for index, stage in enumerate(STAGES):
        if stage.name.endswith("_conv1"):
            block_input = x
        x = add_stage(builder, stage, weights, f"layers.{index}.", x)
        if stage.residual:
            builder.add_elementwise(f"{stage.name}_sum", [x, block_input], f"{stage.name}_sum", "ADD")
            x = f"{stage.name}_sum"
        if stage.relu:
            builder.add_activation(f"{stage.name}_relu", "RELU", x, f"{stage.name}_relu")
            x = f"{stage.name}_relu"
    builder.add_activation("to_pixels", "LINEAR", x, "stylized", params=[HALF_RANGE, HALF_RANGE])
    return builder


def add_stage(builder: NeuralNetworkBuilder, stage: Stage, weights: dict[str, np.ndarray], prefix: str, x: str) -> str:
    """Add upsampling, padding, convolution and normalization, and return the name of the result."""
    name, margin = stage.name, stage.kernel // 2
    if stage.upsample:
        builder.add_upsample(f"{name}_upsample", 2, 2, x, f"{name}_upsample", mode="NN")
        x = f"{name}_upsample"
    builder.add_padding(f"{name}_pad", margin, margin, margin, margin, input_name=x, output_name=f"{name}_pad",
                        padding_type="reflection")  # fmt: skip
    kernel = weights[f"{prefix}conv.weight"]
    builder.add_convolution(
        name, stage.inputs, stage.outputs, stage.kernel, stage.kernel, stage.stride, stage.stride, "valid", 1,
        W=kernel.transpose(2, 3, 1, 0), b=weights.get(f"{prefix}conv.bias"), has_bias=not stage.normalize,
        input_name=f"{name}_pad", output_name=name,
    )  # fmt: skip
    if not stage.normalize:
        return name
    builder.add_batchnorm(
        f"{name}_norm", stage.outputs, gamma=weights[f"{prefix}norm.weight"], beta=weights[f"{prefix}norm.bias"],
        compute_mean_var=True, instance_normalization=True, input_name=name, output_name=f"{name}_norm",
        epsilon=EPSILON,
    )  # fmt: skip
    return f"{name}_norm"


def describe(builder: NeuralNetworkBuilder) -> None:
    """Make input and output pictures, and say whose the model is."""
    scale = 1 / HALF_RANGE
    builder.set_pre_processing_parameters(
        image_input_names=["image"], is_bgr=False, red_bias=-1, green_bias=-1, blue_bias=-1, image_scale=scale
    )
    description = builder.spec.description
    for feature in (*description.input, *description.output):
        feature.type.imageType.width = feature.type.imageType.height = SIDE
        feature.type.imageType.colorSpace = feature.type.imageType.ColorSpace.Value("RGB")
    description.input[0].shortDescription = "A photograph."
    description.output[0].shortDescription = "The photograph in the style of The Starry Night."
    metadata = description.metadata
    metadata.shortDescription = "Fast style transfer: paints a photograph in the style of The Starry Night."
    metadata.author = "The requant authors"
    metadata.license = "Apache-2.0"
    metadata.versionString = "1.0"


def main() -> None:
    """Parse the command line and write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="the .npz that train.py wrote")
    parser.add_argument("--model", type=Path, required=True, help="where to write the .mlmodel")
    options = parser.parse_args()
    builder = build(level_channels(dict(np.load(options.weights))))
    describe(builder)
    builder.spec.specificationVersion = 1
    write_whole(options.model, to_bytes(Model(builder.spec), options.model.stem))


if __name__ == "__main__":
    main()
