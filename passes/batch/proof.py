"""Proves that a batch only passes through a graph, and finds what has to change for it to be free."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import ONE, Dim, Step, Transpose
from ..rules import RULES
from ..rules.relation import Relation
from ..rules.spatial import SpatialRule
from ..shapes.infer import Shapes
from .changes import BATCH, Change, LeaveOut, Regroup, Repeat, Resize, Restate, TakeApart

_ANY_LENGTH = 2**31 - 1
_RECURRENT = {"LSTM": (1, 2, 1, 1), "GRU": (1, 2, 1), "RNN": (1, 2, 1)}
"""The batch axis of a recurrent node's input, then of its outputs (time first)."""
_BESIDE = {"GridSample"}
"""Operators whose other operands, too, have a sample per entry of axis 0."""


class BoundError(Exception):
    """The batch does not only pass through; the text says where and why."""


class Proof:
    """Follows the batch through a graph.

    ``places`` is the axis whose outermost factor the batch is, of every value that has one; raises
    :class:`BoundError` where an operator does not treat the samples alike.
    """

    def __init__(self, graph: ir.Graph, shapes: Shapes, inputs: Sequence[ir.Value]) -> None:
        self.shapes = shapes
        self.places: dict[ir.Value, int] = dict.fromkeys(inputs, 0)
        self.changes: list[Change] = []
        for node in graph:
            self._visit(node)
        for value in graph.outputs:
            if value not in self.places:
                raise BoundError(f"output '{value.name}' has no batch")

    def _visit(self, node: ir.Node) -> None:
        inside = [
            v for body in g.subgraphs(node) for n in body.all_nodes() for v in n.inputs if v is not None
        ]
        if any(v in self.places for v in inside):
            raise BoundError(f"{g.describe(node)} computes with it in a body")
        if not any(v in self.places for v in node.inputs if v is not None):
            return
        if node.op_type in ("Shape", "Size") and node.domain in g.STANDARD:
            return
        steps = self.shapes.views.get(node)
        if steps is not None:
            self._view(node, steps)
        elif node.op_type in _RECURRENT and node.domain in g.STANDARD:
            self._recurrent(node)
        elif self._looks_up_parts(node):
            self._lookup(node)
        else:
            self._relation(node, self.shapes.relations[node])

    def _sizes(self, value: ir.Value, node: ir.Node) -> list[int]:
        dims = self.shapes.shape(value)
        if dims is None:
            raise BoundError(f"the sizes that {g.describe(node)} reads are unknown")
        return [self._number(dim, node) for dim in dims]

    def _number(self, dim: Dim, node: ir.Node) -> int:
        if not dim.static:
            raise BoundError(f"{g.describe(node)} has another size that is not known, '{dim}'")
        return dim.number

    def _view(self, node: ir.Node, steps: list[Step]) -> None:
        source, output = node.inputs[0], node.outputs[0]
        assert source is not None
        if source not in self.places:
            raise BoundError(f"{g.describe(node)} takes its target from the batch")
        place, sizes = self.places[source], self._sizes(source, node)
        for step in steps:
            if isinstance(step, Transpose):
                place = step.perm.index(place)
                sizes = [sizes[axis] for axis in step.perm]
                continue
            target = [self._number(dim, node) for dim in step.shape]
            place = _landing(sizes, place, target, node)
            sizes = target
        self.places[output] = place
        if node.op_type in ("Reshape", "Flatten", "Squeeze", "Gather"):
            sizes[place] = BATCH
            self.changes.append(Regroup(node, tuple(sizes)))

    def _recurrent(self, node: ir.Node) -> None:
        if g.attribute(node, "layout", 0):
            raise BoundError(f"{g.describe(node)} has layout 1")
        axis, *outputs = _RECURRENT[node.op_type]
        data = node.inputs[0]
        if data is None or self.places.get(data) != axis:
            raise BoundError(f"{g.describe(node)} has the batch in another axis")
        for index in (5, 6):
            state = g.input_at(node, index)
            if state is None or state in self.places:
                continue
            if not g.is_zero(state):
                raise BoundError(f"{g.describe(node)} begins with a state for one sample")
            self.changes.append(LeaveOut(node, index))
        if g.input_at(node, 4) is not None:
            raise BoundError(f"{g.describe(node)} has the length of one sequence")
        for value, place in zip(node.outputs, outputs, strict=False):
            self.places[value] = place

    def _looks_up_parts(self, node: ir.Node) -> bool:
        """Whether a Gather picks, by constants, along the axis that the batch is in."""
        if node.op_type != "Gather" or node.domain not in g.STANDARD or g.constant(node.inputs[1]) is None:
            return False
        data = node.inputs[0]
        return data is not None and self.places.get(data) == self.shapes.sites[node].axis(0)

    def _lookup(self, node: ir.Node) -> None:
        """What a Gather picks of the one sample, it picks of each."""
        data, output, axis = node.inputs[0], node.outputs[0], self.shapes.sites[node].axis(0)
        assert data is not None
        sizes, picked = self._sizes(data, node), self._sizes(output, node)
        if axis == len(picked):
            raise BoundError(f"{g.describe(node)} leaves no axis for the batch")
        self.places[output] = axis
        apart = (*sizes[:axis], BATCH, *sizes[axis:])
        together = (*picked[:axis], BATCH, *picked[axis + 1 :])
        self.changes.append(TakeApart(node, ((0, apart),), together, axis + 1))

    def _relation(self, node: ir.Node, relation: Relation) -> None:
        name = g.describe(node)
        letters = set()
        for value, port in zip(node.inputs, relation.inputs, strict=True):
            if value is None or value not in self.places:
                continue
            if port is None:
                if node.op_type in _BESIDE and self.places[value] == 0:
                    continue
                raise BoundError(f"{name} does not treat the samples alike")
            letters.add(port[self.places[value]])
        if len(letters) != 1:
            raise BoundError(f"{name} joins the batch with another axis")
        (letter,) = letters
        if node.op_type == "MaxUnpool" and not _pooled(node.inputs[1]):
            raise BoundError(f"{name} is told places that count the samples, too")
        if letter in relation.whole | relation.resized and not self._untouched(node, letter):
            raise BoundError(f"{name} works along the batch")
        for value, port in zip(node.outputs, relation.outputs, strict=True):
            if not value.name:
                continue
            if port is None or letter not in port:
                raise BoundError(f"{name} sums over the batch")
            self.places[value] = port.index(letter)
        self._others(node, relation, letter)

    def _untouched(self, node: ir.Node, letter: int) -> bool:
        """Whether an operator that speaks of every axis, or of the first, leaves the batch as it is."""
        if isinstance(RULES.get(node.op_type), SpatialRule):
            if node.op_type == "Resize":
                self._resize(node)
            return letter == 0
        axis = next(self.places[v] for v in node.inputs if v is not None and v in self.places)
        if node.op_type == "Einsum":
            return True
        if node.op_type == "Tile":
            repeats = self.shapes.values(node.inputs[1])
            return repeats is not None and repeats[axis] == ONE
        if node.op_type == "Expand":
            return self._expands(node, axis)
        if node.op_type == "Slice":
            return self._whole_slice(node, axis)
        if node.op_type == "Gather":
            return node.inputs[0] not in self.places
        return False

    def _resize(self, node: ir.Node) -> None:
        """Sizes that a Resize states may name the batch's own."""
        if g.input_at(node, 3) is None:
            return
        sizes, axes = g.integers(g.input_at(node, 3)), g.attribute(node, "axes")
        if sizes is None:
            raise BoundError(f"{g.describe(node)} computes its sizes")
        named = [axis % self.shapes.sites[node].rank for axis in axes or range(len(sizes))]
        if 0 in named:
            self.changes.append(Resize(node, tuple(sizes), named.index(0)))

    def _expands(self, node: ir.Node, axis: int) -> bool:
        """An Expand that states the batch's own size may state 1 as well."""
        target, own = self.shapes.values(node.inputs[1]), self.shapes.shape(node.inputs[0])  # type: ignore[arg-type]
        if target is None or own is None:
            return False
        at = axis + len(target) - len(own)
        if at < 0 or target[at] == ONE:
            return True
        if target[at] != own[axis] or not all(dim.static for dim in target):
            return False
        sizes = tuple(1 if i == at else dim.number for i, dim in enumerate(target))
        self.changes.append(Restate(node, sizes))
        return True

    def _whole_slice(self, node: ir.Node, axis: int) -> bool:
        starts, ends = g.parameter(node, "starts", 1), g.parameter(node, "ends", 2)
        if starts is None or ends is None:
            return False
        axes = g.parameter(node, "axes", 3) or list(range(len(starts)))
        rank = len(self.shapes.shape(node.outputs[0]) or ())
        at = [a % rank for a in axes].index(axis)
        return starts[at] == 0 and ends[at] >= _ANY_LENGTH

    def _others(self, node: ir.Node, relation: Relation, letter: int) -> None:
        """Operands without a batch: they broadcast, or are repeated for a Concat."""
        for index, (value, port) in enumerate(zip(node.inputs, relation.inputs, strict=True)):
            if value is None or not value.name or value in self.places:
                continue
            beside = port is None and node.op_type in _BESIDE
            if not beside and (port is None or letter not in port):
                continue
            if beside or isinstance(RULES.get(node.op_type), SpatialRule):
                raise BoundError(f"{g.describe(node)} has an operand for one sample only")
            assert port is not None
            axis = port.index(letter)
            dims = self.shapes.shape(value)
            if dims is None or dims[axis] != ONE:
                self._parts(node, dims, axis)
                continue
            if node.op_type == "Concat":
                self.changes.append(Repeat(node, index, self.places[node.outputs[0]], len(dims)))

    def _parts(self, node: ir.Node, dims: Sequence[Dim] | None, axis: int) -> None:
        """An operand with an element for each of the several parts that a sample has in axis 0."""
        output = node.outputs[0]
        rank = len(self.shapes.shape(output) or ())
        simple = RULES[node.op_type].rewrite is None and node.op_type not in ("MatMul", "Gemm", "Einsum")
        same = all(len(self.shapes.shape(v) or ()) == rank for v in node.inputs if v in self.places)
        if (
            dims is None
            or axis != 0
            or len(dims) != rank
            or not simple
            or not same
            or self.places[output] != 0
        ):
            raise BoundError(f"{g.describe(node)} has an operand for several parts of one sample")
        parts = self._number(dims[0], node)
        inputs = tuple(
            (index, (BATCH, parts, *self._sizes(value, node)[1:]))
            for index, value in enumerate(node.inputs)
            if value is not None and value in self.places
        )
        change = TakeApart(node, inputs, (BATCH, *self._sizes(output, node)[1:]))
        if change not in self.changes:
            self.changes.append(change)


def _landing(sizes: list[int], place: int, target: list[int], node: ir.Node) -> int:
    """The axis of a Reshape's result whose outermost factor is the batch.

    >>> _landing([1, 6, 8], 0, [1, 48], node=None), _landing([3, 1, 8, 4], 1, [3, 8, 2, 2], node=None)
    (0, 1)
    """
    before = prod(sizes[:place])
    possible = [j for j in range(len(target)) if prod(target[:j]) == before]
    if not possible:
        raise BoundError(f"{g.describe(node)} puts other axes around the batch")
    return place if place in possible else possible[0]


def _pooled(places: ir.Value | None) -> bool:
    """Whether places are those that a MaxPool of the same samples found."""
    maker = places.producer() if places is not None else None
    return maker is not None and maker.op_type == "MaxPool"
