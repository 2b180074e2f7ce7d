"""Train the student of the style transfer teacher, on a CPU, within an hour.

    python train.py --teacher starry-night-fp16.onnx --weights starry_night.npz

Two phases, both supervised by the teacher, which runs live on random crops of photographs:

1. Block by block (Wang et al. 2018, "Progressive blockwise knowledge distillation for neural network
   acceleration"): every convolution with its normalization gets the teacher's input and learns the teacher's output.
   All of them learn at the same time, none waits for the one before it.
2. End to end: the student on its own inputs, supervised on the output of each normalization (relative squared error)
   and on the picture (L1).

The student starts from random numbers. `export.py` writes the result as a Core ML model.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from network import StyleNetwork
from photographs import HELD_OUT, Crops, as_tensor, centre_square, load_photograph
from teacher import load_teacher, to_network, to_picture
from torch import Tensor

SEED = 20180912
# The weights start near zero: what the pictures never ask for stays near zero too, instead of keeping the noise of the
# start, which would take bits away from the rest when the weights are quantized.
INITIAL_SCALE = 0.02


def relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared error over the teacher's power."""
    return (student - teacher).square().mean() / teacher.square().mean()


def blockwise_loss(student: StyleNetwork, steps: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the sum over all stages of the relative error on the teacher's own inputs."""
    return torch.stack([relative_error(layer(x), y) for layer, (x, y) in zip(student.layers, steps, strict=True)]).sum()


def end_to_end_loss(student: StyleNetwork, picture: Tensor, steps: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the picture's L1 error plus the mean relative error of the stages before it."""
    own = student.trace(picture)
    hints = [relative_error(y, t) for (_, y), (_, t) in zip(own[:-1], steps[:-1], strict=True)]
    return (own[-1][1] - steps[-1][1]).abs().mean() + torch.stack(hints).mean()


@torch.no_grad()
def held_out_psnr(student: StyleNetwork, teacher: StyleNetwork, side: int = 256) -> dict[str, float]:
    """Return for each held-out photograph the PSNR, in dB, of the student's picture against the teacher's."""
    figures = {}
    for name in HELD_OUT:
        picture = to_network(as_tensor(centre_square(load_photograph(name), side)))[None]
        error = (to_picture(student(picture)) - to_picture(teacher(picture))).square().mean()
        figures[name] = float(10 * torch.log10(255**2 / error))
    return figures


def train(
    student: StyleNetwork, teacher: StyleNetwork, crops: Crops, steps: int, blockwise: bool, weights: Path
) -> None:
    """Run one phase: Adam with cosine decay; the figures on held-out photographs are printed on the way."""
    optimizer = torch.optim.Adam(student.parameters())
    rate = 3e-3 if blockwise else 1e-4
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    start = time.monotonic()
    for step in range(1, steps + 1):
        picture = to_network(crops.batch(2))
        with torch.no_grad():
            wanted = teacher.trace(picture)
        loss = blockwise_loss(student, wanted) if blockwise else end_to_end_loss(student, picture, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            figures = " ".join(f"{Path(n).stem} {db:.2f} dB" for n, db in held_out_psnr(student, teacher).items())
            print(f"{step}/{steps} {time.monotonic() - start:.0f} s loss {loss.item():.4f} {figures}", flush=True)
            save(student, weights)


def save(student: StyleNetwork, path: Path) -> None:
    """Write the parameters, float32, named as in torch, to an `.npz`."""
    np.savez(path, **{name: value.numpy() for name, value in student.state_dict().items()})


def main() -> None:
    """Parse the command line and run both phases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="the teacher's ONNX file")
    parser.add_argument("--weights", type=Path, required=True, help="where to write the student's weights (.npz)")
    parser.add_argument("--blockwise-steps", type=int, default=1800)
    parser.add_argument("--end-to-end-steps", type=int, default=800)
    parser.add_argument("--side", type=int, default=160, help="pixels of a training crop")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    student, teacher = StyleNetwork(), load_teacher(options.teacher)
    with torch.no_grad():
        for layer in student.layers:
            layer.conv.weight *= INITIAL_SCALE
    crops = Crops(options.side, SEED)
    train(student, teacher, crops, options.blockwise_steps, True, options.weights)
    train(student, teacher, crops, options.end_to_end_steps, False, options.weights)


if __name__ == "__main__":
    main()
