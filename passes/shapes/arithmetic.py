"""Shape arithmetic on symbols: what integer tensors such as a Reshape's computed target hold."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
import sympy
from numpy.typing import NDArray

from .. import graph as g
from ..algebra.layout import Dim, product
from ..algebra.symbols import difference, expression, least, named, nonnegative, total
from ..rules.relation import Site, UnknownRankError

Integers = tuple[Dim, ...]
"""The elements of an integer tensor, row-major."""
MAX_INTEGERS = 64
"""Longer integer tensors are data, not shapes."""

Places = NDArray[Any]
Values = Callable[[ir.Value | None], Integers | None]


Fold = Callable[[Site, Values], Integers | None]


def arithmetic(site: Site, values: Values) -> Integers | None:
    """The integers of a node's first output, where it takes part in shape arithmetic."""
    fold = FOLDS.get(site.node.op_type) if site.node.domain in g.STANDARD else None
    if fold is None:
        return None
    try:
        return fold(site, values)
    except UnknownRankError:
        return None


def _places(site: Site, index: int, count: int) -> Places | None:
    """The row-major index of every element of an input, in its shape."""
    shape = site.shape(index)
    if len(shape) < 2:
        return np.arange(count).reshape((count,) if shape else ())
    sizes = [dim.number for dim in shape if dim.static]
    return np.arange(count).reshape(sizes) if len(sizes) == len(shape) and prod(sizes) == count else None


def _moved(move: Callable[[Site, Values, Places], Places | None]) -> Fold:
    """A fold that takes the first input's integers elsewhere."""

    def fold(site: Site, values: Values) -> Integers | None:
        data = values(site.node.inputs[0])
        places = None if data is None else _places(site, 0, len(data))
        found = None if places is None else move(site, values, places)
        return None if found is None or data is None else tuple(data[i] for i in found.reshape(-1))

    return fold


def _passed(site: Site, values: Values) -> Integers | None:
    return values(site.node.inputs[0])


def _integral_cast(site: Site, values: Values) -> Integers | None:
    integral = ir.DataType(site.attribute("to", 1)).is_integer()
    return values(site.node.inputs[0]) if integral else None


def _shape(site: Site, values: Values) -> Integers | None:
    return site.shape(0)[slice(site.attribute("start", 0), site.attribute("end", None))]


def _size(site: Site, values: Values) -> Integers | None:
    return (product(site.shape(0)),)


def _transpose(site: Site, values: Values, data: Places) -> Places | None:
    return np.transpose(data, site.attribute("perm"))


def _gather(site: Site, values: Values, data: Places) -> Places | None:
    indices, axis = values(site.node.inputs[1]), site.axis(0)
    if indices is None or not data.ndim:
        return None
    if not all(i.static and -data.shape[axis] <= i.number < data.shape[axis] for i in indices):
        return None
    numbers = np.array([i.number for i in indices], np.int64)
    places = _places(site, 1, len(indices))
    return None if places is None else np.take(data, numbers[places], axis=axis)


def _slice(site: Site, values: Values, data: Places) -> Places | None:
    starts, ends = site.parameter("starts", 1), site.parameter("ends", 2)
    axes = site.parameter("axes", 3) or ([0] if not site.has(3) else None)
    steps = site.parameter("steps", 4) or ([1] if not site.has(4) else None)
    if starts is None or ends is None or axes is None or steps is None or not data.ndim:
        return None
    if not len(starts) == len(ends) == len(axes) == len(steps) == 1:
        return None
    axis = axes[0] % data.ndim
    stop = ends[0] if steps[0] > 0 or ends[0] >= -data.shape[axis] else None
    return data[(slice(None),) * axis + (slice(starts[0], stop, steps[0]),)]


def _concat(site: Site, values: Values) -> Integers | None:
    data: list[Dim] = []
    parts: list[Places] = []
    for index, value in enumerate(site.node.inputs):
        found = values(value)
        places = None if found is None else _places(site, index, len(found))
        if found is None or places is None or not places.ndim:
            return None
        parts.append(places + len(data))
        data += found
    return tuple(data[i] for i in np.concatenate(parts, axis=site.axis(0)).reshape(-1))


def _binary(
    combine: Callable[[Dim, Dim], Dim | None],
) -> Fold:
    def fold(site: Site, values: Values) -> Integers | None:
        spread = _broadcast(site, values)
        if spread is None:
            return None
        found = [combine(a, b) for a, b in zip(*spread, strict=True)]
        if any(dim is None for dim in found):
            return None
        return tuple(dim for dim in found if dim is not None)

    return fold


def _broadcast(site: Site, values: Values) -> list[Integers] | None:
    """The integers of all inputs, broadcast."""
    data, places = [], []
    for index, value in enumerate(site.node.inputs):
        found = values(value)
        there = None if found is None else _places(site, index, len(found))
        if found is None or there is None:
            return None
        data.append(found)
        places.append(there)
    try:
        wide = np.broadcast_arrays(*places)
    except ValueError:
        return None
    return [tuple(d[i] for i in p.reshape(-1)) for d, p in zip(data, wide, strict=True)]


def _mul(a: Dim, b: Dim) -> Dim:
    return a * b if a.number and b.number else Dim(0)


def _div(a: Dim, b: Dim) -> Dim | None:
    """The quotient.

    ONNX rounds it towards 0, so it is the floor of numbers that are not negative only. A size less a
    constant counts as one: a model does not accept sizes at which that is negative.
    """
    if b.number <= 0 or a.number < 0:
        return None
    if a.static and b.static:
        return Dim(a.number // b.number)
    exact = a.over(b)
    if exact is not None or least(expression(a)) is None or not nonnegative(expression(b)):
        return exact
    return named(sympy.floor(expression(a) / expression(b)))


def _equal(a: Dim, b: Dim) -> Dim | None:
    """1 or 0, where that is certain: a size is never negative."""
    if a.static and b.static:
        return Dim(int(a == b))
    negative = (a.static and a.number < 0 < b.number) or (b.static and b.number < 0 < a.number)
    return Dim(0) if negative else Dim(1) if a == b else None


def _where(site: Site, values: Values) -> Integers | None:
    spread = _broadcast(site, values)
    if spread is None:
        return None
    return tuple(yes if condition.number else no for condition, yes, no in zip(*spread, strict=True))


def _filled(site: Site, values: Values) -> Integers | None:
    length = values(site.node.inputs[0])
    value = site.attribute("value")
    if length is None or len(length) != 1 or not length[0].static or length[0].number > MAX_INTEGERS:
        return None
    if value is None or not value.dtype.is_integer():
        return None
    return (Dim(int(value.numpy().reshape(-1)[0])),) * length[0].number


FOLDS: dict[str, Fold] = {
    **dict.fromkeys(("Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten"), _passed),
    "Cast": _integral_cast,
    "Shape": _shape,
    "Size": _size,
    "Transpose": _moved(_transpose),
    "Gather": _moved(_gather),
    "Slice": _moved(_slice),
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Add": _binary(total),
    "Sub": _binary(difference),
    "Mul": _binary(_mul),
    "Div": _binary(_div),
    "Equal": _binary(_equal),
    "Where": _where,
}
