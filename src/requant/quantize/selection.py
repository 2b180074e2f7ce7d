"""Which tensors take a scheme, and what the others are stored as.

A table of rules, the first that fits decides: by the name of the layer or operation, by its type, by the number of
weights, for some schemes or for all. What a tensor became, and why, is written to the audit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from requant.coreml.kind import Kind
from requant.errors import RequantError
from requant.quantize.scheme import Scheme, require_storable

Fallback = Literal["untouched", "float16", "refuse"]
UNTOUCHED = "untouched"
FLOAT16 = "float16"
# Tensors with at most this many numbers stay as they are: in an ML Program, scales and tables would eat the gain
# (coremltools' own default).
WEIGHT_THRESHOLDS = {Kind.NEURAL_NETWORK: 0, Kind.ML_PROGRAM: 2048}


class UnstorableError(RequantError):
    """A tensor can't take a scheme, because of its shape or its numbers; the message says why, without its name."""


@dataclass(frozen=True)
class TensorFacts:
    """What rules look at.

    Attributes:
        name: as the audit has it, `conv1.weights` or the name of the operation.
        types: the type of the layer, or those of the operations that read the constant.
        shape: of the tensor.
        count: how many numbers it has.
    """

    name: str
    types: tuple[str, ...]
    shape: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Choice:
    """What a tensor takes: a scheme, or None for untouched, and why, where it is not what the variant asks for."""

    scheme: Scheme | None
    reason: str = ""

    @property
    def requested(self) -> str:
        """The name of what is asked for."""
        return str(self.scheme) if self.scheme else UNTOUCHED


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    Attributes:
        store: `untouched`, `float16`, the name of a scheme, or bits for the same scheme in other bits.
        name: a pattern (`*`, `?`, `[...]`) for the name of the tensor; the name of the layer alone fits too.
        type: a pattern for the type of the layer or operation.
        fewer_than: fits tensors with fewer numbers than this.
        schemes: patterns for the names of the schemes that the rule is for; empty for all.
    """

    store: str
    name: str = "*"
    type: str = "*"
    fewer_than: int | None = None
    schemes: tuple[str, ...] = ()

    def is_for(self, scheme: Scheme) -> bool:
        """Return whether the rule is for a scheme."""
        return not self.schemes or any(fnmatchcase(str(scheme), pattern) for pattern in self.schemes)

    def fits(self, facts: TensorFacts) -> bool:
        """Return whether the rule is for a tensor."""
        names = (facts.name, facts.name.rpartition(".")[0])
        return (
            any(fnmatchcase(name, self.name) for name in names)
            and any(fnmatchcase(kind, self.type) for kind in facts.types or ("",))
            and (self.fewer_than is None or facts.count < self.fewer_than)
        )

    def stored(self, scheme: Scheme) -> Scheme | None:
        """Return what a tensor that the rule fits takes in a variant of a scheme; None for untouched.

        Raises:
            RequantError: if `store` is not one of the words, a scheme or bits that the scheme's mode has.
        """
        if self.store == UNTOUCHED:
            return None
        if self.store == FLOAT16:
            return Scheme.of("linear", 16)
        if not self.store.isdigit():
            return Scheme.parse(self.store)
        if scheme.mode is None:
            raise RequantError(
                f"the rule store: {self.store} gives other bits, but {scheme} has none. Say under schemes which "
                "schemes the rule is for."
            )
        if scheme.is_float16:
            return Scheme.parse(str(Scheme.of(scheme.mode, int(self.store))))
        return Scheme.parse(str(replace(scheme, bits=int(self.store))))


@dataclass(frozen=True)
class Selection:
    """The table of rules of a model, and what becomes of tensors that can't take what is asked.

    Attributes:
        rules: the first that fits decides.
        weight_threshold: tensors with at most this many numbers stay untouched; None for the default of the kind of
            model.
        unstorable: what a tensor becomes whose shape or numbers do not take the scheme.
        beyond_float16: whether a tensor with numbers beyond float16's range stays float32 at 16 bits, or is refused.
    """

    rules: tuple[Rule, ...] = ()
    weight_threshold: int | None = None
    unstorable: Fallback = "untouched"
    beyond_float16: Literal["float32", "refuse"] = "float32"

    @classmethod
    def of(cls, table: Mapping[str, Any] | None) -> Selection:
        """Return the selection that a table of plain values describes, as `to_table` makes it."""
        table = dict(table or {})
        rules = tuple(
            Rule(**{**rule, "store": str(rule["store"]), "schemes": tuple(rule.get("schemes", ()))})
            for rule in table.pop("rules", ())
        )
        return cls(rules, **table)

    def to_table(self) -> dict[str, Any]:
        """Return the selection as plain values, without what is the default."""
        table: dict[str, Any] = {"rules": [_differing(rule, Rule("")) for rule in self.rules]} if self.rules else {}
        return table | {key: value for key, value in _differing(self, Selection()).items() if key != "rules"}

    def for_scheme(self, scheme: Scheme) -> Selection:
        """Return the selection without the rules for other schemes: they are no reason to make a variant again."""
        rules = tuple(replace(rule, schemes=()) for rule in self.rules if rule.is_for(scheme))
        return replace(self, rules=rules)

    def schemes(self, scheme: Scheme) -> list[Scheme]:
        """Return all schemes that tensors of a variant of `scheme` can take."""
        stored = [rule.stored(scheme) for rule in self.rules if rule.is_for(scheme)]
        fallback = [Scheme.of("linear", 16)] if self.unstorable == FLOAT16 else []
        return [scheme, *filter(None, stored), *fallback]

    def require_storable(self, scheme: Scheme, kind: Kind) -> None:
        """Make sure that a kind of model can store a scheme and all that rules put in its place.

        Raises:
            RequantError: if it can't, naming the rule.
        """
        require_storable(scheme, kind)
        for number, rule in enumerate(self.rules, 1):
            try:
                stored = rule.stored(scheme) if rule.is_for(scheme) else None
                if stored:
                    require_storable(stored, kind)
            except RequantError as error:
                raise RequantError(f"rule {number} of tensors, for {scheme}: {error}") from error

    def choose(self, facts: TensorFacts, scheme: Scheme, kind: Kind) -> Choice:
        """Return what a tensor takes in a variant of a scheme."""
        for number, rule in enumerate(self.rules, 1):
            if rule.is_for(scheme) and rule.fits(facts):
                stored = rule.stored(scheme)
                return Choice(stored, "" if stored == scheme else f"rule {number} of tensors: {rule.store}")
        threshold = WEIGHT_THRESHOLDS[kind] if self.weight_threshold is None else self.weight_threshold
        if facts.count <= threshold:
            return Choice(None, f"{facts.count:,} numbers; only tensors with more than {threshold:,} take a scheme")
        return Choice(scheme)

    def otherwise(self, choice: Choice, why: str, name: str) -> Choice:
        """Return what a tensor becomes that can't take what was chosen.

        Raises:
            RequantError: if the configuration refuses such tensors.
        """
        reason = f"{choice.requested} can't be stored: {why}"
        if self.unstorable == "refuse":
            raise RequantError(
                f"the tensor {name}: {reason}. Give it a rule of its own under tensors, or set unstorable to untouched "
                "or float16."
            )
        return Choice(Scheme.of("linear", 16) if self.unstorable == FLOAT16 else None, reason)


def _differing(value: Any, default: Any) -> dict[str, Any]:
    fields = value.__dataclass_fields__
    found = {name: getattr(value, name) for name in fields if getattr(value, name) != getattr(default, name)}
    return {name: list(item) if isinstance(item, tuple) else item for name, item in found.items()}


def unused_rules(selection: Selection, tensors: Sequence[TensorFacts], scheme: Scheme) -> list[int]:
    """Return the numbers (from 1) of the rules for a scheme that fit no tensor: most likely misspelt."""
    return [
        number
        for number, rule in enumerate(selection.rules, 1)
        if rule.is_for(scheme) and not any(rule.fits(facts) for facts in tensors)
    ]
