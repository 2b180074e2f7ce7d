"""The style transfer network of Johnson, Alahi and Fei-Fei (2016), in torch.

Architecture: https://cs.stanford.edu/people/jcjohns/papers/fast-style/fast-style-supp.pdf, with the
instance normalization of Ulyanov et al. (2016, arXiv:1607.08022), reflection padding, and nearest-neighbour
upsampling before a convolution (Odena et al. 2016) instead of transposed convolutions. Convolutions that an
instance normalization follows have no bias: the normalization would remove it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-5


@dataclass(frozen=True)
class Stage:
    """One convolution with what surrounds it.

    `upsample` comes before the reflection padding; the normalization, the residual sum and the ReLU after it.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    upsample: bool = False
    normalize: bool = True
    relu: bool = True
    residual: bool = False


def _residual_block(number: int) -> list[Stage]:
    return [
        Stage(f"residual{number}_conv1", 128, 128, 3),
        Stage(f"residual{number}_conv2", 128, 128, 3, relu=False, residual=True),
    ]


STAGES: tuple[Stage, ...] = (
    Stage("down1", 3, 32, 9),
    Stage("down2", 32, 64, 3, stride=2),
    Stage("down3", 64, 128, 3, stride=2),
    *(stage for number in range(1, 6) for stage in _residual_block(number)),
    Stage("up1", 128, 64, 3, upsample=True),
    Stage("up2", 64, 32, 3, upsample=True),
    Stage("picture", 32, 3, 9, normalize=False, relu=False),
)


class StageLayer(nn.Module):
    """Upsample, pad, convolve and normalize; what follows (sum, ReLU) is the network's."""

    def __init__(self, stage: Stage, epsilon: float = EPSILON) -> None:
        super().__init__()
        self.stage = stage
        self.conv = nn.Conv2d(stage.inputs, stage.outputs, stage.kernel, stage.stride, bias=not stage.normalize)
        self.norm = nn.InstanceNorm2d(stage.outputs, eps=epsilon, affine=True) if stage.normalize else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized output, (N, outputs, H', W'), of an input (N, inputs, H, W)."""
        if self.stage.upsample:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
        margin = self.stage.kernel // 2
        x = functional.pad(x, (margin,) * 4, mode="reflect")
        normalized: Tensor = self.norm(self.conv(x))
        return normalized


class StyleNetwork(nn.Module):
    """RGB pictures scaled to [-1, 1] in, RGB pictures of about [-1, 1] out; height and width divisible by 4."""

    def __init__(self, epsilon: float = EPSILON) -> None:
        super().__init__()
        self.layers = nn.ModuleList(StageLayer(stage, epsilon) for stage in STAGES)

    def forward(self, picture: Tensor) -> Tensor:
        """Return the stylized picture, (N, 3, H, W)."""
        return self.trace(picture)[-1][1]

    def trace(self, picture: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return for every stage its input and its output before the residual sum and the ReLU."""
        steps: list[tuple[Tensor, Tensor]] = []
        x = block_input = picture
        for layer in self.layers:
            stage = layer.stage
            if stage.name.endswith("_conv1"):
                block_input = x
            y = layer(x)
            steps.append((x, y))
            x = y + block_input if stage.residual else y
            x = functional.relu(x) if stage.relu else x
        return steps
