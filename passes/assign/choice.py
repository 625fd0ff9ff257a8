"""The layout of every value, as one global optimum; changes nothing.

Every node is a variable, and its labels are the arrangements that it can run in. They are found by
carrying layouts along the edges of the graph, forwards and backwards, from the nodes that insist on
one: spatial operators on the native layout, barriers on the source's. The solver then picks one label
for each node such that the fewest bytes are transposed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import identity, permuted
from ..errors import UsageError
from ..rules.relation import Arrangement, Letters, Relation, form
from ..solver.optimum import Problem, Solution, Tap, Value, solve
from .flow import Flow, Operation, Use
from .labels import Carrier, Target, resolve_pin

NOMINAL_SIZE = 64
"""What a symbolic size weighs; a batch of unknown size weighs 1."""


@dataclass
class Assignment:
    """The chosen arrangement of every node, and permutation of every input and output."""

    orders: dict[Operation, Arrangement]
    inputs: dict[ir.Value, tuple[int, ...]]
    outputs: list[tuple[int, ...]]
    solution: Solution


def assign(flow: Flow, target: Target) -> Assignment:
    """Choose layouts; raises :class:`UsageError` where a pin does not fit."""
    carried = Carrier(flow, target)
    carried.run()
    return _Chooser(flow, target, carried).choose()


def unchanged(flow: Flow) -> Assignment:
    """Every node, input and output in the source's order."""
    graph = flow.model.graph
    perms = [tuple(range(len(flow.shape(v) or ()))) for v in (*graph.inputs, *graph.outputs)]
    return Assignment(
        {node: flow.relation(node).identity for node in flow.nodes},
        dict(zip(graph.inputs, perms, strict=False)),
        perms[len(graph.inputs) :],
        Solution((), 0, 0, 0, True),
    )


class _Chooser:
    """Builds the solver's problem from the labels, and reads its answer."""

    def __init__(self, flow: Flow, target: Target, carried: Carrier) -> None:
        self.flow = flow
        self.target = target
        self.carried = carried
        self.nodes = {node: i for i, node in enumerate(flow.nodes)}
        self.node_labels = [self._node_labels(node) for node in flow.nodes]
        count = len(flow.nodes)
        graph = flow.model.graph
        self.io_labels: list[list[tuple[int, ...]]] = []
        self.inputs: dict[ir.Value, int] = {}
        for value in graph.inputs:
            self.inputs[value] = count + len(self.io_labels)
            self.io_labels.append(self._io_labels(value, carried.inputs.get(value, {})))
        self.outputs: list[int] = []
        known = dict(self.inputs)  # a value that is given out twice, or is an input, has one layout
        for index, value in enumerate(graph.outputs):
            if value not in known:
                known[value] = count + len(self.io_labels)
                self.io_labels.append(self._io_labels(value, carried.outputs.get(index, {})))
            self.outputs.append(known[value])
        self.fixed = count + len(self.io_labels)

    def choose(self) -> Assignment:
        sizes = [*map(len, self.node_labels), *map(len, self.io_labels), 1]
        last = [self._preference(node, self.node_labels[i]) for node, i in self.nodes.items()]
        io = [[0 if i == 0 else 1 for i in range(len(labels))] for labels in self.io_labels]
        preference = tuple(tuple(row) for row in (*last, *io, [0]))
        solution = solve(Problem(tuple(sizes), tuple(self._values()), preference))
        chosen = solution.labels
        return Assignment(
            {n: self.node_labels[i][chosen[i]][0] for n, i in self.nodes.items()},
            {v: self._io(variable)[chosen[variable]] for v, variable in self.inputs.items()},
            [self._io(variable)[chosen[variable]] for variable in self.outputs],
            solution,
        )

    def _preference(self, node: Operation, labels: list[tuple[Arrangement, bool]]) -> list[int]:
        """Channels last; in the standard dialect only for what is more than a move of unit axes.

        There each such move costs a Reshape, in front of which runtimes no longer recognise what
        they fuse.
        """
        if self.target.channels_last and not self.target.functions:
            same = self.flow.relation(node).identity
            if all(self._moves_nothing(node, order) for order, _ in labels):
                return [0 if order == same else 1 for order, _ in labels]
        if self.flow.relation(node).optional:
            return [int(self.flow.relation(node).is_last(order)) for order, _ in labels]
        return [0 if image else 1 for _, image in labels]

    def _moves_nothing(self, node: Operation, order: Arrangement) -> bool:
        """Whether every port stores its elements in this order as in the source's."""
        relation = self.flow.relation(node)
        ports = [(v, relation.inputs[i]) for i, v in enumerate(node.inputs) if v is not None and v.name]
        return all(
            self._key(value, relation, letters, order)
            == self._key(value, relation, letters, relation.identity)
            for value, letters in ports
        )

    def _io(self, variable: int) -> list[tuple[int, ...]]:
        return self.io_labels[variable - len(self.nodes)]

    def _node_labels(self, node: Operation) -> list[tuple[Arrangement, bool]]:
        relation = self.flow.relation(node)
        labels = [
            (order, image)
            for order, image in self.carried.labels[node].items()
            if relation.native is None or self._runs(relation, relation.is_last(order))
            if self._keys_exist(node, relation, order)
        ]
        return labels or [(relation.identity, False)]

    def _runs(self, relation: Relation, native: bool) -> bool:
        """Whether a node with a native order may run in it, or else in the source's."""
        if relation.optional:
            return native or not self.target.batch_first
        return native == self.target.native

    def _keys_exist(self, node: Operation, relation: Relation, order: Arrangement) -> bool:
        ports = [(v, relation.inputs[i]) for i, v in enumerate(node.inputs) if v is not None and v.name]
        return all(self._key(value, relation, letters, order) is not None for value, letters in ports)

    def _key(
        self, value: ir.Value, relation: Relation, letters: Letters | None, order: Arrangement
    ) -> Hashable:
        dims = self.flow.shape(value)
        if dims is None:
            return "source"
        return self.flow.view(value).to_root(form(order, relation, letters, dims).stored.order)

    def _io_labels(self, value: ir.Value, images: dict[tuple[int, ...], bool]) -> list[tuple[int, ...]]:
        dims = self.flow.shape(value)
        if dims is None:
            if value.name in self.target.pins:
                raise UsageError(f"the rank of '{value.name}' is unknown, so it has no layout to state")
            return [()]
        same = tuple(range(len(dims)))
        pin = self.target.pins.get(value.name or "")
        if pin is not None:
            return [resolve_pin(value.name or "", pin, len(dims), self.carried.channels_last(images))]
        if self.target.keep_io or not images:
            return [same]
        if not self.target.functions or not self.target.channels_last:
            return list(images)
        return list(images) + ([] if same in images else [same])

    def _values(self) -> list[Value]:
        values = []
        for root, uses in self.flow.uses.items():
            if g.constant(root) is not None:
                continue
            taps = tuple(self._use_tap(use) for use in uses)
            values.append(Value(weight(self.flow, root), self._producer_tap(root), taps))
            if self._gets_bias(root, uses):
                values.append(Value(0, self._producer_tap(root), taps))
        return values

    def _gets_bias(self, root: ir.Value, uses: list[Use]) -> bool:
        """Whether a product's only reader adds a constant: at equal cost, no Transpose goes between."""
        maker, reader = root.producer(), uses[0].node
        return (
            maker is not None
            and maker.op_type == "MatMul"
            and len(uses) == 1
            and isinstance(reader, ir.Node)
            and reader.op_type == "Add"
            and any(g.constant(value) is not None for value in reader.inputs)
        )

    def _producer_tap(self, root: ir.Value) -> Tap:
        maker = self.flow.producer(root)
        if maker is not None:
            node, index = maker
            relation = self.flow.relation(node)
            letters = relation.outputs[index]
            labels = self.node_labels[self.nodes[node]]
            return Tap(self.nodes[node], tuple(self._key(root, relation, letters, o) for o, _ in labels))
        if root in self.inputs:
            variable = self.inputs[root]
            return Tap(variable, tuple(self._io_key(root, perm) for perm in self._io(variable)))
        return Tap(self.fixed, (self._io_key(root, None),))

    def _use_tap(self, use: Use) -> Tap:
        if use.node is None:
            variable = self.fixed if use.index < 0 else self.outputs[use.index]
            perms = [None] if use.index < 0 else self._io(variable)
            return Tap(variable, tuple(self._io_key(use.value, perm) for perm in perms))
        relation = self.flow.relation(use.node)
        letters = relation.inputs[use.index]
        labels = self.node_labels[self.nodes[use.node]]
        keys = tuple(self._key(use.value, relation, letters, order) for order, _ in labels)
        return Tap(self.nodes[use.node], keys)

    def _io_key(self, value: ir.Value, perm: tuple[int, ...] | None) -> Hashable:
        dims = self.flow.shape(value)
        if dims is None:
            return "source"
        order = identity(dims) if perm is None else permuted(dims, perm)
        return self.flow.view(value).to_root(order)


def weight(flow: Flow, value: ir.Value) -> int:
    """Bytes that a Transpose of a value moves; symbolic sizes weigh a nominal number."""
    dims = flow.shape(value)
    if dims is None:
        return 1
    size = value.dtype.itemsize if value.dtype is not None and value.dtype != ir.DataType.STRING else 4
    total = max(1.0, float(size))
    for axis, dim in enumerate(dims):
        total *= dim.number * (NOMINAL_SIZE ** len(dim.symbols) if axis else 1)
    return int(min(total, 2**40))


__all__ = ["Assignment", "Target", "assign", "weight"]
