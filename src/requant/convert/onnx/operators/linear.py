"""Products of matrices."""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import (
    Value,
    cast,
    is_known,
    kind_of,
    product_of,
    rank_of,
    reshaped,
    size_of,
    transposed,
    variable,
)
from requant.errors import RequantError


@operator("MatMul")
def matmul(node: Node) -> Value:
    """The product of the last two axes, the others broadcast; a vector counts as a row or a column."""
    x, y = node.tensor(0), node.tensor(1)
    kind = kind_of(x)
    return cast(product(cast(x, "float"), cast(y, "float")), kind)


def product(x: Value, y: Value) -> Value:
    """Return the product of two arrays as numpy's `matmul` has it."""
    row, column = rank_of(x) == 1, rank_of(y) == 1
    x = mb.expand_dims(x=x, axes=[0]) if row else x
    y = mb.expand_dims(x=y, axes=[1]) if column else y
    result = mb.matmul(x=x, y=y)
    gone = [*([-2] if row else []), *([-1] if column else [])]
    return mb.squeeze(x=result, axes=gone) if gone else result


@operator("Gemm")
def gemm(node: Node) -> Value:
    """`alpha * A * B + beta * C`, either of A and B transposed."""
    x, y, added = node.tensor(0), node.given(1), node.value(2)
    alpha, beta = np.float32(node.attribute("alpha", 1.0)), np.float32(node.attribute("beta", 1.0))
    turned_x, turned_y = bool(node.attribute("transA", 0)), bool(node.attribute("transB", 0))
    if kind_of(x) != "float":
        raise RequantError("it multiplies integers, which Core ML's linear layers do not")
    size = y.shape[0] if turned_y else y.shape[1]
    if is_known(y) and (added is None or is_known(added)) and _is_bias(added, size):
        x = mb.transpose(x=x, perm=[1, 0]) if turned_x else x
        weight = node.weight(alpha * (y if turned_y else y.T), 1)
        bias = None if added is None else node.weight(np.broadcast_to(beta * added.reshape(-1), (int(size),)), 2)
        return mb.linear(x=x, weight=weight, bias=bias)
    result = mb.matmul(x=x, y=node.tensor(1), transpose_x=turned_x, transpose_y=turned_y)
    result = result if alpha == 1 else mb.mul(x=result, y=alpha)
    if added is None:
        return result
    return mb.add(x=result, y=node.tensor(2) if beta == 1 else mb.mul(x=node.tensor(2), y=beta))


def _is_bias(added: Value | None, size: object) -> bool:
    """Return whether what is added is the same for each row."""
    return added is None or added.size == 1 or (added.size == size and added.shape[-1] == size)


@operator("Einsum")
def einsum(node: Node) -> Value:
    """Products summed over the axes that an equation does not keep, two arrays at a time.

    Raises:
        RequantError: if an array has a letter twice, which takes its diagonal.
    """
    values = [node.tensor(index) for index in range(len(node.inputs))]
    terms, kept = _terms(node.attribute("equation"), [rank_of(value) for value in values])
    if any(len(set(term)) != len(term) for term in terms):
        raise RequantError("it takes a diagonal (a letter that an array has twice), which Core ML has not")
    value, term = values[0], terms[0]
    for index in range(1, len(values)):
        later = set(kept).union(*terms[index + 1 :])
        goal = [letter for letter in dict.fromkeys([*term, *terms[index]]) if letter in later]
        value = _contracted(value, term, values[index], terms[index], goal)
        term = "".join(goal)
    gone = [axis for axis, letter in enumerate(term) if letter not in kept]
    value = mb.reduce_sum(x=value, axes=gone, keep_dims=False) if gone else value
    left = [letter for letter in term if letter in kept]
    value = transposed(value, [left.index(letter) for letter in kept])
    return mb.identity(x=value) if value is values[0] else value


def _terms(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return the letters of each array's axes and of the result's, an ellipsis written out in free letters."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    most = max((rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)), default=0)
    ellipsis = "".join(free[:most])
    whole = []
    for term, rank in zip(terms, ranks, strict=True):
        count = rank - len(term.replace("...", ""))
        whole.append(term.replace("...", ellipsis[most - count :]))
    if not arrow:
        letters = "".join(whole)
        right = "..." + "".join(
            sorted(each for each in set(letters) if letters.count(each) == 1 and each not in ellipsis)
        )
    return whole, right.replace("...", ellipsis)


def _contracted(x: Value, x_term: str, y: Value, y_term: str, goal: Sequence[str]) -> Value:
    """Return the product of two arrays, summed over what the goal does not have, with the goal's axes in its order."""
    x, x_term = _summed(x, x_term, set(goal) | set(y_term))
    y, y_term = _summed(y, y_term, set(goal) | set(x_term))
    both = [letter for letter in x_term if letter in y_term and letter in goal]
    over = [letter for letter in x_term if letter in y_term and letter not in goal]
    rows = [letter for letter in x_term if letter not in y_term]
    columns = [letter for letter in y_term if letter not in x_term]
    sizes = {letter: size_of(x, axis) for axis, letter in enumerate(x_term)}
    for axis, letter in enumerate(y_term):
        if sizes.get(letter, 1) == 1:
            sizes[letter] = size_of(y, axis)
    left = _arranged(x, x_term, sizes, (both, rows, over))
    right = _arranged(y, y_term, sizes, (both, over, columns))
    result = mb.matmul(x=left, y=right)
    letters = [*both, *rows, *columns]
    result = reshaped(result, [sizes[letter] for letter in letters])
    return transposed(result, [letters.index(letter) for letter in goal])


def _summed(x: Value, term: str, needed: set[str]) -> tuple[Value, str]:
    gone = [axis for axis, letter in enumerate(term) if letter not in needed]
    if not gone:
        return x, term
    return mb.reduce_sum(x=x, axes=gone, keep_dims=False), "".join(letter for letter in term if letter in needed)


def _arranged(x: Value, term: str, sizes: dict[str, object], groups: Sequence[Sequence[str]]) -> Value:
    """Return an array with three axes, each of which is a group of its axes."""
    order = [letter for group in groups for letter in group]
    moved = transposed(x, [term.index(letter) for letter in order])
    own = {letter: size_of(x, axis) for axis, letter in enumerate(term)}
    for axis, letter in enumerate(order):
        if own[letter] == 1 and sizes[letter] != 1:
            times = sizes[letter]
            reps = [times if index == axis else 1 for index in range(len(order))]
            moved = mb.tile(x=moved, reps=reps)
    return reshaped(variable(moved), [product_of([sizes[letter] for letter in group]) for group in groups])
