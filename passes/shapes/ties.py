"""Values that control flow makes one: they have one layout on every side of a body's boundary.

An If's output is its branches' outputs; a Loop's state is the initial value, the body's input, the
body's output and the final value. Each such value is one node of the layout problem, a :class:`Tie`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import Shape
from ..rules.relation import Letters, Relation, arrangement

Read = tuple[ir.Node, int] | tuple[ir.Graph, int]
"""Where a tie reads a value: an input of a node, or an output of a body."""


@dataclass(eq=False)
class Tie:
    """One value under several names. It looks like a node: ``inputs`` are read, ``outputs`` are made."""

    owner: ir.Node
    reads: list[Read]
    outputs: list[ir.Value]
    sliced: tuple[int, ...] = ()
    """Ports (inputs first) without the iteration axis that the others have in front."""

    @property
    def inputs(self) -> list[ir.Value | None]:
        return [
            place.inputs[index] if isinstance(place, ir.Node) else place.outputs[index]
            for place, index in self.reads
        ]

    @property
    def name(self) -> str | None:
        return self.owner.name

    @property
    def op_type(self) -> str:
        return self.owner.op_type

    @property
    def domain(self) -> str:
        return self.owner.domain

    def relation(self, shape: Callable[[ir.Value], Shape | None]) -> Relation | None:
        """All ports alike; None if their ranks are unknown or contradict each other."""
        values = [*self.inputs, *self.outputs]
        shapes = [None if value is None else shape(value) for value in values]
        ranks = {
            len(dims) + (port in self.sliced) if dims is not None else -1 for port, dims in enumerate(shapes)
        }
        if len(ranks) != 1 or -1 in ranks:
            return None
        letters = tuple(range(ranks.pop()))
        ports: list[Letters | None] = [
            letters[1:] if p in self.sliced else letters for p in range(len(values))
        ]
        first = arrangement(letters[:1])
        return Relation(
            tuple(ports[: len(self.reads)]),
            tuple(ports[len(self.reads) :]),
            whole=frozenset(letters),
            resized=frozenset(letters),
            allows=(lambda order: order[:1] == first) if self.sliced else None,
        )


def ties(node: ir.Node) -> Iterator[Tie]:
    """The ties of an If, a Loop or a Scan."""
    if node.domain not in g.STANDARD:
        return
    bodies = list(g.subgraphs(node))
    if node.op_type == "If":
        for index, output in enumerate(node.outputs):
            yield Tie(node, [(body, index) for body in bodies], [output])
    elif node.op_type == "Loop":
        yield from _iterations(node, bodies[0], len(bodies[0].inputs) - 2, before=2, extra=1)
    elif node.op_type == "Scan" and _plain_scan(node):
        scanned = int(g.attribute(node, "num_scan_inputs"))
        yield from _iterations(node, bodies[0], len(bodies[0].inputs) - scanned, before=0, extra=0)
        for index in range(len(bodies[0].inputs) - scanned, len(bodies[0].inputs)):
            yield Tie(node, [(node, index)], [bodies[0].inputs[index]], sliced=(1,))


def _iterations(node: ir.Node, body: ir.Graph, states: int, before: int, extra: int) -> Iterator[Tie]:
    for k in range(states):
        reads: list[Read] = [(node, before + k), (body, extra + k)]
        yield Tie(node, reads, [body.inputs[before + k], node.outputs[k]])
    for k in range(states, len(node.outputs)):
        yield Tie(node, [(body, extra + k)], [node.outputs[k]], sliced=(0,))


def _plain_scan(node: ir.Node) -> bool:
    """Whether a Scan runs along first axes only (before opset 9 it also had a batch axis)."""
    axes = [*g.attribute(node, "scan_input_axes", []), *g.attribute(node, "scan_output_axes", [])]
    return g.opset_of(node) >= 9 and not any(axes)
