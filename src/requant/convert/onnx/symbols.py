"""Sizes that are left open, followed as symbols through what is computed of them.

coremltools follows them through shapes and their parts, not through arithmetic. Where a network doubles a size by
computing with its shape, the factor of two is only found by following that too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy  # type: ignore[import-untyped]

from requant.convert.onnx.values import Array, Value, is_known, is_variable


def symbols_of(value: Value, followed: Mapping[int, Array]) -> Array | None:
    """Return numbers and symbols that a value consists of, None where they are not known."""
    if value is None:
        return None
    if is_known(value):
        exact = [int(each) if float(each).is_integer() else sympy.Rational(str(each)) for each in value.reshape(-1)]
        return _array(exact).reshape(value.shape)
    if id(value) in followed:
        return followed[id(value)]
    return None if value.sym_val is None else np.array(value.sym_val, dtype=object)


def follow(kind: str, given: Sequence[Value | None], result: Value, followed: dict[int, Array]) -> None:
    """Note the symbols of a result that coremltools does not follow, or gives a new symbol."""
    if kind not in _FOLLOWED or not is_variable(result) or len(result.shape) > 1:
        return
    if result.sym_val is not None and not any(id(value) in followed for value in given):
        return
    arrays = [symbols_of(value, followed) for value in given if value is not None]
    found = _FOLLOWED[kind](arrays) if all(array is not None for array in arrays) else None
    if found is not None:
        followed[id(result)] = found


def _array(elements: Sequence[Any]) -> Array:
    found = np.empty(len(elements), dtype=object)
    found[:] = elements
    return found


def _quotient(arrays: Sequence[Any]) -> Any:
    """The quotient of sizes, without what is after the point."""
    return np.frompyfunc(lambda a, b: sympy.floor(sympy.sympify(a) / b), 2, 1)(*arrays)


def _gathered(arrays: Sequence[Any]) -> Any:
    return np.take(arrays[0], arrays[1].astype(np.int64), axis=0)


def _sliced(arrays: Sequence[Any]) -> Any:
    start, end = (int(each.reshape(-1)[0]) for each in arrays[1:3])
    step = int(arrays[4].reshape(-1)[0]) if len(arrays) > 4 else 1
    return arrays[0][start:end:step]


def _whole(arrays: Sequence[Any]) -> Any:
    return np.frompyfunc(lambda each: sympy.floor(sympy.sympify(each)) if _has_fraction(each) else each, 1, 1)(
        arrays[0]
    )


def _has_fraction(each: Any) -> bool:
    return any(number.q != 1 for number in sympy.sympify(each).atoms(sympy.Rational))


_FOLLOWED: dict[str, Callable[[Sequence[Any]], Any]] = {
    "Add": lambda arrays: arrays[0] + arrays[1],
    "Sub": lambda arrays: arrays[0] - arrays[1],
    "Mul": lambda arrays: arrays[0] * arrays[1],
    "Div": _quotient,
    "Cast": lambda arrays: arrays[0],
    "Floor": _whole,
    "Concat": lambda arrays: np.concatenate([np.atleast_1d(array) for array in arrays]),
    "Unsqueeze": lambda arrays: np.atleast_1d(arrays[0]),
    "Squeeze": lambda arrays: arrays[0].reshape(()) if arrays[0].size == 1 else None,
    "Gather": _gathered,
    "Slice": _sliced,
}
