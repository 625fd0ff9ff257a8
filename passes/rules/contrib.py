"""Rows for operators of the domain com.microsoft, which onnxruntime's own tools write."""

from __future__ import annotations

from collections.abc import Callable

from .. import graph as g
from .elementwise import unary
from .relation import Arrangement, Move, Relation, Rule, Site

DOMAIN = "com.microsoft"


def pair(site: Site) -> Relation:
    """QLinearAdd, QLinearMul: the first and the fourth input, each before its scale and zero point."""
    shapes = {index: site.shape(index) for index in (0, 3)}
    rank = max(map(len, shapes.values()))
    letters = tuple(range(rank))
    ports = [letters[rank - len(shapes[i]) :] if i in shapes else None for i in range(len(site.node.inputs))]
    return Relation(tuple(ports), (letters,), broadcast=frozenset(letters))


def with_last_axis(site: Site) -> Relation:
    """BiasGelu, FastGelu: a bias along the last axis, which has to stay the last."""
    letters = tuple(range(site.rank))
    if not site.has(1):
        return unary(site)
    last = letters[-1]

    def stays(order: Arrangement) -> bool:
        return order[-1].letter == last

    return Relation(site.ports(letters, (last,)), (letters,), whole=frozenset({last}), allows=stays)


def concat(site: Site) -> Relation:
    """QLinearConcat: scale and zero point of the result, then each operand with its own."""
    rank = len(site.shape(2))
    letters, own = tuple(range(rank)), frozenset({site.axis(rank=rank)})
    ports = tuple(letters if index % 3 == 2 else None for index in range(len(site.node.inputs)))
    return Relation(ports, (letters,), whole=own, resized=own)


def move_concat(move: Move) -> None:
    (axis,) = move.relation.whole
    g.set_attribute(move.node, "axis", move.y.axis(axis))


def global_pool(site: Site) -> Relation:
    """QLinearGlobalAveragePool: channels are the second axis, or the last where it says so."""
    letters = tuple(range(site.rank))
    channels = _channels(site)
    image = frozenset(a for a in letters[1:] if a != channels)
    return Relation(
        site.ports(letters),
        (letters,),
        whole=frozenset(letters),
        resized=image,
        allows=_channels_first_or_last(channels),
    )


def _channels(site: Site) -> int:
    return site.rank - 1 if site.attribute("channels_last", 0) else 1


def _channels_first_or_last(channels: int) -> Callable[[Arrangement], bool]:
    def holds(order: Arrangement) -> bool:
        return order[0].letter == 0 and channels in (order[1].letter, order[-1].letter)

    return holds


def move_global_pool(move: Move) -> None:
    place = move.x.axis(_channels(move.site))
    g.set_attribute(move.node, "channels_last", int(place == move.site.rank - 1))


CONTRIB: dict[str, Rule] = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), Rule(pair)),
    **dict.fromkeys(("Gelu", "QuickGelu", "QLinearLeakyRelu", "QLinearSigmoid"), Rule(unary)),
    **dict.fromkeys(("BiasGelu", "FastGelu"), Rule(with_last_axis)),
    "QLinearConcat": Rule(concat, move_concat),
    "QLinearGlobalAveragePool": Rule(global_pool, move_global_pool),
}
