"""Operators that only rename factors: Reshape, Transpose and whatever is made of them.

They do not run in a layout at all: their result is another view of what they read, and whoever reads it
gets the shortest chain from how that is stored (``rewrite``). Where the sizes do not tell which factor
goes where, the operator stays as it is, in the source's order.
"""

from __future__ import annotations

import numpy as np

from .. import graph as g
from ..algebra.layout import ONE, Dim, Reshape, Shape, Step, Transpose, product
from .relation import Relation, Site, barrier


def opaque(site: Site) -> Relation:
    return barrier(site.node, "the sizes do not tell how its input's axes become its output's")


def rank(site: Site) -> int | None:
    """The rank of a view's result where its sizes are not known."""
    node = site.node
    if node.op_type == "Flatten":
        return 2
    if node.op_type == "Unsqueeze":
        axes = site.parameter("axes", 1)
        return None if axes is None or site.inputs[0] is None else site.rank + len(axes)
    if node.op_type == "Squeeze":
        axes = site.parameter("axes", 1)
        return None if axes is None or site.inputs[0] is None else site.rank - len(axes)
    target = site.inputs[1] if node.op_type == "Reshape" else None
    return target[0].number if target is not None and len(target) == 1 and target[0].static else None


def identity(site: Site) -> list[Step] | None:
    return []


def transpose(site: Site) -> list[Step] | None:
    return [Transpose(tuple(site.attribute("perm") or reversed(range(site.rank))))]


def flatten(site: Site) -> list[Step] | None:
    shape, axis = site.shape(0), site.attribute("axis", 1)
    axis = axis % site.rank if axis < 0 else axis
    return [Reshape((product(shape[:axis]), product(shape[axis:])))]


def squeeze(site: Site) -> list[Step] | None:
    shape, axes = site.shape(0), site.parameter("axes", 1)
    if axes is None:
        if site.has(1) or not all(dim.static for dim in shape):
            return None
        gone = {i for i, dim in enumerate(shape) if dim == ONE}
    else:
        gone = {axis % site.rank for axis in axes}
    if any(shape[axis] != ONE for axis in gone):
        return None
    return [Reshape(tuple(dim for i, dim in enumerate(shape) if i not in gone))]


def unsqueeze(site: Site) -> list[Step] | None:
    axes = site.parameter("axes", 1)
    if axes is None:
        return None
    rank = site.rank + len(axes)
    new, old = {axis % rank for axis in axes}, iter(site.shape(0))
    return [Reshape(tuple(ONE if i in new else next(old) for i in range(rank)))]


def reshape(site: Site) -> list[Step] | None:
    shape, target = site.shape(0), site.values(site.node.inputs[1])
    if target is None:
        return None
    copied = [
        shape[i] if dim.number == 0 and not site.attribute("allowzero", 0) and i < len(shape) else dim
        for i, dim in enumerate(target)
    ]
    resolved = resolve(product(shape), copied)
    return None if resolved is None else [Reshape(resolved)]


def gather(site: Site) -> list[Step] | None:
    """A Gather that picks all of its axis in order: so exporters write an as_strided that strides nothing.

    before:  x[2, 6] - Gather<axis = 1>([[0, 1, 2], [3, 4, 5]]) - y[2, 2, 3]
    after:   x - Reshape[2, 2, 3] - y

    What picks in another order stays a Gather, which runs in any layout that holds the axis whole.
    """
    axis, shape, indices = site.axis(0), site.shape(0), g.constant(site.node.inputs[1])
    size = shape[axis]
    if indices is None or not size.static or indices.size != size.number:
        return None
    if not np.array_equal(indices.numpy().reshape(-1) % size.number, np.arange(size.number)):
        return None
    return [Reshape((*shape[:axis], *site.shape(1), *shape[axis + 1 :]))]


def resolve(total: Dim, target: list[Dim]) -> Shape | None:
    """Replace the -1 of a Reshape's target; None unless the target provably has ``total`` elements."""
    unknown = Dim(-1)
    known = product(dim for dim in target if dim != unknown)
    if known.number <= 0 or target.count(unknown) > 1:
        return None
    rest = total.over(known)
    if rest is None or (unknown not in target and rest != ONE):
        return None
    return tuple(rest if dim == unknown else dim for dim in target)
