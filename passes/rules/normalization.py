"""Layer normalisation and its kin: they normalise the trailing axes, which must stay the trailing ones."""

from __future__ import annotations

from .. import graph as g
from ..algebra.layout import ONE
from .axes import trailing
from .relation import Move, Relation, Site, barrier


def layer(site: Site) -> Relation:
    """Scale and bias have the trailing axes, in whatever order these are stored, behind axes of 1."""
    letters, axis = tuple(range(site.rank)), site.axis(-1)
    tail = letters[axis:]
    ports = [letters[site.rank - len(site.shape(i)) :] if site.has(i) else None for i in (1, 2)]
    for index, port in zip((1, 2), ports, strict=True):
        more = [] if port is None else [d for a, d in zip(port, site.shape(index), strict=True) if a < axis]
        if any(dim != ONE for dim in more):
            return barrier(site.node, "its scale or bias has axes that it does not normalise")
    outputs = (letters, letters, letters)[: len(site.node.outputs)]
    return Relation(
        site.ports(letters, *ports),
        outputs,
        whole=frozenset(tail),
        resized=frozenset(tail),
        broadcast=frozenset(letters),
        allows=trailing(frozenset(tail)),
    )


def move_layer(move: Move) -> None:
    axis = move.site.axis(-1)
    g.set_attribute(move.node, "axis", min(move.x.axis(a) for a in range(axis, move.site.rank)))
