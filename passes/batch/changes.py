"""What has to change in a graph for its batch to be free: a class for each kind of change.

The proof (``batch_proof``) collects them and touches nothing; they are made once it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import onnx_ir as ir

from .. import graph as g

BATCH = -1
"""The batch's size in a Reshape's target."""


@dataclass(frozen=True)
class Bench:
    """Where changes are made."""

    edits: g.Edits
    source: ir.Value
    """An input of the graph that has the batch in axis 0."""

    def before(
        self, node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], suffix: str, **attributes: Any
    ) -> ir.Value:
        """A node of its own just before another."""
        name = f"{node.name}_{suffix}"
        return self.edits.node(op_type, inputs, attributes, name=name, insert=node.prepend)

    def shape(self, sizes: Sequence[int]) -> ir.Value:
        return self.edits.constant(list(sizes), "shape")

    def around_batch(self, node: ir.Node, before: Sequence[int], behind: Sequence[int]) -> ir.Value:
        """Sizes with the batch's between them, computed before ``node``."""
        shape = self.before(node, "Shape", [self.source], "Shape")
        batch = self.before(node, "Gather", [shape, self.edits.constant([0], "axis")], "batch", axis=0)
        parts = [self.shape(before), batch, self.shape(behind)]
        return self.before(node, "Concat", parts, "target", axis=0)


class Change(Protocol):
    """A change of one node."""

    def make(self, bench: Bench) -> None: ...


@dataclass(frozen=True)
class Regroup:
    """A view states the batch's size as whatever is left.

    before:  x - Flatten - y
    after:   x - Reshape[-1, 384] - y
    """

    node: ir.Node
    sizes: tuple[int, ...]

    def make(self, bench: Bench) -> None:
        self.node.op_type = "Reshape"
        for name in ("axis", "axes", "allowzero"):
            g.set_attribute(self.node, name, None)
        g.set_input(self.node, 1, bench.shape(self.sizes))


@dataclass(frozen=True)
class Restate:
    """An Expand's target states other sizes."""

    node: ir.Node
    sizes: tuple[int, ...]

    def make(self, bench: Bench) -> None:
        g.set_input(self.node, 1, bench.shape(self.sizes))


@dataclass(frozen=True)
class LeaveOut:
    """An optional input that says nothing is left out."""

    node: ir.Node
    index: int

    def make(self, bench: Bench) -> None:
        g.set_input(self.node, self.index, None)


@dataclass(frozen=True)
class Repeat:
    """An operand of a Concat is the same for all samples: it is written out for each.

    before:  x - Concat(token, x) - y
    after:   x - Concat(Expand(token, [n, 1, 1]), x) - y
    """

    node: ir.Node
    index: int
    place: int
    rank: int

    def make(self, bench: Bench) -> None:
        before, behind = [1] * self.place, [1] * (self.rank - self.place - 1)
        target = bench.around_batch(self.node, before, behind)
        operand = self.node.inputs[self.index]
        wide = bench.before(self.node, "Expand", [operand, target], "Expand")
        self.node.replace_input_with(self.index, wide)


@dataclass(frozen=True)
class Resize:
    """The sizes that a Resize states hold the batch's, at ``place``."""

    node: ir.Node
    sizes: tuple[int, ...]
    place: int

    def make(self, bench: Bench) -> None:
        before, behind = self.sizes[: self.place], self.sizes[self.place + 1 :]
        g.set_input(self.node, 3, bench.around_batch(self.node, before, behind))


@dataclass(frozen=True)
class TakeApart:
    """Samples and the parts of one get an axis each, for one operator: ``(n p) ... -> n p ...``.

    before:  x - Add(operand[p, 1]) - y
    after:   x - Reshape[n, p, c] - Add(operand[p, 1]) - Reshape[n p, c] - y
    """

    node: ir.Node
    inputs: tuple[tuple[int, tuple[int, ...]], ...]
    """Which inputs hold samples, and their sizes taken apart."""
    output: tuple[int, ...]
    """The output's sizes, samples and parts together."""
    axis: int | None = None
    """The attribute ``axis``, if the operator has one."""

    def make(self, bench: Bench) -> None:
        for index, sizes in self.inputs:
            inputs = [self.node.inputs[index], bench.shape(sizes)]
            self.node.replace_input_with(index, bench.before(self.node, "Reshape", inputs, "parts"))
        if self.axis is not None:
            g.set_attribute(self.node, "axis", self.axis)
        apart = self.node.outputs[0]
        joined = bench.edits.node(
            "Reshape",
            [None, bench.shape(self.output)],
            name=f"{self.node.name}_joined",
            insert=self.node.append,
        )
        apart.replace_all_uses_with(joined, replace_graph_outputs=True)
        joined.name, apart.name, joined.type = apart.name, joined.name, apart.type
        node = joined.producer()
        assert node is not None
        node.replace_input_with(0, apart)
