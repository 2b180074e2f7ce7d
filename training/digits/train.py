"""Train the classifier of handwritten digits, and write it as an ML Program and for PyTorch, with its evaluation data.

    python train.py --model digits.mlpackage --exported digits_pytorch.pt2 --data digits.npz

The digits are those of scikit-learn's `load_digits`: 1,797 pictures of 8x8 pixels from the UCI repository (Alpaydin and
Kaynak 1998, https://doi.org/10.24432/C50P49, CC BY 4.0). A quarter of them, stratified, is kept out of training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import coremltools
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

from requant.coreml.model import Model, load, unpack_package

SEED = 8
BRIGHTEST = 240  # 16 grey levels of load_digits times 15
EPOCHS = 80


class DigitNetwork(nn.Module):
    """Three convolutions and two fully connected layers; (N, 1, 8, 8) of 0 to 1 in, scores (N, 10) out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.hidden = nn.Linear(64 * 4 * 4, 96)
        self.scores = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores before the softmax."""
        x = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        x = functional.relu(self.conv3(functional.max_pool2d(x, 2)))
        x = functional.dropout(functional.relu(self.hidden(x.flatten(1))), 0.3, self.training)
        return self.scores(x)


class Probabilities(nn.Module):
    """A network with a softmax behind it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities, (N, 10)."""
        return functional.softmax(self.network(image), dim=1)


def shifted(pictures: Tensor) -> Tensor:
    """Return pictures moved by up to one pixel, at random."""
    moves = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(pictures, moves, (2, 3)) if torch.rand(()) < 0.5 else pictures


def train(pictures: Tensor, labels: Tensor) -> DigitNetwork:
    """Return a network trained on float32 (N, 1, 8, 8) of 0 to 1."""
    torch.manual_seed(SEED)
    network = DigitNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(pictures)).split(64):
            loss = functional.cross_entropy(network(shifted(pictures[batch])), labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return network.eval()


def to_coreml(network: nn.Module) -> Model:
    """Return the network as an ML Program in float32 for iOS 15, a grey picture in and class labels out."""
    converted = coremltools.convert(
        torch.jit.trace(Probabilities(network).eval(), torch.zeros(1, 1, 8, 8)),
        inputs=[
            coremltools.ImageType(
                "image", (1, 1, 8, 8), scale=1 / BRIGHTEST, color_layout=coremltools.colorlayout.GRAYSCALE
            )
        ],
        outputs=[coremltools.TensorType("probabilities")],
        classifier_config=coremltools.ClassifierConfig([str(digit) for digit in range(10)]),
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS15,
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
    )
    converted.short_description = "Recognizes a handwritten digit of 8x8 pixels."
    converted.author = "The requant authors"
    converted.license = "Apache-2.0; trained on data under CC BY 4.0"
    converted.version = "1.0"
    return load(Path(converted.package_path))


def export(network: nn.Module, path: Path) -> None:
    """Write the network as an exported program: float32 (1, 1, 8, 8) of 0 to 1 in, probabilities (1, 10) out."""
    exported = torch.export.export(Probabilities(network).eval(), (torch.zeros(1, 1, 8, 8),))
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds the folders of the machine that exports
    torch.export.save(exported, path)


def without_date(model: Model) -> Model:
    """Return the model without the date of its conversion, so that the recipe gives the same bytes every day."""
    model.spec.description.metadata.userDefined.pop("com.github.apple.coremltools.conversion_date", None)
    return model


def main() -> None:
    """Parse the command line, train, and write model and evaluation data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="where to write the .mlpackage")
    parser.add_argument("--exported", type=Path, required=True, help="where to write the .pt2")
    parser.add_argument("--data", type=Path, required=True, help="where to write the held-out digits (.npz)")
    options = parser.parse_args()
    digits = load_digits()
    pixels = (digits.images * 15).astype(np.uint8)
    train_pixels, test_pixels, train_labels, test_labels = train_test_split(
        pixels, digits.target, test_size=0.25, stratify=digits.target, random_state=SEED
    )
    as_input = lambda p: torch.from_numpy(p.astype(np.float32) / BRIGHTEST)[:, None]  # noqa: E731
    network = train(as_input(train_pixels), torch.from_numpy(train_labels))
    accuracy = (network(as_input(test_pixels)).argmax(1).numpy() == test_labels).mean()
    print(f"{len(train_labels)} digits to train on, {len(test_labels)} held out: {accuracy:.2%} of those are right")
    unpack_package(without_date(to_coreml(network)), options.model)
    export(network, options.exported)
    np.savez_compressed(options.data, image=test_pixels, labels=test_labels.astype(str))


if __name__ == "__main__":
    main()
