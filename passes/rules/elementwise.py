"""Operators that treat every element alike: any layout serves, all operands in the same one."""

from __future__ import annotations

from .. import graph as g
from .relation import Relation, Rule, Site, barrier


def broadcasting(site: Site, limit: int | None = None) -> Relation:
    """NumPy's broadcasting: shapes are aligned at their last axis.

    The first ``limit`` inputs take part (all, if not stated); the others are scalars.
    """
    count = len(site.node.inputs) if limit is None else limit
    operands = range(min(count, len(site.node.inputs)))
    shapes = [None if g.input_at(site.node, i) is None else site.shape(i) for i in operands]
    rank = max((len(shape) for shape in shapes if shape is not None), default=0)
    letters = tuple(range(rank))
    ports = (None if s is None else letters[rank - len(s) :] for s in shapes)
    return Relation(site.ports(*ports), (letters,) * len(site.node.outputs), broadcast=frozenset(letters))


def unary(site: Site) -> Relation:
    """The first input and every output alike; other inputs are scalars."""
    return broadcasting(site, 1)


def elementwise(*operators: str) -> dict[str, Rule]:
    """Rows for operators with any number of broadcast operands."""
    return dict.fromkeys(operators, Rule(broadcasting))


def on_first(*operators: str) -> dict[str, Rule]:
    """Rows for operators of one operand; other inputs are scalars that speak of no axis."""
    return dict.fromkeys(operators, Rule(unary))


def dropout(site: Site) -> Relation:
    """As at inference it passes its input on; in training it draws in the order of the elements."""
    mode = g.constant(g.input_at(site.node, 2))
    if site.has(2) and (mode is None or mode.numpy().any()):
        return barrier(site.node, "it draws random numbers in the source's order")
    return unary(site)


def like(site: Site) -> Relation:
    """CastLike: of its second input it reads the type alone, so any layout of that serves."""
    letters = tuple(range(site.rank))
    other = tuple(range(site.rank, site.rank + len(site.shape(1))))
    return Relation((letters, other), (letters,))
