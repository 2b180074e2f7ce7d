"""Choosing a few of very many tests, the same ones every time."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar


class Test(Protocol):
    """What is read of a pytest item."""

    @property
    def nodeid(self) -> str:
        """Its identifier."""
        ...


Item = TypeVar("Item", bound=Test)


def of_precision(items: Sequence[Item], precision: str | None) -> list[Item]:
    """Return the tests without those whose backend has another precision; tests without a backend stay."""
    return [item for item in items if precision is None or _precision(item) in (None, precision)]


def _precision(item: Test) -> str | None:
    parameters = getattr(item, "callspec", None)
    backend = parameters.params.get("backend") if parameters else None
    if isinstance(backend, tuple) and len(backend) > 1:
        return str(backend[1])
    return getattr(backend, "precision", None)


def sampled(items: Sequence[Item], per_function: int) -> list[Item]:
    """Return at most so many tests of each test function, in their order; 0 is all.

    Which ones depends on nothing but their names, so that adding a test does not change the others.
    """
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.nodeid.partition("[")[0]].append(item)
    kept = {
        item.nodeid
        for group in groups.values()
        for item in sorted(group, key=lambda item: zlib.crc32(item.nodeid.encode()))[: per_function or None]
    }
    return [item for item in items if item.nodeid in kept]


def of_shard(items: Sequence[Item], shard: str) -> list[Item]:
    """Return one share of the tests.

    Args:
        items: all of them.
        shard: the share, from 1, and the number of shares, as in `1/2`.
    """
    index, number = (int(part) for part in shard.split("/"))
    return list(items[index - 1 :: number])
