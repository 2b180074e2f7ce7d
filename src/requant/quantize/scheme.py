"""A scheme is what is done to the weights; its name is the recipe: `linear_8`, `kmeans_4`.

This is the one place where such names are parsed and printed, and where it is said which of them exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from requant.coreml.kind import Kind
from requant.errors import RequantError

Mode = Literal["linear", "linear_symmetric", "linear_lut", "kmeans", "custom_lut"]
FLOAT16_BITS = 16
_ALL_BITS = (16, 8, 7, 6, 5, 4, 3, 2, 1)
_TABLE_BITS = (8, 6, 4, 3, 2, 1)

# What Core ML can store, by kind of model: the bits of each mode, from the most to the fewest.
SCHEMES: dict[Kind, dict[Mode, tuple[int, ...]]] = {
    Kind.NEURAL_NETWORK: {
        "linear": _ALL_BITS,
        "linear_symmetric": (8,),
        "linear_lut": _ALL_BITS,
        "kmeans": _ALL_BITS,
        "custom_lut": _ALL_BITS,
    },
    Kind.ML_PROGRAM: {
        "linear": (16, 8, 4),
        "linear_lut": _TABLE_BITS,
        "kmeans": _TABLE_BITS,
        "custom_lut": _TABLE_BITS,
    },
}
MODES: tuple[Mode, ...] = tuple(SCHEMES[Kind.NEURAL_NETWORK])
# For wildcards: longer modes first, so that none is taken for a part of another.
PATTERN = f"(?:{'|'.join(sorted(MODES, key=len, reverse=True))})_(?:16|[1-8])"

DESCRIPTIONS: dict[Mode, str] = {
    "linear": "linear quantization with a scale and a bias per output channel",
    "linear_symmetric": "linear quantization, symmetric around zero, with a scale per output channel",
    "linear_lut": "an evenly spaced lookup table per tensor",
    "kmeans": "a k-means lookup table per tensor",
    "custom_lut": "a lookup table of the user's own per tensor",
}


@dataclass(frozen=True, order=True)
class Scheme:
    """A mode and a bit width. At 16 bits every mode means float16 weights."""

    mode: Mode
    bits: int

    @classmethod
    def parse(cls, name: str) -> Scheme:
        """Return the scheme of a name such as `kmeans_4`.

        Raises:
            RequantError: if it is not the name of a scheme.
        """
        if not re.fullmatch(PATTERN, name):
            raise RequantError(
                f"{name!r} is not the name of a scheme. A scheme is MODE_BITS, as kmeans_4, with a mode of "
                f"{', '.join(MODES)} and 16 or 8 to 1 bits."
            )
        mode, _, bits = name.rpartition("_")
        return cls(cast("Mode", mode), int(bits))

    def __str__(self) -> str:
        """Return the name."""
        return f"{self.mode}_{self.bits}"

    @property
    def description(self) -> str:
        """One phrase for people."""
        if self.bits == FLOAT16_BITS:
            return "16 bits: float16 weights"
        return f"{self.bits} bit{'s' if self.bits > 1 else ''}: {DESCRIPTIONS[self.mode]}"


def require_storable(scheme: Scheme, kind: Kind) -> None:
    """Make sure that a kind of model can store a scheme.

    Raises:
        RequantError: if it can't, saying what it can.
    """
    modes = SCHEMES[kind]
    if scheme.mode not in modes:
        raise RequantError(f"a model of kind {kind} has no mode {scheme.mode}. It has {', '.join(modes)}.")
    if scheme.bits not in modes[scheme.mode]:
        bits = ", ".join(map(str, modes[scheme.mode]))
        raise RequantError(f"a model of kind {kind} has no {scheme.mode} at {scheme.bits} bits. It has {bits}.")
