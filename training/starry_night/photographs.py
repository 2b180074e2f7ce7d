"""The photographs: those that scikit-image and scikit-learn ship, so that nothing has to be downloaded.

Three are held out of training; they are the evaluation pictures in `config/pictures/starry_night`, where their
licences are named.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

HELD_OUT = ("astronaut.png", "chelsea.png", "coffee.png")
TRAINING = (
    "rocket.jpg", "motorcycle_left.png", "motorcycle_right.png", "hubble_deep_field.jpg", "retina.jpg", "ihc.png",
    "color.png", "brick.png", "camera.png", "grass.png", "gravel.png", "moon.png", "coins.png",
    "china.jpg", "flower.jpg",
)  # fmt: skip


def load_photograph(name: str) -> Image.Image:
    """Return one of the photographs as an RGB picture."""
    folder = "sklearn.datasets" if name in ("china.jpg", "flower.jpg") else "skimage"
    subfolder = "images" if folder.startswith("sklearn") else "data"
    with (files(folder) / subfolder / name).open("rb") as stream:
        return Image.open(stream).convert("RGB")


def centre_square(picture: Image.Image, side: int) -> Image.Image:
    """Return the largest centred square of a picture, resampled to `side` pixels."""
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    return picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)


def as_tensor(picture: Image.Image) -> Tensor:
    """Return a picture as float32 (3, H, W), 0 to 255."""
    return torch.from_numpy(np.asarray(picture, np.float32).copy()).permute(2, 0, 1)


class Crops:
    """An endless supply of random crops: of random scale, flipped, turned and recoloured at random."""

    def __init__(self, side: int, seed: int) -> None:
        self.side = side
        self.random = np.random.default_rng(seed)
        self.photographs = [as_tensor(load_photograph(name)) for name in TRAINING]

    def batch(self, size: int) -> Tensor:
        """Return float32 (size, 3, side, side), 0 to 255."""
        return torch.stack([self._crop() for _ in range(size)])

    def _crop(self) -> Tensor:
        photograph = self.photographs[self.random.integers(len(self.photographs))]
        _, height, width = photograph.shape
        edge = int(self.random.uniform(0.35, 1.0) * min(height, width))
        top, left = self.random.integers(height - edge + 1), self.random.integers(width - edge + 1)
        crop = photograph[:, top : top + edge, left : left + edge]
        crop = functional.interpolate(crop[None], (self.side, self.side), mode="bilinear", antialias=True)[0]
        return self._recolour(self._turn(crop))

    def _turn(self, crop: Tensor) -> Tensor:
        crop = crop.flip(2) if self.random.random() < 0.5 else crop
        return torch.rot90(crop, int(self.random.integers(4)), (1, 2)) if self.random.random() < 0.3 else crop

    def _recolour(self, crop: Tensor) -> Tensor:
        if self.random.random() < 0.5:
            crop = crop[torch.from_numpy(self.random.permutation(3))]
        gain = torch.from_numpy(self.random.uniform(0.6, 1.2, (3, 1, 1)).astype(np.float32))
        offset = torch.from_numpy(self.random.uniform(-30, 40, (3, 1, 1)).astype(np.float32))
        return (crop * gain + offset).clamp(0, 255)
