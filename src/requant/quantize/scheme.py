"""A scheme is what is done to the weights; its name is the recipe: `linear_8`, `kmeans_4_group16`, `prune_50_linear_8`.

This is the one place where such names are parsed and printed, and where it is said which of them exist, what a kind of
model can store, and which system a stored form needs.

    SCHEME     [PRUNING "_"] MODE "_" BITS {"_" QUALIFIER}  |  PRUNING
    PRUNING    "prune_" PERCENT  |  "prune_" N "of" M  |  "prune_below_" THRESHOLD
    MODE       linear | linear_symmetric | linear_lut | kmeans | unique | custom_lut
    QUALIFIER  signed | unsigned | tensor | blockN | groupN | vectorN | scaled | lut8 | zeros

Qualifiers stand in this order, and what is the default is left out, so that a scheme has one name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, cast

from requant.coreml.kind import Kind
from requant.coreml.systems import BLOCKWISE_CONSTANTS, COMPRESSED_CONSTANTS, FLOAT16_WEIGHTS, QUANTIZED_WEIGHTS
from requant.errors import RequantError

Mode = Literal["linear", "linear_symmetric", "linear_lut", "kmeans", "unique", "custom_lut"]
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
        "unique": _ALL_BITS[1:],
        "custom_lut": _ALL_BITS,
    },
    Kind.ML_PROGRAM: {
        "linear": (16, 8, 4),
        "linear_symmetric": (8, 4),
        "linear_lut": _TABLE_BITS,
        "kmeans": _TABLE_BITS,
        "unique": _TABLE_BITS,
        "custom_lut": _TABLE_BITS,
    },
    Kind.OTHER: {},
}
MODES: tuple[Mode, ...] = tuple(SCHEMES[Kind.NEURAL_NETWORK])
LINEAR_MODES: tuple[Mode, ...] = ("linear", "linear_symmetric")
VECTOR_MODES: tuple[Mode, ...] = ("kmeans", "unique")
VECTOR_SIZES = (2, 4)
PRUNE = "prune"  # what stands for the mode where weights are only pruned

DESCRIPTIONS: dict[Mode, str] = {
    "linear": "linear quantization",
    "linear_symmetric": "linear quantization, symmetric around zero",
    "linear_lut": "an evenly spaced lookup table",
    "kmeans": "a k-means lookup table",
    "unique": "a lookup table of the distinct numbers, without loss",
    "custom_lut": "a lookup table of the user's own",
}

_NUMBER = r"\d+(?:\.\d+)?(?:e-\d+)?"
_PRUNING = rf"prune_(?:below_(?P<below>{_NUMBER})|(?P<n>\d+)of(?P<m>\d+)|(?P<percent>\d+))"
_MODES = "|".join(sorted(MODES, key=len, reverse=True))  # longer ones first: none is taken for a part of another
_QUALIFIERS = (
    r"(?:_(?P<sign>signed|unsigned))?(?:_(?P<granularity>tensor|block|group)(?P<size>\d+)?)?(?:_vector(?P<vector>\d+))?"
    r"(?P<scaled>_scaled)?(?P<lut8>_lut8)?(?P<zeros>_zeros)?"
)
_QUANTIZATION = rf"(?P<mode>{_MODES})_(?P<bits>16|[1-8]){_QUALIFIERS}"
_GRAMMAR = re.compile(rf"(?:{_PRUNING}(?=_|$)_?)?(?:{_QUANTIZATION})?")
_UNNAMED = re.sub(r"\?P<\w+>", "?:", rf"(?:{_PRUNING}_)?{_QUANTIZATION}|{_PRUNING}")
PATTERN = f"(?:{_UNNAMED})"  # for wildcards: without named groups
# The name of a family: a scheme without its bits.
FAMILY_PATTERN = re.sub(r"\?P<\w+>", "?:", rf"(?:{_PRUNING}_)?(?:{_MODES}){_QUALIFIERS}")


@dataclass(frozen=True)
class Pruning:
    """Which weights become zero; one of the three.

    Attributes:
        percent: that share of the weights of a tensor, the smallest by magnitude.
        n: the `n` smallest by magnitude of every `m` consecutive ones along the input channels.
        m: see `n`.
        below: all whose magnitude is at most this threshold.
    """

    percent: int = 0
    n: int = 0
    m: int = 0
    below: float = 0.0

    def __str__(self) -> str:
        """Return the name."""
        if self.percent:
            return f"prune_{self.percent}"
        return f"prune_{self.n}of{self.m}" if self.m else f"prune_below_{self.below:g}"

    @property
    def description(self) -> str:
        """One phrase for people."""
        if self.percent:
            return f"the smallest {self.percent} % of the weights set to zero"
        if self.m:
            return f"the smallest {self.n} of every {self.m} weights set to zero"
        return f"weights of at most {self.below:g} set to zero"


@dataclass(frozen=True)
class Scheme:
    """What is done to the weights. At 16 bits every mode means float16 weights.

    Attributes:
        mode: how numbers become codes; None where weights are only pruned.
        bits: of a code; 0 where weights are only pruned.
        pruning: which weights become zero, and are not stored, before anything else.
        signed: whether codes are signed numbers; None for a lookup table's.
        granularity: what has a scale, or a lookup table, of its own: the tensor, each output channel, each block of
            `size` input channels of each output channel, or each group of `size` output channels.
        size: of a block or group, 0 for the other granularities.
        vector: how many neighbouring output channels an entry of a lookup table holds.
        scaled: whether each output channel has a scale besides its lookup table.
        lut8: whether the entries of lookup tables are stored in 8 bits.
        zeros: whether a lookup table keeps exact zeros.
    """

    mode: Mode | None
    bits: int
    pruning: Pruning | None = None
    signed: bool | None = None
    granularity: Literal["tensor", "channel", "block", "group"] = "tensor"
    size: int = 0
    vector: int = 1
    scaled: bool = False
    lut8: bool = False
    zeros: bool = False

    @classmethod
    def of(cls, mode: Mode, bits: int) -> Scheme:
        """Return the scheme of a mode and bits without any qualifier."""
        linear = mode in LINEAR_MODES and bits != FLOAT16_BITS
        return cls(
            mode,
            bits,
            signed=(mode == "linear_symmetric") if linear else None,
            granularity="channel" if linear else "tensor",
        )

    @classmethod
    def parse(cls, name: str) -> Scheme:
        """Return the scheme of a name such as `kmeans_4` or `linear_4_block32`.

        Raises:
            RequantError: if it is not the name of a scheme, or its parts do not go together.
        """
        found = re.fullmatch(PATTERN, name) and _GRAMMAR.fullmatch(name)
        if not found:
            raise RequantError(
                f"{name!r} is not the name of a scheme. A scheme is MODE_BITS, as kmeans_4, with a mode of "
                f"{', '.join(MODES)} and 16 or 8 to 1 bits; what can be added before and behind it is in docs/modes.md."
            )
        parts = found.groupdict()
        scheme = cls._plain(parts)
        scheme = replace(scheme, pruning=_pruning(parts, name))
        _require_sound(scheme, name)
        if str(scheme) != name:
            raise RequantError(f"{name!r} is spelled {scheme}: a scheme has one name.")
        return scheme

    @classmethod
    def _plain(cls, parts: dict[str, str | None]) -> Scheme:
        if not parts["mode"]:
            return cls(None, 0)
        scheme = cls.of(cast("Mode", parts["mode"]), int(parts["bits"] or 0))
        if parts["sign"]:
            scheme = replace(scheme, signed=parts["sign"] == "signed")
        if parts["granularity"]:
            granularity = cast("Literal['tensor', 'block', 'group']", parts["granularity"])
            scheme = replace(scheme, granularity=granularity, size=int(parts["size"] or 0))
        return replace(
            scheme,
            vector=int(parts["vector"] or 1),
            scaled=bool(parts["scaled"]),
            lut8=bool(parts["lut8"]),
            zeros=bool(parts["zeros"]),
        )

    @classmethod
    def of_family(cls, family: str, bits: int) -> Scheme:
        """Return the scheme of a family, as `kmeans_group16`, in some bits.

        Raises:
            RequantError: if there is no such family, or none in these bits.
        """
        if not re.fullmatch(FAMILY_PATTERN, family):
            raise RequantError(
                f"{family!r} is not a family of schemes. A family is the name of a scheme without its bits, as kmeans "
                "or linear_block32; docs/modes.md has them all."
            )
        return cls.parse(re.sub(rf"(?:(?<=_)|^)(?:{_MODES})(?=_|$)", rf"\g<0>_{bits}", family, count=1))

    def __str__(self) -> str:
        """Return the name."""
        if self.mode is None:
            return str(self.pruning)
        plain = Scheme.of(self.mode, self.bits)
        parts = [str(self.pruning)] if self.pruning else []
        parts.append(f"{self.mode}_{self.bits}")
        if self.signed != plain.signed:
            parts.append("signed" if self.signed else "unsigned")
        if (self.granularity, self.size) != (plain.granularity, plain.size):
            parts.append(f"{self.granularity}{self.size or ''}")
        if self.vector > 1:
            parts.append(f"vector{self.vector}")
        parts += [name for name in ("scaled", "lut8", "zeros") if getattr(self, name)]
        return "_".join(parts)

    @property
    def family(self) -> str:
        """The name without the bits: what is compared over bit widths, as `kmeans_group16`."""
        if self.mode is None:
            return str(self)
        return str(self).replace(f"{self.mode}_{self.bits}", self.mode)

    @property
    def kind_of_mode(self) -> str:
        """The mode, or the word `prune` where weights are only pruned."""
        return self.mode or PRUNE

    @property
    def is_linear(self) -> bool:
        """Whether codes are evenly spaced numbers with a scale."""
        return self.mode in LINEAR_MODES and self.bits != FLOAT16_BITS

    @property
    def is_table(self) -> bool:
        """Whether codes are indices into a lookup table."""
        return self.mode is not None and self.mode not in LINEAR_MODES and self.bits != FLOAT16_BITS

    @property
    def is_float16(self) -> bool:
        """Whether weights become float16."""
        return self.bits == FLOAT16_BITS

    @property
    def description(self) -> str:
        """One phrase for people."""
        phrases = [self.pruning.description] if self.pruning else []
        if self.is_float16:
            phrases.append("16 bits: float16 weights")
        elif self.mode:
            phrases.append(f"{self.bits} bit{'s' if self.bits > 1 else ''}: {self._described_codes()}")
        return ", then ".join(phrases)

    def _described_codes(self) -> str:
        assert self.mode is not None
        words = DESCRIPTIONS[self.mode]
        if self.signed != Scheme.of(self.mode, self.bits).signed:
            words += f", {'signed' if self.signed else 'unsigned'}"
        if self.is_linear:
            words += " with a scale" + (" and an offset" if self.mode == "linear" else "")
        if self.vector > 1:
            words += f" of vectors of {self.vector} output channels"
        words += (
            " per "
            + {
                "tensor": "tensor",
                "channel": "output channel",
                "block": f"block of {self.size} input channels",
                "group": f"group of {self.size} output channels" if self.size > 1 else "output channel",
            }[self.granularity]
        )
        words += ", with a scale per output channel" if self.scaled else ""
        words += ", its entries in 8 bits" if self.lut8 else ""
        return words + (", that keeps zeros" if self.zeros else "")


def _pruning(parts: dict[str, str | None], name: str) -> Pruning | None:
    if parts["percent"]:
        percent = int(parts["percent"])
        if not 1 <= percent <= 99:
            raise RequantError(f"{name!r}: the share of weights to prune is 1 to 99 per cent, not {percent}.")
        return Pruning(percent=percent)
    if parts["m"]:
        n, m = int(parts["n"] or 0), int(parts["m"])
        if not 1 <= n < m:
            raise RequantError(f"{name!r}: of every M weights the N smallest are pruned, with N from 1 to M - 1.")
        return Pruning(n=n, m=m)
    if parts["below"]:
        threshold = float(parts["below"])
        if threshold <= 0:
            raise RequantError(f"{name!r}: the threshold below which weights are pruned has to be greater than 0.")
        return Pruning(below=threshold)
    return None


def _require_sound(scheme: Scheme, name: str) -> None:
    """Make sure that the parts of a scheme go together, whatever the kind of model.

    Raises:
        RequantError: if they do not, saying why.
    """
    for wrong, why in _contradictions(scheme):
        if wrong:
            raise RequantError(f"{name!r} does not exist: {why}.")


def _contradictions(s: Scheme) -> list[tuple[bool, str]]:
    plain = s.mode is None or s == replace(Scheme.of(s.mode, s.bits), pruning=s.pruning)
    table_part = s.vector > 1 or s.scaled or s.lut8 or s.zeros
    return [
        (s.is_float16 and not plain, "float16 weights have no scales and no tables"),
        (
            s.is_float16 and s.pruning is not None,
            "pruned weights keep the type that they have; write the pruning alone",
        ),
        (s.granularity in ("block", "group") and s.size < 1, f"{s.granularity} wants a size, as {s.granularity}32"),
        (s.granularity == "tensor" and s.size > 0, "the whole tensor has no size"),
        (s.granularity == "block" and not s.is_linear, "blocks are for linear quantization; tables have groups"),
        (s.granularity == "block" and s.size < 2, "a block has at least two input channels"),
        (s.granularity == "group" and not s.is_table, "groups are for lookup tables; linear quantization has blocks"),
        (table_part and not s.is_table, "vectors, scaled, lut8 and zeros are for lookup tables"),
        (s.signed is not None and not s.is_linear, "only linear codes are signed or unsigned"),
        (s.vector > 1 and s.vector not in VECTOR_SIZES, f"a vector has {' or '.join(map(str, VECTOR_SIZES))} numbers"),
        (s.vector > 1 and s.mode not in VECTOR_MODES, f"tables of vectors are made by {' and '.join(VECTOR_MODES)}"),
        (s.vector > 1 and s.granularity == "group" and s.size % s.vector != 0, "a group holds whole vectors"),
        (
            s.zeros and (s.mode != "kmeans" or s.vector > 1),
            "only k-means of single numbers keeps zeros by the word zeros",
        ),
        (s.zeros and s.pruning is not None, "pruned zeros are kept anyway"),
        (s.zeros and s.scaled, "a scale per channel changes no zero; leave out one of the two"),
        (s.lut8 and s.mode == "unique", "a table of the distinct numbers is exact, one of 8-bit numbers is not"),
        (s.scaled and s.mode == "unique", "a table of the distinct numbers is exact, scaled numbers are not"),
        (s.vector > 1 and s.pruning is not None and s.pruning.m > 0, "n of m pruning cuts vectors apart"),
    ]


def require_storable(scheme: Scheme, kind: Kind) -> None:
    """Make sure that a kind of model can store a scheme.

    Raises:
        RequantError: if it can't, saying what it can.
    """
    modes = SCHEMES[kind]
    if not modes:
        raise RequantError(f"there is {kind}: the model has no weights that Core ML stores in fewer bits.")
    if scheme.mode is not None and scheme.bits not in modes[scheme.mode]:
        bits = ", ".join(map(str, modes[scheme.mode]))
        raise RequantError(f"a model of kind {kind} has no {scheme.mode} at {scheme.bits} bits. It has {bits}.")
    if kind is Kind.ML_PROGRAM:
        return
    for wrong, what in (
        (scheme.pruning is not None, "pruned weights stored sparse"),
        (scheme.granularity == "block", "scales per block"),
        (scheme.granularity == "group", "lookup tables per group of channels"),
        (scheme.vector > 1, "lookup tables of vectors"),
        (scheme.scaled, "scales besides a lookup table"),
        (scheme.lut8, "lookup tables of 8-bit entries"),
        (scheme.is_linear and scheme.signed != Scheme.of(scheme.mode or "linear", scheme.bits).signed, "another sign"),
    ):
        if wrong:
            raise RequantError(
                f"a model of kind {kind} can't store {scheme}: it has no {what}. Only an ML Program has; convert the "
                "model's source to one."
            )


def needed_version(scheme: Scheme, kind: Kind) -> int:
    """Return the specification version that the stored form of a scheme needs (`requant.coreml.systems`)."""
    if kind is Kind.NEURAL_NETWORK:
        return FLOAT16_WEIGHTS if scheme.is_float16 else QUANTIZED_WEIGHTS
    joint = scheme.pruning is not None and scheme.mode is not None
    newer = scheme.granularity in ("block", "group") or scheme.vector > 1 or scheme.scaled or scheme.lut8 or joint
    newer |= (scheme.is_linear and scheme.bits == 4) or (scheme.is_table and scheme.bits == 3)
    return BLOCKWISE_CONSTANTS if newer else COMPRESSED_CONSTANTS


def has_one_kmeans_table(scheme: Scheme) -> bool:
    """Return whether a scheme gives a tensor one lookup table, by k-means of all its numbers as they are."""
    qualified = scheme.pruning is not None or scheme.granularity != "tensor" or scheme.vector > 1 or scheme.scaled
    return scheme.mode == "kmeans" and scheme.is_table and not qualified


def default_schemes(kind: Kind, custom_lut: bool) -> tuple[Scheme, ...]:
    """Return the schemes of the word `all`: every mode that changes any model, at all bits, without qualifiers."""
    modes = [mode for mode in SCHEMES[kind] if mode != "unique" and (mode != "custom_lut" or custom_lut)]
    return tuple(Scheme.of(mode, bits) for mode in modes for bits in SCHEMES[kind][mode])
