"""The teacher: a style transfer network published as ONNX, translated to torch.

The file is `winml/test/collateral/models/starry-night-fp16.onnx` of https://github.com/microsoft/onnxruntime
(commit 963d883de8dfdcf658a2c79a115f4542480f848f, MIT licence). It takes and gives BGR pictures from 0 to 255. It
uses operator set 7 with `Upsample` and implicit broadcasts that today's ONNX Runtime refuses, so that its
operations are read here one by one.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from network import StyleNetwork
from onnx import numpy_helper
from torch import Tensor

TEACHER_EPSILON = 1e-9


def load_teacher(path: Path) -> StyleNetwork:
    """Return the teacher as a frozen `StyleNetwork` that takes and gives RGB in [-1, 1].

    The change of colour order and scale is folded into the first convolution (an instance normalization follows
    it, so that only the order of its inputs matters) and into the last one. A convolution's bias before an instance
    normalization has no effect and is dropped.
    """
    graph = onnx.load(path).graph
    tensors = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()).float() for t in graph.initializer}
    convolutions = [tensors[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    biases = [tensors[node.input[1]] for node in graph.node if node.op_type == "Add" and node.input[1] in tensors]
    norms = [node for node in graph.node if node.op_type == "InstanceNormalization"]
    convolutions[0] = convolutions[0].flip(1) * 127.5
    convolutions[-1] = convolutions[-1].flip(0) / 127.5
    teacher = StyleNetwork(TEACHER_EPSILON)
    for layer, weight in zip(teacher.layers, convolutions, strict=True):
        layer.conv.weight.data = weight
    for layer, node in zip(teacher.layers[:-1], norms, strict=True):
        layer.norm.weight.data = tensors[node.input[1]]
        layer.norm.bias.data = tensors[node.input[2]]
    teacher.layers[-1].conv.bias.data = biases[-1].flip(0) / 127.5 - 1
    return teacher.eval().requires_grad_(False)


def to_network(pictures: Tensor) -> Tensor:
    """Return pictures of 0 to 255 scaled to [-1, 1]."""
    return pictures / 127.5 - 1


def to_picture(outputs: Tensor) -> Tensor:
    """Return network outputs as pictures of 0 to 255, saturated as an image output of Core ML is."""
    return ((outputs + 1) * 127.5).clamp(0, 255)
