"""Applies an assignment: the only place where edges change.

Every node is put into its arrangement by its own rule, and every input reads the shortest chain of
Reshape and Transpose from how its root is stored. Views of the source are not copied: whatever of them
is still needed is part of these chains. Constants are permuted when they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from . import graph as g
from .algebra.layout import (
    Dim,
    Reshape,
    Shape,
    Step,
    Stored,
    Transpose,
    chain,
    empty,
    is_empty,
    permuted,
    shape_after,
)
from .assign.choice import Assignment, weight
from .assign.flow import Flow, Operation, View
from .errors import ConversionError
from .rules import rule_of
from .rules.relation import Form, Move, form, identity_stored
from .shapes.ties import Tie
from .targets import Targets, inserter, shape_arithmetic
from .tidy import compose_gathers


@dataclass
class Moved:
    """A Transpose that was written, and why."""

    node: ir.Node
    root: ir.Value
    bytes: int
    readers: list[Operation | str] = field(default_factory=list)
    """Operators, and outputs by what to call them."""


@dataclass
class Rewritten:
    """What was done."""

    operators: dict[str, int] = field(default_factory=dict)
    weights: int = 0
    weight_bytes: int = 0
    transposes: list[Moved] = field(default_factory=list)
    stored: dict[ir.Value, Stored] = field(default_factory=dict)
    values: dict[str, tuple[ir.Value, tuple[int, ...]]] = field(default_factory=dict)
    """Where a value of the source is found: its name there, the value here, its permutation."""


def rewrite(flow: Flow, assignment: Assignment) -> Rewritten:
    """Put the model that ``flow`` describes into the chosen layouts."""
    return _Rewriter(flow, assignment).run()


class _Rewriter:
    def __init__(self, flow: Flow, assignment: Assignment) -> None:
        self.flow = flow
        self.assignment = assignment
        self.edits = g.Edits(flow.model)
        self.result = Rewritten()
        self.targets = Targets(flow, self.edits, self.result.stored)
        self.chains: dict[tuple[ir.Value, Step], ir.Value] = {}
        self.constants: dict[tuple[int, Stored], ir.Value] = {}
        self.moved: dict[ir.Value, Moved] = {}
        self.declared = {v: v.shape for graph in flow.model.graphs() for v in graph.outputs}
        """Shapes of the outputs before anything is moved."""
        self.forms: dict[Operation, tuple[list[Form | None], list[Form | None]]] = {}

    def run(self) -> Rewritten:
        for value, perm in self.assignment.inputs.items():
            self._store_io(value, perm)
        for node in self.flow.nodes:
            self._place(node)
        for node in self.flow.nodes:
            self._rewrite(node)
        for graph, index in self.flow.body_outputs:
            self._output(graph, index, None)
        self._outputs()
        compose_gathers(self.flow.model, self.edits)
        g.remove_dead(self.flow.model)
        self.result.transposes = [m for m in self.result.transposes if m.node.graph is not None]
        return self.result

    def _store_io(self, value: ir.Value, perm: tuple[int, ...]) -> None:
        dims = self.flow.shape(value)
        if dims is None:
            return
        self.result.stored[value] = Stored(permuted(dims, perm), tuple(dims[axis] for axis in perm))
        if value.shape is not None and perm != tuple(range(len(perm))):
            value.shape = ir.Shape([value.shape[axis] for axis in perm])

    def _place(self, node: Operation) -> None:
        """Fix how each port of a node is stored, before any edge changes."""
        relation = self.flow.relation(node)
        order = self.assignment.orders[node]
        inputs: list[Form | None] = []
        for index, value in enumerate(node.inputs):
            dims = self.flow.shape(value) if value is not None and value.name else None
            inputs.append(None if dims is None else form(order, relation, relation.inputs[index], dims))
        outputs: list[Form | None] = []
        for value, letters in zip(node.outputs, relation.outputs, strict=True):
            dims = self.flow.shape(value)
            outputs.append(None if dims is None else form(order, relation, letters, dims))
        for value, port in zip(node.outputs, outputs, strict=True):
            if port is not None:
                self.result.stored[value] = port.stored
            perm = () if port is None else port.perm
            if perm is not None and value.name and value.graph is self.flow.model.graph:
                self.result.values[value.name] = (value, perm)
        self.forms[node] = (inputs, outputs)

    def _rewrite(self, node: Operation) -> None:
        inputs, outputs = self.forms[node]
        relation = self.flow.relation(node)
        for index, (value, port) in enumerate(zip(list(node.inputs), inputs, strict=True)):
            if value is None or not value.name:
                continue
            if isinstance(node, ir.Node) and (node, index) in self.flow.tied:
                continue
            wanted = None if port is None else port.stored
            self._set_input(node, index, self._read(value, wanted, node))
        for value, port in zip(node.outputs, outputs, strict=True):
            if port is None or (value.shape is not None and port.stored == identity_stored(port.dims)):
                continue
            if value.dtype is not None:  # an unused Dropout mask's type may be unknown
                value.shape = g.ir_shape(port.stored.shape)
        if isinstance(node, Tie):
            return
        order = self.assignment.orders[node]
        rule = rule_of(node) if not relation.barrier else None
        changed = order != relation.identity
        if rule is not None and rule.rewrite is not None and (changed or relation.native is not None):
            site = self.flow.shapes.sites[node]
            op_type = node.op_type
            rule.rewrite(Move(node, rule, relation, order, tuple(inputs), tuple(outputs), self.edits, site))
            if changed:
                self.result.operators[op_type] = self.result.operators.get(op_type, 0) + 1

    def _set_input(self, node: Operation, index: int, value: ir.Value) -> None:
        if isinstance(node, ir.Node):
            node.replace_input_with(index, value)
            return
        place, at = node.reads[index]
        if isinstance(place, ir.Node):
            place.replace_input_with(at, value)
        else:
            self._set_output(place, at, value)

    def _read(self, value: ir.Value, wanted: Stored | None, reader: Operation | str) -> ir.Value:
        """A value that holds ``value`` stored as wanted; emits what is needed for it."""
        view = self.flow.view(value)
        if wanted is None:
            return view.root
        order = view.to_root(wanted.order)
        assert order is not None
        target = Stored(order, wanted.shape)
        if g.constant(view.root) is not None:
            return self._constant(view, target)
        source = self.result.stored.get(view.root)
        if source is None:
            source = identity_stored(self.flow.shape(view.root) or ())
        steps = chain(source, target)
        if steps is None:
            raise ConversionError(
                f"no chain of Reshape and Transpose leads from how '{view.root.name}' is stored",
                "Please report this model",
                reader if isinstance(reader, str) else g.describe(reader),
            )
        current, shape = view.root, source.shape
        for step in steps:
            after = shape_after(step, shape)
            key = (current, step)
            if key not in self.chains:
                self.chains[key] = self._emit(current, step, shape, after)
            if self.chains[key] in self.moved:
                self.moved[self.chains[key]].readers.append(reader)
            current, shape = self.chains[key], after
        return current

    def _emit(self, value: ir.Value, step: Step, before: Shape, after: Shape) -> ir.Value:
        """One step of a chain, right after what it reads."""
        insert = inserter(self.flow.model, value)
        if isinstance(step, Transpose) and shape_arithmetic(value, before):
            return self._picked(value, step, before, after, insert)
        if isinstance(step, Transpose):
            out = self.edits.node(
                "Transpose",
                [value],
                {"perm": list(step.perm)},
                name=f"{value.name}_transposed",
                insert=insert,
                dtype=value.dtype,
                shape=after,
            )
            node = out.producer()
            assert node is not None
            root = self._logical(value)
            moved = Moved(node, root, weight(self.flow, root))
            self.result.transposes.append(moved)
            self.moved[out] = moved
            return out
        target = self.targets.of(value, before, after, insert)
        return self.edits.node(
            "Reshape",
            [value, target],
            name=f"{value.name}_reshaped",
            insert=insert,
            dtype=value.dtype,
            shape=after,
        )

    def _picked(
        self,
        value: ir.Value,
        step: Transpose,
        before: Shape,
        after: Shape,
        insert: Callable[[ir.Node], None],
    ) -> ir.Value:
        """A Transpose of a few integers, which are sizes and no data, as a Gather of the flat list."""
        sizes = [dim.number for dim in before]
        picks = np.arange(int(np.prod(sizes))).reshape(sizes).transpose(step.perm)
        flat = self.edits.node(
            "Reshape", [value, self.edits.constant([-1], "flat")], name="flat", insert=insert
        )
        inputs = [flat, self.edits.constant(picks, "picks")]
        return self.edits.node(
            "Gather",
            inputs,
            {"axis": 0},
            name="picked",
            insert=insert,
            dtype=value.dtype,
            shape=after,
        )

    def _logical(self, value: ir.Value) -> ir.Value:
        """The value of the source whose elements these are."""
        node = value.producer()
        while value not in self.flow.shapes.dims and node is not None:
            first = node.inputs[0]
            assert first is not None
            value, node = first, first.producer()
        return value

    def _constant(self, view: View, target: Stored) -> ir.Value:
        """A constant in another order: computed when it is written, shared where it is equal."""
        root = view.root
        tensor = root.const_value
        assert tensor is not None
        sizes = tensor.shape.numpy()
        dims = tuple(Dim(size) if size else empty(root.name, axis) for axis, size in enumerate(sizes))
        steps = chain(identity_stored(dims), target)
        assert steps is not None
        if not steps:
            return root
        key = (id(tensor), target)
        if key not in self.constants:
            if any(isinstance(step, Transpose) for step in steps):
                self.result.weights += 1
                self.result.weight_bytes += tensor.nbytes
            shape = [_number(dim) for dim in target.shape]
            lazy = ir.LazyTensor(
                _Permuted(tensor, steps), dtype=tensor.dtype, shape=ir.Shape(shape), name=root.name
            )
            self.constants[key] = self.edits.initializer(lazy, f"{root.name}", root)
        return self.constants[key]

    def _outputs(self) -> None:
        """The model's outputs; what is listed twice stays one value, and an input stays itself."""
        graph = self.flow.model.graph
        listed = list(graph.outputs)
        for index, perm in enumerate(self.assignment.outputs):
            first = listed.index(listed[index])
            if first < index:
                graph.outputs[index] = graph.outputs[first]
            elif not listed[index].is_graph_input():
                self._output(graph, index, perm)

    def _output(self, graph: ir.Graph, index: int, perm: tuple[int, ...] | None) -> None:
        """Make a graph's output hold its value as wanted, under its old name."""
        old = graph.outputs[index]
        dims = self.flow.shape(old)
        if dims is None:
            wanted = None
        elif perm is None:
            wanted = identity_stored(dims)
        else:
            wanted = Stored(permuted(dims, perm), tuple(dims[axis] for axis in perm))
        shape = self.declared[old]
        if shape is not None and perm is not None:
            shape = ir.Shape([shape[axis] for axis in perm])
        self._set_output(graph, index, self._read(old, wanted, f"output '{old.name}'"), shape)

    def _set_output(self, graph: ir.Graph, index: int, new: ir.Value, shape: ir.Shape | None = None) -> None:
        """Put a value at a graph's output, under the name of the value that was there."""
        old = graph.outputs[index]
        if new is old:
            return
        name, dtype = old.name, old.dtype
        if new.producer() is None or new.graph is not graph or new.is_graph_output():
            new = self.edits.node(
                "Identity", [new], name=f"{name}_identity", insert=graph.append, dtype=dtype
            )
        old.name = self.edits.name(f"{name}_source")
        new.name = name
        new.dtype = new.dtype or dtype  # type: ignore[assignment]
        if shape is not None:
            new.shape = shape
        graph.outputs[index] = new


@dataclass(frozen=True)
class _Permuted:
    """A constant's values after a chain, computed anew at every call so that none is kept in memory."""

    tensor: ir.TensorProtocol
    steps: Sequence[Step]

    def __call__(self) -> ir.TensorProtocol:
        array = self.tensor.numpy()
        for step in self.steps:
            if isinstance(step, Reshape):
                array = array.reshape([_number(dim) for dim in step.shape])
            else:
                array = np.transpose(array, step.perm)
        return ir.Tensor(array, dtype=self.tensor.dtype)  # a view: the writer copies it piece by piece


def _number(dim: Dim) -> int:
    """A constant's size."""
    return 0 if is_empty(dim) else dim.number
