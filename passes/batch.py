"""Frees a batch that an export fixed at 1: proves that it only passes through, then unfixes it.

An exporter that traces one sample writes its 1 into Reshape targets. Where every value holds the
samples one behind the other (the batch is the outermost factor of one axis, all axes before it being
whole), and every operator treats them alike, that 1 may be any number:

    x: [1, 3, 8, 8] - Conv - [1, 6, 8, 8] - Reshape[1, 384]     becomes
    x: [N, 3, 8, 8] - Conv - [N, 6, 8, 8] - Reshape[-1, 384]

What fails the proof stays as it is, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import onnx_ir as ir

from . import graph as g
from .layout import Dim, Step, Transpose
from .normalize import normalize
from .rules import RULES
from .rules.relation import Relation
from .rules.spatial import SpatialRule
from .shapes import Shapes, infer

NAME = "batch"
_ANY_LENGTH = 2**31 - 1
_RECURRENT = {"LSTM": (1, 2, 1, 1), "GRU": (1, 2, 1), "RNN": (1, 2, 1)}
"""The batch axis of a recurrent node's input, then of its outputs (time first)."""
_BESIDE = {"GridSample"}
"""Operators whose other operands, too, have a sample per entry of axis 0."""


class _BoundError(Exception):
    """The batch does not only pass through; the text says where and why."""


@dataclass(frozen=True)
class Freed:
    """What came of it: the inputs whose batch is free now, or why it is not."""

    inputs: tuple[str, ...] = ()
    outputs: dict[str, int] = field(default_factory=dict)
    """The axis that the batch is in."""
    reason: str = ""

    def describe(self) -> str:
        """For people; empty if no input has a batch of the fixed size 1."""
        if self.inputs:
            return "free, although the source fixes it at 1"
        return f"fixed at 1, as {self.reason}" if self.reason else ""


def free_batch(model: ir.Model) -> tuple[ir.Model, Freed]:
    """Return a copy of a model whose batch is free, or the model itself and the reason.

    Concerned are inputs whose first axis has the fixed size 1; models that have none are as they are.
    """
    fixed = [v for v in model.graph.inputs if _is_one(v) and g.constant(v) is None]
    if not fixed:
        return model, Freed()
    work = model.clone()
    normalize(work)
    inputs = [v for v in work.graph.inputs if _is_one(v)]
    try:
        places = _Proof(work, infer(work), inputs).run()
        _check(work, places)
    except _BoundError as error:
        return model, Freed(reason=str(error))
    outputs = {v.name or "": places[v] for v in work.graph.outputs}
    return work, Freed(tuple(v.name or "" for v in inputs), outputs)


def _is_one(value: ir.Value) -> bool:
    return value.shape is not None and len(value.shape) > 0 and value.shape[0] == 1


def _check(model: ir.Model, places: dict[ir.Value, int]) -> None:
    """Infer anew, and find the batch wherever the proof says that it is."""
    shapes = infer(model)
    for value in model.graph.outputs:
        dims = shapes.shape(value)
        if value in places and (dims is None or dims[places[value]].static):
            raise _BoundError(f"the batch of output '{value.name}' does not follow from the input's")


class _Proof:
    """Follows the batch through a graph, and notes what has to change for it to be free."""

    def __init__(self, model: ir.Model, shapes: Shapes, inputs: Sequence[ir.Value]) -> None:
        self.model = model
        self.shapes = shapes
        self.inputs = inputs
        self.edits = g.Edits(model)
        self.places: dict[ir.Value, int] = dict.fromkeys(inputs, 0)
        self.views: list[tuple[ir.Node, list[int]]] = []
        self.joins: list[tuple[ir.Node, ir.Value, int]] = []
        self.sized: list[ir.Node] = []
        self.expands: list[tuple[ir.Node, list[int]]] = []
        self.splits: list[tuple[ir.Node, int]] = []

    def run(self) -> dict[ir.Value, int]:
        for node in self.model.graph:
            self._visit(node)
        for value in self.model.graph.outputs:
            if value not in self.places:
                raise _BoundError(f"output '{value.name}' has no batch")
        self._apply()
        return self.places

    # --- the proof ---------------------------------------------------------------------------------------

    def _visit(self, node: ir.Node) -> None:
        inside = [
            v for body in g.subgraphs(node) for n in body.all_nodes() for v in n.inputs if v is not None
        ]
        if any(v in self.places for v in inside):
            raise _BoundError(f"{g.describe(node)} computes with it in a body")
        if not any(v in self.places for v in node.inputs if v is not None):
            return
        if node.op_type in ("Shape", "Size") and node.domain in g.STANDARD:
            return
        steps = self.shapes.views.get(node)
        if steps is not None:
            self._view(node, steps)
        elif node.op_type in _RECURRENT and node.domain in g.STANDARD:
            self._recurrent(node)
        else:
            self._relation(node, self.shapes.relations[node])

    def _view(self, node: ir.Node, steps: list[Step]) -> None:
        source, output = node.inputs[0], node.outputs[0]
        assert source is not None
        if source not in self.places:
            raise _BoundError(f"{g.describe(node)} takes its target from the batch")
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
        if node.op_type in ("Reshape", "Flatten", "Squeeze"):
            sizes[place] = -1
            self.views.append((node, sizes))

    def _sizes(self, value: ir.Value, node: ir.Node) -> list[int]:
        dims = self.shapes.shape(value)
        if dims is None:
            raise _BoundError(f"the sizes that {g.describe(node)} reads are unknown")
        return [self._number(dim, node) for dim in dims]

    def _number(self, dim: Dim, node: ir.Node) -> int:
        if not dim.static:
            raise _BoundError(f"{g.describe(node)} has another size that is not known, '{dim}'")
        return dim.number

    def _recurrent(self, node: ir.Node) -> None:
        if g.attribute(node, "layout", 0):
            raise _BoundError(f"{g.describe(node)} has layout 1")
        axis, *outputs = _RECURRENT[node.op_type]
        data = node.inputs[0]
        if data is None or self.places.get(data) != axis:
            raise _BoundError(f"{g.describe(node)} has the batch in another axis")
        for index in (5, 6):
            state = g.input_at(node, index)
            if state is None or state in self.places:
                continue
            if not g.is_zero(state):
                raise _BoundError(f"{g.describe(node)} begins with a state for one sample")
            g.set_input(node, index, None)
        if g.input_at(node, 4) is not None:
            raise _BoundError(f"{g.describe(node)} has the length of one sequence")
        for value, place in zip(node.outputs, outputs, strict=False):
            self.places[value] = place

    def _relation(self, node: ir.Node, relation: Relation) -> None:
        name = g.describe(node)
        letters = set()
        for value, port in zip(node.inputs, relation.inputs, strict=True):
            if value is None or value not in self.places:
                continue
            if port is None:
                if node.op_type in _BESIDE and self.places[value] == 0:
                    continue
                raise _BoundError(f"{name} does not treat the samples alike")
            letters.add(port[self.places[value]])
        if len(letters) != 1:
            raise _BoundError(f"{name} joins the batch with another axis")
        (letter,) = letters
        if letter in relation.whole | relation.resized and not self._untouched(node, letter):
            raise _BoundError(f"{name} works along the batch")
        for value, port in zip(node.outputs, relation.outputs, strict=True):
            if not value.name:
                continue
            if port is None or letter not in port:
                raise _BoundError(f"{name} sums over the batch")
            self.places[value] = port.index(letter)
        self._others(node, relation, letter)

    def _untouched(self, node: ir.Node, letter: int) -> bool:
        """Whether an operator that speaks of every axis, or of the first, leaves the batch as it is."""
        if isinstance(RULES.get(node.op_type), SpatialRule):
            if node.op_type == "Resize" and g.input_at(node, 3) is not None:
                self.sized.append(node)
            return letter == 0
        axis = next(self.places[v] for v in node.inputs if v is not None and v in self.places)
        if node.op_type == "Einsum":
            return True
        if node.op_type == "Tile":
            repeats = self.shapes.values(node.inputs[1])
            return repeats is not None and repeats[axis] == Dim(1)
        if node.op_type == "Expand":
            return self._expands(node, axis)
        if node.op_type == "Slice":
            return self._whole_slice(node, axis)
        if node.op_type == "Gather":
            return node.inputs[0] not in self.places
        return False

    def _expands(self, node: ir.Node, axis: int) -> bool:
        """An Expand that states the batch's own size may state 1 as well."""
        target, own = self.shapes.values(node.inputs[1]), self.shapes.shape(node.inputs[0])  # type: ignore[arg-type]
        if target is None or own is None:
            return False
        at = axis + len(target) - len(own)
        if at < 0 or target[at] == Dim(1):
            return True
        if target[at] != own[axis] or not all(dim.static for dim in target):
            return False
        self.expands.append((node, [1 if i == at else dim.number for i, dim in enumerate(target)]))
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
            if value is None or not value.name or port is None or letter not in port:
                continue
            if value in self.places:
                continue
            axis = port.index(letter)
            dims = self.shapes.shape(value)
            if dims is None or dims[axis] != Dim(1):
                self._parts(node, dims, axis)
                continue
            if node.op_type == "Concat":
                self.joins.append((node, value, index))

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
            raise _BoundError(f"{g.describe(node)} has an operand for several parts of one sample")
        self.splits.append((node, self._number(dims[0], node)))

    # --- the changes -------------------------------------------------------------------------------------

    def _apply(self) -> None:
        for node, target in self.views:
            node.op_type = "Reshape"
            for name in ("axis", "axes", "allowzero"):
                g.set_attribute(node, name, None)
            g.set_input(node, 1, self.edits.constant(target, "shape"))
        for node, value, index in self.joins:
            self._join(node, value, index)
        for node in self.sized:
            self._resize(node)
        for node, target in self.expands:
            g.set_input(node, 1, self.edits.constant(target, "shape"))
        for node, parts in dict(self.splits).items():
            self._split(node, parts)
        taken = {str(d) for v in self.inputs for d in v.shape or ()}
        name = NAME
        while name in taken:
            name += "_"
        for value in self.inputs:
            assert value.shape is not None
            value.shape = ir.Shape([name, *list(value.shape)[1:]])
        for node in self.model.graph.all_nodes():
            for value in node.outputs:
                value.shape = None

    def _batch_of(self, node: ir.Node) -> ir.Value:
        """The batch as a vector of one element, computed before ``node``."""
        shape = self.edits.node("Shape", [self.inputs[0]], name=f"{node.name}_Shape", insert=node.prepend)
        zero = self.edits.constant([0], "axis")
        return self.edits.node(
            "Gather", [shape, zero], {"axis": 0}, name=f"{node.name}_batch", insert=node.prepend
        )

    def _join(self, node: ir.Node, value: ir.Value, index: int) -> None:
        dims = self.shapes.shape(value)
        place = self.places[node.outputs[0]]
        assert dims is not None
        batch = self._batch_of(node)
        before = self.edits.constant([1] * place, "ones")
        behind = self.edits.constant([1] * (len(dims) - place - 1), "ones")
        target = self.edits.node(
            "Concat", [before, batch, behind], {"axis": 0}, name=f"{node.name}_target", insert=node.prepend
        )
        wide = self.edits.node("Expand", [value, target], name=f"{node.name}_Expand", insert=node.prepend)
        node.replace_input_with(index, wide)

    def _split(self, node: ir.Node, parts: int) -> None:
        """Give samples and their parts an axis each, for one operator: ``(n p) ... -> n p ...``."""

        def emit(op_type: str, inputs: Sequence[ir.Value | None], suffix: str) -> ir.Value:
            return self.edits.node(op_type, inputs, name=f"{node.name}_{suffix}", insert=node.prepend)

        inputs = list(node.inputs)
        for index, value in enumerate(inputs):
            if value is not None and value in self.places:
                sizes = [-1, parts, *self._sizes(value, node)[1:]]
                inputs[index] = emit("Reshape", [value, self.edits.constant(sizes, "shape")], "parts")
        output = node.outputs[0]
        sizes = [-1, *self._sizes(output, node)[1:]]
        apart = emit(node.op_type, inputs, "apart")
        apart.type = output.type
        producer = apart.producer()
        assert producer is not None
        producer.attributes.update(node.attributes)
        joined = emit("Reshape", [apart, self.edits.constant(sizes, "shape")], "joined")
        joined.type = output.type
        self.places[joined] = 0
        name, output.name = output.name, self.edits.name(f"{output.name}_before")
        output.replace_all_uses_with(joined, replace_graph_outputs=True)
        joined.name = name
        assert node.graph is not None
        node.graph.remove(node, safe=True)

    def _resize(self, node: ir.Node) -> None:
        sizes = g.integers(g.input_at(node, 3))
        if sizes is None:
            raise _BoundError(f"{g.describe(node)} computes its sizes")
        rest = self.edits.constant(sizes[1:], "sizes")
        target = self.edits.node(
            "Concat",
            [self._batch_of(node), rest],
            {"axis": 0},
            name=f"{node.name}_sizes",
            insert=node.prepend,
        )
        node.replace_input_with(3, target)


def _landing(sizes: list[int], place: int, target: list[int], node: ir.Node) -> int:
    """The axis of a Reshape's result whose outermost factor is the batch.

    >>> _landing([1, 6, 8], 0, [1, 48], node=None), _landing([3, 1, 8, 4], 1, [3, 8, 2, 2], node=None)
    (0, 1)
    """
    before = prod(sizes[:place])
    possible = [j for j in range(len(target)) if prod(target[:j]) == before]
    if not possible:
        raise _BoundError(f"{g.describe(node)} puts other axes around the batch")
    return place if place in possible else possible[0]
