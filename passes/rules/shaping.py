"""Operators with an entry per axis (Pad, Tile, Expand, Slice) or that read shapes, and lookups."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from .. import graph as g
from .relation import Arrangement, Form, Move, Relation, Site, arrangement, barrier


def permute_entries(move: Move, index: int, form: Form, halves: int = 1) -> None:
    """Reorder an input vector that has an entry per axis (or ``halves`` times that many)."""
    perm = form.perm
    assert perm is not None
    tensor = g.constant(move.node.inputs[index])
    if perm == tuple(range(len(perm))) or (tensor is not None and tensor.size == 0):
        return
    picks = [half * len(perm) + axis for half in range(halves) for axis in perm]
    if tensor is not None:
        array = tensor.numpy()
        g.set_input(move.node, index, move.edits.constant(array[picks], "entries", array.dtype))
    else:
        chosen = move.emit("Gather", [move.node.inputs[index], move.edits.constant(picks, "perm")], axis=0)
        g.set_input(move.node, index, chosen)


def expand(site: Site) -> Relation:
    """The target is aligned at the last axis, as in broadcasting."""
    length = site.shape(1)[0]
    if not length.static:
        return barrier(site.node, "the rank of its target is unknown")
    rank = max(site.rank, length.number)
    letters = tuple(range(rank))
    return Relation(
        (letters[rank - site.rank :], None),
        (letters,),
        whole=frozenset(letters),
        resized=frozenset(letters),
        broadcast=frozenset(letters),
    )


def move_expand(move: Move) -> None:
    missing = len(move.y.groups) - move.site.shape(1)[0].number
    if missing:
        ones = move.edits.constant([1] * missing, "ones")
        tensor = g.integers(move.node.inputs[1])
        padded = (
            move.edits.constant([1] * missing + tensor, "shape")
            if tensor is not None
            else move.emit("Concat", [ones, move.node.inputs[1]], axis=0)
        )
        g.set_input(move.node, 1, padded)
    permute_entries(move, 1, move.y)


def tile(site: Site) -> Relation:
    letters = tuple(range(site.rank))
    return Relation((letters, None), (letters,), whole=frozenset(letters), resized=frozenset(letters))


def move_tile(move: Move) -> None:
    permute_entries(move, 1, move.x)


def pad(site: Site) -> Relation:
    letters = tuple(range(site.rank))
    if site.has(3) and site.parameter("axes", 3) is None:
        return barrier(site.node, "its axes are computed")
    pads = full_pads(site)
    if pads is None:
        axes_given = site.has(3)
        if axes_given:
            return barrier(site.node, "its pads are computed, for some axes only")
        own = frozenset(letters)
    else:
        own = frozenset(a for a in letters if pads[a] or pads[a + site.rank])
    return Relation(site.ports(letters), (letters,), whole=own, resized=own)


def full_pads(site: Site) -> list[int] | None:
    """Begins, then ends, for every axis; None if they are computed."""
    pads, axes, rank = site.parameter("pads", 1), site.parameter("axes", 3), site.rank
    if pads is None or axes is None:
        return pads
    full = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        full[axis % rank] = pads[i]
        full[axis % rank + rank] = pads[i + len(axes)]
    return full


def move_pad(move: Move) -> None:
    pads, rank = full_pads(move.site), move.site.rank
    if pads is None:
        permute_entries(move, 1, move.x, halves=2)
        return
    begins, ends = (move.x.spread(half, 0) for half in (pads[:rank], pads[rank:]))
    move.set_parameter("pads", 1, [*begins, *ends])
    if move.site.has(3):
        g.set_input(move.node, 3, None)


def slice_axes(site: Site) -> list[int] | None:
    """The axes that a Slice names, or the first few; None if they are computed."""
    axes = site.parameter("axes", 3)
    if axes is None and not site.has(3):
        starts = site.parameter("starts", 1)
        if starts is not None:
            axes = list(range(len(starts)))
        elif site.shape(1)[0].static:
            axes = list(range(site.shape(1)[0].number))
    return None if axes is None else [axis % site.rank for axis in axes]


def slicing(site: Site) -> Relation:
    axes = slice_axes(site)
    if axes is None:
        return barrier(site.node, "its axes are computed")
    letters = tuple(range(site.rank))
    own = frozenset(axes)
    return Relation(site.ports(letters), (letters,), whole=own, resized=own)


def move_slice(move: Move) -> None:
    """Axes go where they are stored, in their order: starts, ends and steps stay as they are."""
    axes = slice_axes(move.site)
    assert axes is not None
    moved = [move.x.axis(axis) for axis in axes]
    if "starts" in move.node.attributes:
        g.set_attribute(move.node, "axes", moved)
    else:
        starts = move.node.inputs[1]
        assert starts is not None
        dtype = starts.dtype.numpy() if starts.dtype is not None else np.int64  # all four of one type
        g.set_input(move.node, 3, move.edits.constant(moved, "axes", dtype))


def center_crop_pad(site: Site) -> Relation:
    letters = tuple(range(site.rank))
    axes = site.attribute("axes")
    own = frozenset(letters if axes is None else (a % site.rank for a in axes))
    return Relation((letters, None), (letters,), whole=own, resized=own)


def move_center_crop_pad(move: Move) -> None:
    """The axes follow; where all sizes are known all are stated, as onnxruntime misplaces a few."""
    axes = move.site.attribute("axes")
    axes = list(range(move.site.rank)) if axes is None else [a % move.site.rank for a in axes]
    sizes, dims = g.integers(move.node.inputs[1]), move.site.shape(0)
    known = all(dims[a].static for a in range(len(dims)) if a not in axes)
    if sizes is not None and known and move.x.perm is not None:
        full = [sizes[axes.index(a)] if a in axes else dims[a].number for a in range(len(dims))]
        g.set_input(move.node, 1, move.edits.constant(move.x.spread(full, 1), "shape"))
        g.set_attribute(move.node, "axes", None)
        return
    g.set_attribute(move.node, "axes", [move.x.axis(axis) for axis in axes])


def gather(site: Site) -> Relation:
    """The axis is replaced, where it is, by the axes of the indices."""
    axis, extra = site.axis(0), len(site.shape(1))
    data = tuple(a if a <= axis else a + extra for a in range(site.rank))
    indices = tuple(range(axis + 1, axis + 1 + extra))
    block = {axis, *indices}

    def together(order: Arrangement) -> bool:
        places = [i for i, part in enumerate(order) if part.letter in block]
        return order[places[0]].letter == axis and places[-1] - places[0] + 1 == len(places)

    return Relation(
        (data, indices),
        ((*data[:axis], *indices, *data[axis + 1 :]),),
        whole=frozenset(block),
        allows=together,
    )


def move_gather(move: Move) -> None:
    g.set_attribute(move.node, "axis", move.x.axis(move.site.axis(0)))


def gather_nd(site: Site) -> Relation:
    """``batch indexed rest, batch free k -> batch free rest``: the rest may be stored in any order."""
    batch, data, indices = site.attribute("batch_dims", 0), site.rank, len(site.shape(1))
    depth = site.shape(1)[-1]
    if not depth.static:
        return barrier(site.node, "how many axes it indexes is computed")
    first = batch + depth.number
    free = tuple(range(first, first + indices - 1 - batch))
    k = first + len(free)
    rest = tuple(range(k + 1, k + 1 + data - first))
    leading = tuple(range(batch))
    return Relation(
        (tuple(range(first)) + rest, (*leading, *free, k)),
        ((*leading, *free, *rest),),
        whole=frozenset(range(k + 1)),
        allows=_begins_with(range(k + 1)),
    )


def scatter_nd(site: Site) -> Relation:
    """``indexed rest, free k, free rest -> indexed rest``: the rest may be stored in any order."""
    depth = site.shape(1)[-1]
    if not depth.static:
        return barrier(site.node, "how many axes it indexes is computed")
    first, free = depth.number, len(site.shape(1)) - 1
    k = first + free
    rest = tuple(range(k + 1, k + 1 + site.rank - first))
    indexed, frees = tuple(range(first)), tuple(range(first, k))
    return Relation(
        ((*indexed, *rest), (*frees, k), (*frees, *rest)),
        ((*indexed, *rest),),
        whole=frozenset(range(k + 1)),
        allows=_begins_with(range(k + 1)),
    )


def _begins_with(letters: Sequence[int]) -> Callable[[Arrangement], bool]:
    """A condition: these letters are the outermost stored, in this order."""
    first = arrangement(letters)
    return lambda order: order[: len(first)] == first


def shape(site: Site) -> Relation:
    """Shape speaks of the source's axes, whatever the layout."""
    letters = tuple(range(site.rank))
    return Relation((letters,), (None,), whole=frozenset(letters))


def move_shape(move: Move) -> None:
    rank = move.site.rank
    axes = list(range(rank))[slice(move.site.attribute("start", 0), move.site.attribute("end", None))]
    stored = [move.x.axis(axis) for axis in axes]
    if stored == axes:
        return
    for name in ("start", "end"):
        g.set_attribute(move.node, name, None)
    whole = move.emit("Shape", [move.node.inputs[0]])
    whole.shape, whole.dtype = ir.Shape([len(move.x.groups)]), ir.DataType.INT64
    move.node.op_type = "Gather"
    g.set_input(move.node, 0, whole)
    g.set_input(move.node, 1, move.edits.constant(stored, "axes"))
    g.set_attribute(move.node, "axis", 0)


def size(site: Site) -> Relation:
    return Relation((tuple(range(site.rank)),), (None,))


def constant_of_shape(site: Site) -> Relation:
    """Every element alike: any layout serves, and the shape follows."""
    (length,) = site.shape(0)
    if not length.static:
        return barrier(site.node, "the rank of its result is unknown")
    letters = tuple(range(length.number))
    whole = frozenset() if g.integers(site.node.inputs[0]) is not None else frozenset(letters)
    return Relation((None,), (letters,), whole=whole, resized=frozenset(letters))


def move_constant_of_shape(move: Move) -> None:
    if g.integers(move.node.inputs[0]) is None:
        permute_entries(move, 0, move.y)
    else:
        sizes = [dim.number for dim in move.y.stored.shape]
        g.set_input(move.node, 0, move.edits.constant(sizes, "shape"))


def one_hot(site: Site) -> Relation:
    """The new axis is placed by the layout; the others follow the indices."""
    rank = site.rank + 1
    axis = site.axis(-1, rank)
    letters = tuple(range(rank))
    own = frozenset({axis})
    return Relation((tuple(a for a in letters if a != axis), None, None), (letters,), whole=own, resized=own)


def move_one_hot(move: Move) -> None:
    (axis,) = move.relation.whole
    g.set_attribute(move.node, "axis", move.y.axis(axis))


def reverse_sequence(site: Site) -> Relation:
    """Batch and time must stay the first two."""
    letters = tuple(range(site.rank))
    return Relation(
        (letters, None), (letters,), whole=frozenset(letters[:2]), allows=_begins_with(letters[:2])
    )


def last_two_fixed(site: Site) -> Relation:
    """Trilu, Det: the last two axes are matrices."""
    letters = tuple(range(site.rank))
    tail = arrangement(letters[-2:])
    outputs = letters[:-2] if site.node.op_type == "Det" else letters
    return Relation(
        site.ports(letters),
        (outputs,),
        whole=frozenset(letters[-2:]),
        allows=lambda order: order[-2:] == tail,
    )
