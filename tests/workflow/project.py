"""A small project of a user's, in which the real workflow is run."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from PIL import Image

from requant.coreml.model import Model, to_bytes
from requant.originals import lock_original

REPOSITORY = Path(__file__).parents[2]
DIGITS = REPOSITORY / "models_original" / "digits.mlpackage"


def picture_network(seed=0, bits=32):
    """Return a network that turns a picture of 16 x 16 into another one."""
    random = np.random.default_rng(seed)
    builder = NeuralNetworkBuilder([("image", datatypes.Array(3, 16, 16))], [("painted", datatypes.Array(3, 16, 16))])
    sizes = [(3, 24), (24, 24), (24, 3)]
    for index, (inputs, outputs) in enumerate(sizes):
        last = index == len(sizes) - 1
        kernel = random.standard_normal((3, 3, inputs, outputs)) / np.sqrt(9 * inputs)
        builder.add_convolution(
            f"conv{index}", inputs, outputs, 3, 3, 1, 1, "same", 1, kernel, None, has_bias=False,
            input_name="image" if index == 0 else f"relu{index - 1}", output_name="painted" if last else f"conv{index}",
        )  # fmt: skip
        if not last:
            builder.add_activation(f"relu{index}", "RELU", f"conv{index}", f"relu{index}")
    for feature in (*builder.spec.description.input, *builder.spec.description.output):
        feature.type.imageType.width = feature.type.imageType.height = 16
        feature.type.imageType.colorSpace = feature.type.imageType.ColorSpace.Value("RGB")
    builder.spec.description.metadata.author = "A. Tester"
    return Model(builder.spec)


@dataclass
class Run:
    """What a run of snakemake gave."""

    status: int
    text: str

    @property
    def jobs(self):
        """The number of jobs by rule."""
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", self.text, re.MULTILINE | re.DOTALL)
        return {line.split()[0]: int(line.split()[1]) for line in table[1].splitlines()} if table else {}


class Project:
    """A folder with originals, pictures and a configuration."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "models_original").mkdir()
        (folder / "config").mkdir()
        (folder / "pictures").mkdir()
        random = np.random.default_rng(1)
        for index in range(2):
            pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / f"{index}.png")

    def add_network(self, name="tiny", seed=0, locked=True):
        path = self.folder / "models_original" / f"{name}.mlmodel"
        path.write_bytes(to_bytes(picture_network(seed), name))
        if locked:
            lock_original(path)
        return path

    def add_program(self, name="digits"):
        path = self.folder / "models_original" / f"{name}.mlpackage"
        shutil.copytree(DIGITS, path)
        lock_original(path)
        return path

    def add_both_kinds(self):
        """Add and configure a network and a program, with one variant each."""
        self.add_network()
        self.add_program()
        self.configure(
            tiny={"original": "models_original/tiny.mlmodel", "data": "pictures", "schemes": ["kmeans_4"]},
            digits={"original": "models_original/digits.mlpackage", "schemes": ["linear_4_block32"]},
        )

    def configure(self, **models):
        (self.folder / "config" / "config.yaml").write_text(yaml.safe_dump({"models": models}, sort_keys=False))

    def command(self, *arguments):
        profile = REPOSITORY / "profiles" / "default"
        program = [sys.executable, "-m", "snakemake", "-s", str(REPOSITORY / "Snakefile"), "--profile", str(profile)]
        return [*program, "--directory", str(self.folder), *arguments]

    def snakemake(self, *arguments):
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, env=environment, check=False, cwd=self.folder
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def digests(self):
        """Return the SHA-256 of every variant."""
        files = (self.folder / "results").glob("*/variants/*")
        return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}
