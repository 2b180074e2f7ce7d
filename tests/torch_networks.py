"""Networks in PyTorch, small ones of each common architecture, with fixed random weights: twins of Core ML models.

They need the extra `torch`. Used by `tests/runtime/test_twins.py` and by `benchmarks/runtime.py`.
"""

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """A block of ResNet (He et al. 2015)."""

    def __init__(self, channels, out, stride=1):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        same = stride == 1 and channels == out
        self.short = nn.Identity() if same else nn.Sequential(nn.Conv2d(channels, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x):
        return functional.relu(self.second(self.first(x)) + self.short(x))


class ResNet(nn.Module):
    def __init__(self, widths=(32, 64, 128), classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 7, 2, 3), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        pairs = zip((widths[0], *widths), widths, strict=False)
        self.blocks = nn.Sequential(*(Residual(a, b, 1 if a == b else 2) for a, b in pairs))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x):
        return self.head(self.blocks(self.pool(self.stem(x))).mean((2, 3)))


class Inverted(nn.Module):
    """A block of MobileNet V2 and V3 (Sandler et al. 2018, Howard et al. 2019), with squeeze and excitation."""

    def __init__(self, channels, out, stride):
        super().__init__()
        wide = 4 * channels
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish())
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide), nn.BatchNorm2d(wide), nn.ReLU6()
        )
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, 8, 1), nn.ReLU(), nn.Conv2d(8, wide, 1))
        self.project = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.adds = stride == 1 and channels == out

    def forward(self, x):
        wide = self.depthwise(self.expand(x))
        out = self.project(wide * functional.hardsigmoid(self.squeeze(wide)))
        return x + out if self.adds else out


class MobileNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        blocks = [Inverted(16, 16, 1), Inverted(16, 24, 2), Inverted(24, 24, 1), Inverted(24, 40, 2)]
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU(), *blocks)
        self.head = nn.Sequential(nn.Linear(40, 64), nn.Hardswish(), nn.Linear(64, classes))

    def forward(self, x):
        return functional.softmax(self.head(self.features(x).mean((2, 3))), dim=1)


class Attention(nn.Module):
    """Multi-head attention written out, as vision transformers have it (Dosovitskiy et al. 2020)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v)
        return self.out(attended.transpose(1, 2).reshape(batch, length, width))


class Transformer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, size=64, patch=8, width=96, heads=4, depth=3, classes=10):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Transformer(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Tagger(nn.Module):
    """A bidirectional LSTM over words, of two layers."""

    def __init__(self, words=50, width=24, tags=7):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, 32, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(64, tags)

    def forward(self, x):
        return functional.log_softmax(self.head(self.lstm(self.embedding(x))[0]), dim=-1)


class UNet(nn.Module):
    """Two levels of a U-Net (Ronneberger et al. 2015)."""

    def __init__(self, width=12):
        super().__init__()
        self.down1, self.down2 = self.pair(3, width), self.pair(width, 2 * width)
        self.bottom = self.pair(2 * width, 4 * width)
        self.up2, self.merge2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), self.pair(4 * width, 2 * width)
        self.up1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.merge1, self.head = self.pair(3 * width, width), nn.Conv2d(width, 2, 1)

    @staticmethod
    def pair(channels, out):
        return nn.Sequential(
            nn.Conv2d(channels, out, 3, padding=1), nn.GroupNorm(4, out), nn.LeakyReLU(0.1),
            nn.Conv2d(out, out, 3, padding=1), nn.InstanceNorm2d(out, affine=True), nn.ELU(),
        )  # fmt: skip

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(functional.max_pool2d(first, 2))
        bottom = self.bottom(functional.avg_pool2d(second, 2))
        second = self.merge2(torch.cat([self.up2(bottom), second], 1))
        return torch.sigmoid(self.head(self.merge1(torch.cat([self.up1(second), first], 1))))


class Style(nn.Module):
    """A style transfer network (Johnson et al. 2016) with instance normalization."""

    def __init__(self, width=8):
        super().__init__()
        norm = lambda c: nn.InstanceNorm2d(c, affine=True)  # noqa: E731
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(4), nn.Conv2d(3, width, 9), norm(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), norm(2 * width), nn.ReLU(),
            Residual(2 * width, 2 * width), Residual(2 * width, 2 * width),
            nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(2 * width, width, 3, 1, 1), norm(width), nn.ReLU(),
            nn.ReflectionPad2d(4), nn.Conv2d(width, 3, 9), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x):
        return 127.5 * (self.layers(x / 127.5 - 1) + 1)


class CachedGPT(nn.Module):
    """A decoder of one token at a time, whose keys and values are kept in two buffers (the model's states)."""

    def __init__(self, words=40, width=32, heads=2, length=12):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.head = nn.Linear(width, words, bias=False)
        self.register_buffer("keys", torch.zeros(1, heads, length, self.size))
        self.register_buffer("values", torch.zeros(1, heads, length, self.size))

    def forward(self, token, place, mask):
        """Return logits (1, words).

        `token` (1, 1) int32, `place` (length,) float32 one-hot, `mask` (length,) float32: 0 where seen, else -1e4.
        """
        position = place @ self.places.weight
        x = self.words(token)[0] + position
        q, k, v = self.qkv(self.norm(x)).reshape(3, 1, self.heads, 1, self.size)
        here = place.reshape(1, 1, -1, 1)
        self.keys.mul_(1 - here)
        self.keys.add_(here * k)
        self.values.mul_(1 - here)
        self.values.add_(here * v)
        scores = q @ self.keys.transpose(-1, -2) / self.size**0.5 + mask
        attended = torch.softmax(scores, -1) @ self.values
        x = x + self.out(attended.reshape(1, -1))
        return self.head(x + self.mlp(self.norm2(x)))


def made(network, seed=0):
    """Return a network with fixed random weights and running statistics, ready to predict."""
    torch.manual_seed(seed)
    module = network() if isinstance(network, type) else network
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.2)
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.2)
    return module.eval()
