"""The walk over a graph that every target shares: node by node, from inputs to outputs.

The graph is one of the functions dialect, where data are channels last, or it has the standard
operators on images, where they are channels first.

Nodes that only compute shapes are looked at when somebody wants their result: shape arithmetic
that ends in a Reshape leaves nothing behind. What cannot be mapped is gathered, so that one message
names it all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_nhwc.export.folding import fold
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.names import Names, io_name
from onnx_nhwc.export.target import Target
from onnx_nhwc.export.values import Constant, Fact, Items, Steps, UnsupportedError
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.algebra.layout import Dim
from onnx_nhwc.passes.errors import ConversionError
from onnx_nhwc.passes.lower import NAME
from onnx_nhwc.passes.rules import RULES, usual_inputs
from onnx_nhwc.passes.rules.contrib import DOMAIN as MICROSOFT
from onnx_nhwc.passes.rules.spatial import DOMAIN, SpatialRule
from onnx_nhwc.passes.shapes.fold import CARRIERS, computable
from onnx_nhwc.passes.shapes.infer import infer

__all__ = ["UnsupportedNodesError", "Walk"]

_ONLY_FOLDED = CARRIERS.keys() - {ir.DataType.BFLOAT16}
"""Types of constants that no target has tensors for: weights that are dequantised before they are used."""

_ON_IMAGES = {name for name, rule in RULES.items() if isinstance(rule, SpatialRule)}
"""Operators whose standard form is channels first."""

_REFUSALS = (TypeError, ValueError, NotImplementedError, ArithmeticError, LookupError)
"""What frameworks raise where they do not take what they are given."""


class UnsupportedNodesError(ConversionError):
    """Nodes of a model that a target cannot express, all of them, with the reason for each."""

    def __init__(self, target: str, nodes: Sequence[tuple[str, str]], total: int) -> None:
        listed = "; ".join(f"{node}: {reason}" for node, reason in nodes)
        super().__init__(
            f"{len(nodes)} of the model's {total} nodes cannot be expressed in {target}: {listed}"
        )
        self.nodes = tuple(nodes)


class Walk:
    """Builds a target's model from a graph whose data are in the wanted layout already.

    Args:
        model: A graph of the functions dialect, or one that is channels first.
        target: What the model is built of.
    """

    def __init__(self, model: ir.Model, target: Target) -> None:
        self.model = model
        self.target = target
        self.names = Names()
        self.shapes = infer(model)
        self.errors: list[tuple[str, str]] = []
        self._facts: dict[ir.Value, Fact] = {}
        self._done: set[ir.Node] = set()
        self._failed: set[ir.Value] = set()
        target.begin(self)

    @property
    def steps(self) -> Steps:
        return self.target

    @property
    def channels_first(self) -> bool:
        return self.target.channels_first

    def run(self) -> Any:
        """Return the model.

        Raises:
            UnsupportedNodesError: Some nodes cannot be expressed. No weight has been moved then.
        """
        graph = self.model.graph
        names = [self._io_name(value) for value in graph.outputs]
        for value in graph.inputs:
            self._facts[value] = self._input(value)
        self._evaluate_all(graph)
        outputs = [self._output(v, n) for v, n in zip(graph.outputs, names, strict=True)]
        if self.errors:
            raise UnsupportedNodesError(self.target.name, self.errors, len(list(graph.all_nodes())))
        return self.target.model(list(zip(names, outputs, strict=True)), graph.name or "model")

    # --- values ------------------------------------------------------------------------------

    def fact(self, value: ir.Value) -> Fact:
        if value not in self._facts:
            self._facts[value] = self._known(value)
        return self._facts[value]

    def evaluated(self, value: ir.Value) -> Fact | None:
        return None if value in self._failed else self._facts.get(value)

    def _known(self, value: ir.Value) -> Fact:
        tensor = g.constant(value)
        if tensor is not None:
            return self._weight(value, tensor)
        found = self._empty(value) or self._integers(value)
        if found is not None:
            return found
        node = value.producer()
        if node is None:
            raise UnsupportedError(f"nothing computes '{value.name}'")
        self.evaluate(node)
        if value not in self._facts:
            raise UnsupportedError(f"its size depends on '{value.name}', which depends on it")
        return self._facts[value]

    def _empty(self, value: ir.Value) -> Constant | None:
        """A value without elements."""
        if value.shape is None or 0 not in tuple(value.shape) or value.dtype is None:
            return None
        sizes = [size for size in value.shape if isinstance(size, int)]
        return Constant.of(np.zeros(sizes, value.dtype.numpy())) if len(sizes) == len(value.shape) else None

    def _integers(self, value: ir.Value) -> Constant | None:
        """A value of which shape arithmetic knows all."""
        integers = self.shapes.values(value)
        if integers is None or value.shape is None or value.dtype is None or len(value.shape) > 1:
            return None
        if not all(dim.static for dim in integers):
            return None
        array = np.array([dim.number for dim in integers], value.dtype.numpy())
        return Constant.of(array if len(value.shape) else array.reshape(()))

    def _weight(self, value: ir.Value, tensor: ir.TensorProtocol) -> Constant:
        origin = value.metadata_props.get(g.PARAMETER)
        held = tensor.dtype in _ONLY_FOLDED
        dtype = tensor.dtype.numpy().name if held else self.target.dtype(tensor.dtype)
        shape = tuple(int(size) for size in tensor.shape.numpy())
        trainable = bool(origin) and not held and "float" in dtype and int(np.prod(shape)) > 1
        return Constant(tensor.numpy, shape, dtype, origin or value.name or "", trainable)

    def dims(self, value: ir.Value) -> tuple[Dim, ...] | None:
        fact = self.fact(value)
        known = self.shapes.shape(value)
        if known is None or len(known) != len(fact.shape):
            known = tuple(Dim(1, (f"{value.name}.{i}",)) for i in range(len(fact.shape)))
        sizes = zip(fact.shape, known, strict=True)
        return tuple(dim if size is None else Dim(size) for size, dim in sizes)

    def operand(self, value: ir.Value) -> Any:
        fact = self.fact(value)
        if isinstance(fact, Items):
            raise UnsupportedError(f"'{value.name}' is a sequence, which {self.target.name} does not have")
        if not isinstance(fact, Constant):
            return fact
        if value.dtype in _ONLY_FOLDED:
            self.target.dtype(value.dtype)  # says that there are no such tensors
        return self.target.constant(value, fact)

    def symbolic(self, value: ir.Value) -> Any:
        return self.target.tensor(self.operand(value), self.fact(value).dtype)

    # --- nodes -------------------------------------------------------------------------------

    def _evaluate_all(self, graph: ir.Graph) -> None:
        for node in graph:
            if node not in self._done and not self._is_arithmetic(node):
                self.evaluate(node)

    def evaluate(self, node: ir.Node) -> None:
        """Map a node; what cannot be mapped is noted, and stands as a value of unknown origin."""
        if node in self._done:
            return
        self._done.add(node)
        if any(value in self._failed for value in node.inputs):
            self._stand_in(node)
            return
        try:
            self.finish(node, self._map(node))
        except UnsupportedError as error:
            self._fail(node, str(error))
        except _REFUSALS as error:
            self._fail(node, f"{self.target.name} refuses it ({' '.join(str(error).split())[:200]})")

    def _map(self, node: ir.Node) -> list[Any]:
        call = self.call(node)
        facts = [self.fact(v) for v in call.values if v is not None and v.name]
        if self._foldable(node, facts):
            folded = fold(node, self.fact)
            if folded is not None:
                return list(folded)
        results = self.target.mapping(call)(call)
        return self.target.finished(call, list(results) if isinstance(results, (list, tuple)) else [results])

    def call(self, node: ir.Node) -> Any:
        """A node as its mapping sees it, a call of the target's class."""
        if node.domain in g.STANDARD:
            images = None
            if self.channels_first and node.op_type in _ON_IMAGES:
                shape = self.shapes.shape(node.inputs[0]) if node.inputs[0] is not None else None
                images = Images(len(shape) - 2, first=True) if shape and len(shape) > 2 else None
            return self.target.call(node, node.op_type, list(node.inputs), images)
        if node.domain == MICROSOFT:
            return self.target.call(node, node.op_type, list(node.inputs), None)
        match = NAME.fullmatch(node.op_type) if node.domain == DOMAIN else None
        if match is None:
            raise UnsupportedError(f"the domain '{node.domain}' is not known")
        given = [int(digit) for digit in match["given"] or usual_inputs(match["op"])]
        inputs: list[ir.Value | None] = [None] * (max(given) + 1)
        for index, value in zip(given, node.inputs, strict=False):
            inputs[index] = value
        images = Images(int(match["spatial"])) if match["spatial"] else None
        return self.target.call(node, match["op"], inputs, images)

    def replay(self, body: ir.Graph, inputs: Sequence[Fact]) -> list[Fact]:
        for node in body.all_nodes():
            self._done.discard(node)
            for value in node.outputs:
                self._facts.pop(value, None)
        self._facts.update(zip(body.inputs, inputs, strict=True))
        self._evaluate_all(body)
        return [self.fact(value) for value in body.outputs]

    def finish(self, node: ir.Node, results: Sequence[Any]) -> None:
        self._done.add(node)
        for output, result in zip(node.outputs, results, strict=False):
            if result is not None:
                self._facts[output] = result

    def _fail(self, node: ir.Node, reason: str) -> None:
        self.errors.append((g.describe(node), reason))
        self._stand_in(node)

    def _stand_in(self, node: ir.Node) -> None:
        """Give a node that cannot be mapped results, so that the others can be looked at."""
        self._failed.update(node.outputs)
        for output in node.outputs:
            shape = self.shapes.shape(output) or ()
            sizes = tuple(dim.number if dim.static else None for dim in shape)
            try:
                dtype = self.target.dtype(output.dtype)
            except UnsupportedError:
                dtype = "float32"
            self._facts[output] = self.target.stand_in(sizes, dtype)

    def _is_arithmetic(self, node: ir.Node) -> bool:
        """Does a node only compute what a shape is made of?"""
        graph_outputs = any(value.is_graph_output() for value in node.outputs)
        return not graph_outputs and (
            node.op_type == "Shape"
            or (len(node.outputs) == 1 and self.shapes.values(node.outputs[0]) is not None)
        )

    def _foldable(self, node: ir.Node, facts: Sequence[Fact]) -> bool:
        return (
            computable(node)
            and not re.search("Sequence|Optional", node.op_type)
            and all(isinstance(fact, Constant) for fact in facts)
        )

    # --- inputs and outputs ------------------------------------------------------------------

    def _io_name(self, value: ir.Value) -> str:
        name = io_name(value.name or "value")
        self.names.unique(name)
        return name

    def _input(self, value: ir.Value) -> Any:
        dims = self.shapes.shape(value)
        if dims is None:
            raise ConversionError(
                f"the rank of input '{value.name}' is unknown",
                f"Give its shape: --shape {value.name}=1,3,224,224",
            )
        shape = tuple(dim.number if dim.static else None for dim in dims)
        try:
            dtype = self.target.dtype(value.dtype)
        except UnsupportedError as error:
            raise ConversionError(f"input '{value.name}': {error}") from None
        return self.target.input(self._io_name(value), shape, dtype)

    def _output(self, value: ir.Value, name: str) -> Any:
        try:
            return self.target.output(name, self.symbolic(value))
        except UnsupportedError as error:
            if not self.errors:
                self.errors.append((f"output '{value.name}'", str(error)))
            return None
