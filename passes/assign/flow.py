"""Which value is a view of which: chains of Reshape and Transpose seen as one.

A view is never stored for its own sake. What reads it gets it from its *root*, the value at the start of
the chain, and an order of a view's elements is told as an order of its root's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import (
    Factor,
    Order,
    Shape,
    Step,
    Transpose,
    after_transpose,
    before_transpose,
    identity,
    invert,
    is_empty,
    shape_after,
)
from ..rules import views
from ..rules.relation import Relation
from ..shapes.infer import Shapes
from ..shapes.ties import Read, Tie, ties

Operation = ir.Node | Tie


@dataclass(frozen=True)
class View:
    """A value as a view of its root: each step with the shape that it starts from."""

    root: ir.Value
    steps: tuple[tuple[Shape, Step], ...] = ()

    def to_root(self, order: Order) -> Order | None:
        """An order of this value's elements, told as an order of its root's."""
        found: Order | None = order
        for shape, step in reversed(self.steps):
            if isinstance(step, Transpose) and found is not None:
                found = before_transpose(found, shape, step.perm)
        return found

    def from_root(self, order: Order) -> Order | None:
        """An order of the root's elements, told as an order of this value's."""
        found: Order | None = order
        for shape, step in self.steps:
            if isinstance(step, Transpose) and found is not None:
                found = after_transpose(found, shape, step.perm)
        return found

    @property
    def only_transposes(self) -> bool:
        """Whether the root's axes are this value's axes, in some order."""
        return all(isinstance(step, Transpose) for _, step in self.steps)

    def parts_from_root(self, parts: list[Factor]) -> list[Factor]:
        """Axes of the root as axes of this value, where only Transposes lie between them."""
        for _, step in self.steps:
            assert isinstance(step, Transpose)
            inverse = invert(step.perm)
            parts = [Factor(inverse[f.axis], f.size, f.stride) for f in parts]
        return parts

    def parts_to_root(self, parts: list[Factor]) -> list[Factor]:
        """Axes of this value as axes of the root, where only Transposes lie between them."""
        for _, step in reversed(self.steps):
            assert isinstance(step, Transpose)
            parts = [Factor(step.perm[f.axis], f.size, f.stride) for f in parts]
        return parts


@dataclass
class Use:
    """One place that reads a root: an input of a node, or an output of the graph (``node`` is None)."""

    view: View
    value: ir.Value
    node: Operation | None
    index: int


@dataclass
class Flow:
    """The graph without its views: roots, and who reads them through which view."""

    model: ir.Model
    shapes: Shapes
    views: dict[ir.Value, View] = field(default_factory=dict)
    uses: dict[ir.Value, list[Use]] = field(default_factory=dict)
    nodes: list[Operation] = field(default_factory=list)
    """All nodes that are no views, those of bodies after their owner, and the ties of control flow."""
    producers: dict[ir.Value, tuple[Tie, int]] = field(default_factory=dict)
    """Values that a tie makes."""
    tied: set[Read] = field(default_factory=set)
    """What ties read in their owners' place."""
    body_outputs: list[tuple[ir.Graph, int]] = field(default_factory=list)

    def producer(self, root: ir.Value) -> tuple[Operation, int] | None:
        """Who makes a root, and as which output; None for inputs and constants."""
        if root in self.producers:
            return self.producers[root]
        node = root.producer()
        return None if node is None else (node, root.index() or 0)

    def relation(self, operation: Operation) -> Relation:
        """How the axes of an operation relate."""
        return self.shapes.relations[operation]

    def view(self, value: ir.Value) -> View:
        return self.views.get(value) or View(value)

    def shape(self, value: ir.Value) -> Shape | None:
        return self.shapes.shape(value)


def analyse(model: ir.Model, shapes: Shapes) -> Flow:
    """Find every value's root and every root's uses."""
    flow = Flow(model, shapes)
    for graph in _graphs(model.graph):
        for node in graph:
            steps = shapes.views.get(node)
            if steps is None or not _resolve(flow, node, steps):
                if steps is not None:
                    shapes.relations[node] = views.opaque(shapes.sites[node])
                flow.nodes.append(node)
        if graph is not model.graph:
            flow.body_outputs += [(graph, i) for i in range(len(graph.outputs))]
    live = _live(flow)
    flow.nodes = [node for node in flow.nodes if node in live]
    _tie(flow)
    for operation in flow.nodes:
        for index, value in enumerate(operation.inputs):
            if value is not None and value.name and (operation, index) not in flow.tied:
                _use(flow, value, operation, index)
    flow.body_outputs = [place for place in flow.body_outputs if place not in flow.tied]
    for graph, index in flow.body_outputs:
        _use(flow, graph.outputs[index], None, -1)
    for index, value in enumerate(model.graph.outputs):
        _use(flow, value, None, index)
    return flow


def _graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """Bodies come after the graph around them, so that what they capture is known."""
    yield graph
    for node in graph:
        for body in g.subgraphs(node):
            yield from _graphs(body)


def _tie(flow: Flow) -> None:
    """Add the ties of control flow."""
    for node in list(flow.nodes):
        for tie in ties(node) if isinstance(node, ir.Node) else ():
            relation = tie.relation(flow.shape)
            if relation is not None:
                flow.nodes.append(tie)
                flow.shapes.relations[tie] = relation
                flow.producers |= {value: (tie, i) for i, value in enumerate(tie.outputs)}
                flow.tied |= set(tie.reads)


def _live(flow: Flow) -> set[ir.Node]:
    """Nodes that an output depends on; what only computes a view's target is not needed."""
    outputs = [*flow.model.graph.outputs, *(graph.outputs[i] for graph, i in flow.body_outputs)]
    live: set[ir.Node] = set()
    pending = list(outputs)
    while pending:
        node = flow.view(pending.pop()).root.producer()
        if node is not None and node not in live:
            live.add(node)
            pending += [value for value in node.inputs if value is not None]
    return live


def _use(flow: Flow, value: ir.Value, node: Operation | None, index: int) -> None:
    view = flow.view(value)
    flow.uses.setdefault(view.root, []).append(Use(view, value, node, index))


def _resolve(flow: Flow, node: ir.Node, steps: list[Step]) -> bool:
    """Make a node's output a view; False where its order cannot be told in its root's factors."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    base = flow.view(source)
    shape = flow.shape(source)
    chained = list(base.steps)
    for step in steps:
        assert shape is not None
        chained.append((shape, step))
        shape = shape_after(step, shape)
    assert shape is not None
    view = View(base.root, tuple(chained))
    if any(map(is_empty, shape)) or view.to_root(identity(shape)) is None:
        return False
    flow.views[output] = view
    return True
