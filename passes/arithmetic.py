"""Shape arithmetic on symbols: what integer tensors such as a Reshape's computed target hold."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import sympy

from . import graph as g
from .layout import ONE, Dim
from .rules.relation import Site, UnknownRankError
from .symbols import expression, named

Integers = tuple[Dim, ...]
MAX_INTEGERS = 64
"""Longer integer tensors are data, not shapes."""

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


def _passed(site: Site, values: Values) -> Integers | None:
    return values(site.node.inputs[0])


def _integral_cast(site: Site, values: Values) -> Integers | None:
    integral = ir.DataType(site.attribute("to", 1)).is_integer()
    return values(site.node.inputs[0]) if integral else None


def _shape(site: Site, values: Values) -> Integers | None:
    return site.shape(0)[slice(site.attribute("start", 0), site.attribute("end", None))]


def _size(site: Site, values: Values) -> Integers | None:
    total = ONE
    for dim in site.shape(0):
        total = total * dim
    return (total,)


def _gather(site: Site, values: Values) -> Integers | None:
    data, indices = values(site.node.inputs[0]), values(site.node.inputs[1])
    if data is None or indices is None or len(site.shape(0)) != 1:
        return None
    if not all(i.static and -len(data) <= i.number < len(data) for i in indices):
        return None
    return tuple(data[i.number] for i in indices)


def _slice(site: Site, values: Values) -> Integers | None:
    data = values(site.node.inputs[0])
    starts, ends = site.parameter("starts", 1), site.parameter("ends", 2)
    steps = site.parameter("steps", 4) or ([1] if not site.has(4) else None)
    if data is None or starts is None or ends is None or steps is None or len(starts) != 1:
        return None
    stop = ends[0] if steps[0] > 0 or ends[0] >= -len(data) else None
    return data[starts[0] : stop : steps[0]]


def _concat(site: Site, values: Values) -> Integers | None:
    parts = [values(v) for v in site.node.inputs]
    if any(part is None for part in parts):
        return None
    return tuple(dim for part in parts for dim in part or ())


def _binary(
    combine: Callable[[Dim, Dim], Dim | None],
) -> Fold:
    def fold(site: Site, values: Values) -> Integers | None:
        left, right = values(site.node.inputs[0]), values(site.node.inputs[1])
        if left is None or right is None or 1 not in (len(left), len(right), 1 + len(left) - len(right)):
            return None
        size = max(len(left), len(right))
        pairs = zip(
            left * (size if len(left) == 1 else 1),
            right * (size if len(right) == 1 else 1),
            strict=True,
        )
        found = [combine(a, b) for a, b in pairs]
        if any(dim is None for dim in found):
            return None
        return tuple(dim for dim in found if dim is not None)

    return fold


def _add(a: Dim, b: Dim) -> Dim | None:
    return Dim(a.number + b.number) if a.static and b.static else named(expression(a) + expression(b))


def _sub(a: Dim, b: Dim) -> Dim | None:
    if a.static and b.static:
        return Dim(a.number - b.number)
    return named(expression(a) - expression(b))


def _mul(a: Dim, b: Dim) -> Dim:
    return a * b


def _div(a: Dim, b: Dim) -> Dim | None:
    if b.number <= 0 or a.number < 0:
        return None
    if a.static and b.static:
        return Dim(a.number // b.number)
    exact = a.over(b)
    return exact if exact is not None else named(sympy.floor(expression(a) / expression(b)))


def _equal(a: Dim, b: Dim) -> Dim | None:
    """1 or 0, where that is certain: a size is never negative."""
    if a.static and b.static:
        return Dim(int(a == b))
    negative = (a.static and a.number < 0 < b.number) or (b.static and b.number < 0 < a.number)
    return Dim(0) if negative else Dim(1) if a == b else None


def _where(site: Site, values: Values) -> Integers | None:
    parts = [values(value) for value in site.node.inputs]
    if any(part is None for part in parts):
        return None
    condition, yes, no = (part or () for part in parts)
    size = max(len(condition), len(yes), len(no))
    if any(len(part) not in (1, size) for part in (condition, yes, no)):
        return None
    wide = [part * (size if len(part) == 1 else 1) for part in (condition, yes, no)]
    return tuple(a if c.number else b for c, a, b in zip(*wide, strict=True))


def _filled(site: Site, values: Values) -> Integers | None:
    length = values(site.node.inputs[0])
    value = site.attribute("value")
    if length is None or len(length) != 1 or not length[0].static or length[0].number > MAX_INTEGERS:
        return None
    if value is None or not value.dtype.is_integer():
        return None
    return (Dim(int(value.numpy().reshape(-1)[0])),) * length[0].number


FOLDS: dict[str, Fold] = {
    **dict.fromkeys(("Identity", "Unsqueeze", "Squeeze"), _passed),
    "Reshape": lambda site, values: (
        _passed(site, values) if values(site.node.inputs[1]) in ((Dim(-1),), (), (ONE,)) else None
    ),
    "Cast": _integral_cast,
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Add": _binary(_add),
    "Sub": _binary(_sub),
    "Mul": _binary(_mul),
    "Div": _binary(_div),
    "Equal": _binary(_equal),
    "Where": _where,
}
