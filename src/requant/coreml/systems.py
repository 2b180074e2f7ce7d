"""Systems, specification versions and operator sets: the one table of what came with which iOS and macOS.

Sources: the specification versions in Apple's `Model.proto`, and "Core ML Tools: Optimization" with its table of
formats (https://apple.github.io/coremltools/docs-guides/source/opt-overview.html). Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

from requant.errors import RequantError


@dataclass(frozen=True, order=True)
class System:
    """The oldest system that loads a model: a specification version with the iOS and macOS that brought it."""

    spec_version: int
    ios: str
    macos: str

    def __str__(self) -> str:
        """Return its names for people."""
        return f"iOS {self.ios}, macOS {self.macos}"


# Specification version -> the systems that brought it.
SYSTEMS: dict[int, System] = {
    1: System(1, "11", "10.13"),
    2: System(2, "11.2", "10.13.2"),
    3: System(3, "12", "10.14"),
    4: System(4, "13", "10.15"),
    5: System(5, "14", "11"),
    6: System(6, "15", "12"),
    7: System(7, "16", "13"),
    8: System(8, "17", "14"),
    9: System(9, "18", "15"),
    10: System(10, "26", "26"),
}
# Specification versions by what a NeuralNetwork stores.
FLOAT16_WEIGHTS = 2
QUANTIZED_WEIGHTS = 3
# Specification versions and names of the operator sets of an ML Program.
OPSETS: dict[str, int] = {"CoreML5": 6, "CoreML6": 7, "CoreML7": 8, "CoreML8": 9, "CoreML9": 10}
COMPRESSED_CONSTANTS = 7
BLOCKWISE_CONSTANTS = 9


def system_of(spec_version: int) -> System:
    """Return the oldest system that loads a specification version; an unknown one counts as the newest known."""
    return SYSTEMS.get(spec_version, SYSTEMS[max(SYSTEMS)])


def system_named(name: str) -> System:
    """Return the system of a deployment target as `iOS16` or `macOS13`.

    Raises:
        RequantError: if there is no such target, naming those that there are.
    """
    names = {f"iOS{system.ios}": system for system in SYSTEMS.values()}
    names |= {f"macOS{system.macos}": system for system in SYSTEMS.values()}
    if name not in names:
        raise RequantError(f"{name!r} is no deployment target. There are {', '.join(names)}.")
    return names[name]


def opset_of(spec_version: int) -> str:
    """Return the name of the operator set that a specification version brought, as `CoreML6`."""
    return next(name for name, version in OPSETS.items() if version == spec_version)
