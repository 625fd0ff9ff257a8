"""Layer normalisation and its kin: they normalise the trailing axes, which must stay the trailing ones."""

from __future__ import annotations

from .. import graph as g
from .axes import trailing
from .relation import Move, Relation, Site


def layer(site: Site) -> Relation:
    """Scale and bias have the trailing axes, in whatever order these are stored."""
    letters, axis = tuple(range(site.rank)), site.axis(-1)
    tail = letters[axis:]
    ports = [tail[len(tail) - len(site.shape(i)) :] if site.has(i) else None for i in (1, 2)]
    outputs = (letters, letters, letters)[: len(site.node.outputs)]
    return Relation(
        site.ports(letters, *ports),
        outputs,
        whole=frozenset(tail),
        resized=frozenset(tail),
        broadcast=frozenset(tail),
        allows=trailing(frozenset(tail)),
    )


def move_layer(move: Move) -> None:
    axis = move.site.axis(-1)
    g.set_attribute(move.node, "axis", min(move.x.axis(a) for a in range(axis, move.site.rank)))
