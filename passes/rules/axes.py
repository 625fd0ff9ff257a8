"""Operators with an axis or a list of axes: any layout serves, and the axes follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import graph as g
from ..algebra.layout import ONE
from .relation import Arrangement, Move, Relation, Rule, Site, barrier


def all_alike(site: Site, axis: int) -> Relation:
    """Every port has the same axes; one of them is the operator's own."""
    letters = tuple(range(site.rank))
    own = frozenset({axis})
    outputs = (letters,) * len(site.node.outputs)
    return Relation(site.ports(letters), outputs, whole=own, resized=own)


def along(default: int | None = None) -> Rule:
    """A row for an operator of one operand with the attribute ``axis``."""
    return Rule(lambda site: all_alike(site, site.axis(default)), move_axis)


def move_axis(move: Move) -> None:
    """The attribute ``axis`` goes where its axis is stored."""
    (letter,) = move.relation.whole
    port = move.relation.inputs[0]
    assert port is not None
    g.set_attribute(move.node, "axis", move.x.axis(port.index(letter)))


def concat(site: Site) -> Relation:
    letters = tuple(range(site.rank))
    own = frozenset({site.axis()})
    return Relation((letters,) * len(site.node.inputs), (letters,), whole=own, resized=own)


def softmax(site: Site, opset: int | None = None, default: int = 1) -> Relation:
    """Since opset 13 along one axis; before, over all axes from ``axis`` on, which must stay the last."""
    if (opset or site.opset) >= 13:
        return all_alike(site, site.axis(-1))
    letters = tuple(range(site.rank))
    axis = site.axis(default)
    return Relation(
        site.ports(letters),
        (letters,),
        allows=trailing(frozenset(letters[axis:])),
        whole=frozenset({axis}),
    )


def trailing(letters: frozenset[int]) -> Callable[[Arrangement], bool]:
    """A condition: these letters, in any order, are the innermost stored."""

    def holds(order: Arrangement) -> bool:
        tail = [part.letter in letters for part in order]
        return tail == sorted(tail)

    return holds


def move_softmax(move: Move, opset: int | None = None, default: int = 1) -> None:
    if (opset or move.site.opset) >= 13:
        move_axis(move)
        return
    axis = move.site.axis(default)
    g.set_attribute(move.node, "axis", min(move.x.axis(a) for a in range(axis, move.site.rank)))


def cumulative(site: Site) -> Relation:
    """CumSum and its like: the axis is an input."""
    axis = g.integers(g.input_at(site.node, 1))
    if axis is None:
        return barrier(site.node, "its axis is computed")
    return all_alike(site, axis[0] % site.rank)


def move_cumulative(move: Move) -> None:
    (axis,) = move.relation.whole
    tensor = g.constant(move.node.inputs[1])
    assert tensor is not None
    moved = np.full(tensor.shape.numpy(), move.x.axis(axis), dtype=tensor.dtype.numpy())
    g.set_input(move.node, 1, move.edits.constant(moved, "axis", moved.dtype))


def reduction(site: Site) -> Relation:
    """Reduce*: ``axes`` is an attribute, and an input since opset 13 (ReduceSum) or 18."""
    rank, letters = site.rank, tuple(range(site.rank))
    axes = site.parameter("axes", 1)
    if axes is None and site.has(1):
        if not site.attribute("keepdims", 1):
            return barrier(site.node, "its axes are computed")
        return Relation(site.ports(letters), (letters,), frozenset(letters), frozenset(letters))
    if not axes:
        axes = [] if site.attribute("noop_with_empty_axes", 0) else list(letters)
    return _without(site, frozenset(axis % rank for axis in axes) if rank else frozenset())


def extremum(site: Site) -> Relation:
    """ArgMax and ArgMin: one axis goes."""
    return _without(site, frozenset({site.axis(0)}))


def _without(site: Site, gone: frozenset[int]) -> Relation:
    letters = tuple(range(site.rank))
    left = letters if site.attribute("keepdims", 1) else tuple(a for a in letters if a not in gone)
    return Relation(site.ports(letters), (left,), whole=gone, resized=gone)


def move_axes(move: Move) -> None:
    """The list ``axes`` goes where its axes are stored; without one the operator means all axes."""
    if move.site.parameter("axes", 1):
        move.set_parameter("axes", 1, sorted(move.x.axis(axis) for axis in move.relation.whole))
    elif move.site.has(1) and move.site.parameter("axes", 1) is None:
        table = move.edits.constant([move.x.axis(a) for a in range(move.site.rank)], "stored_axes")
        g.set_input(move.node, 1, move.emit("Gather", [table, move.node.inputs[1]], axis=0))


def mean_variance(site: Site) -> Relation:
    letters = tuple(range(site.rank))
    axes = frozenset(a % site.rank for a in site.attribute("axes", [0, 2, 3]))
    return Relation((letters,), (letters,), whole=axes)


def move_mean_variance(move: Move) -> None:
    g.set_attribute(move.node, "axes", sorted(move.x.axis(a) for a in move.relation.whole))


def compress(site: Site) -> Relation:
    if site.attribute("axis") is None:
        return barrier(site.node, "without an axis it reads the elements in the source's order")
    return all_alike(site, site.axis())


def unique(site: Site) -> Relation:
    """Unique along an axis sorts slices by their elements, read in the source's order of the other axes."""
    if site.attribute("axis") is None:
        return barrier(site.node, "without an axis it reads the elements in the source's order")
    letters, own = tuple(range(site.rank)), frozenset({site.axis()})
    outputs = (letters, None, None, None)[: len(site.node.outputs)]
    if not site.attribute("sorted", 1):
        return Relation(site.ports(letters), outputs, whole=own, resized=own)

    def in_order(order: Arrangement) -> bool:
        others = [part.letter for part in order if part.letter not in own]
        return others == sorted(others)

    return Relation(site.ports(letters), outputs, whole=frozenset(letters), resized=own, allows=in_order)


def move_unique(move: Move) -> None:
    g.set_attribute(move.node, "axis", move.x.axis(move.site.axis()))


def dft(site: Site) -> Relation:
    """The axis is an attribute, and an input since opset 20; real and imaginary part stay the last."""
    axis = _dft_axis(site)
    if axis is None:
        return barrier(site.node, "its axis is computed")
    letters = tuple(range(site.rank))
    own = frozenset({axis, letters[-1]})
    return Relation(
        site.ports(letters),
        (letters,),
        whole=own,
        resized=own,
        allows=lambda order: order[-1].letter == letters[-1],
    )


def _dft_axis(site: Site) -> int | None:
    if site.opset < 20:
        return site.axis(1)
    axis = site.parameter("", 2) if site.has(2) else [-2]
    return axis[0] % site.rank if axis else None


def move_dft(move: Move) -> None:
    axis = _dft_axis(move.site)
    assert axis is not None
    if move.site.opset < 20:
        g.set_attribute(move.node, "axis", move.x.axis(axis))
    else:
        g.set_input(move.node, 2, move.edits.constant(move.x.axis(axis), "axis"))


def elements(site: Site) -> Relation:
    """GatherElements, ScatterElements (once called Scatter): all operands have the same axes."""
    letters = tuple(range(site.rank))
    return Relation(
        (letters,) * len(site.node.inputs),
        (letters,),
        whole=frozenset(letters),
        resized=frozenset(letters) if site.node.op_type == "GatherElements" else frozenset(),
    )


def move_elements(move: Move) -> None:
    g.set_attribute(move.node, "axis", move.x.axis(move.site.axis(0)))


def quantize(site: Site) -> Relation:
    """QuantizeLinear, DequantizeLinear: scales per tensor, per axis, or per block of an axis."""
    letters = tuple(range(site.rank))
    scale_rank = len(site.shape(1))
    one = site.shape(1) == (ONE,) and not site.attribute("block_size", 0)  # of the tensor, as a scalar
    by_axis = site.opset >= 13 or site.node.domain not in g.STANDARD
    if scale_rank == 0 or one or (scale_rank == 1 and not by_axis):
        return Relation(site.ports(letters), (letters,))
    axis = site.axis(1)
    own = frozenset({axis})
    port = letters if scale_rank == site.rank and site.attribute("block_size", 0) else (axis,)
    return Relation(site.ports(letters, port, port), (letters,), whole=own, resized=own)


def move_quantize(move: Move) -> None:
    if move.relation.whole:
        (axis,) = move.relation.whole
        g.set_attribute(move.node, "axis", move.x.axis(axis))


def quantize_dynamically(site: Site) -> Relation:
    """DynamicQuantizeLinear: one scale and one zero point, found from all elements."""
    letters = tuple(range(site.rank))
    return Relation((letters,), (letters, None, None)[: len(site.node.outputs)])
