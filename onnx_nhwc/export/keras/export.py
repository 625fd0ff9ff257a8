"""Walks a graph and builds a functional Keras model, node by node.

The graph is one of the functions dialect, where data are channels last, or it has the standard
operators on images, where they are channels first.

Nodes that only compute shapes are looked at when somebody wants their result: shape arithmetic
that ends in a Reshape leaves nothing behind. Weights are moved when all else has worked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
from keras import layers, ops

from onnx_nhwc.export.folding import fold
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.keras.call import Call, dtype_name, literal, small
from onnx_nhwc.export.keras.dynamic import Sizes
from onnx_nhwc.export.keras.table import CHANNELS_FIRST, mapping_of
from onnx_nhwc.export.keras.tensors.arithmetic import plus
from onnx_nhwc.export.names import Names, OperationNames, io_name
from onnx_nhwc.export.values import Array, Constant, Fact, Items, UnsupportedError
from onnx_nhwc.load.keras.parameters import rows_in_order
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.algebra.layout import Dim
from onnx_nhwc.passes.errors import ConversionError
from onnx_nhwc.passes.lower import NAME
from onnx_nhwc.passes.rules import RULES
from onnx_nhwc.passes.rules.contrib import DOMAIN as MICROSOFT
from onnx_nhwc.passes.rules.spatial import DOMAIN, SpatialRule, usual_inputs
from onnx_nhwc.passes.shapes.fold import CARRIERS, computable
from onnx_nhwc.passes.shapes.infer import infer

__all__ = ["NO_INPUT", "Exporter", "UnsupportedNodesError"]

NO_INPUT = "no_input"

_ONLY_FOLDED = CARRIERS.keys() - {ir.DataType.BFLOAT16}
"""Types of constants that Keras has no tensors for: weights that are dequantised before they are used."""

_ON_IMAGES = {name for name, rule in RULES.items() if isinstance(rule, SpatialRule)}
"""Operators whose standard form is channels first."""


class UnsupportedNodesError(ConversionError):
    """Nodes of a model that Keras cannot express, all of them, with the reason for each."""

    def __init__(self, nodes: Sequence[tuple[str, str]], total: int) -> None:
        listed = "; ".join(f"{node}: {reason}" for node, reason in nodes)
        super().__init__(f"{len(nodes)} of the model's {total} nodes cannot be expressed in Keras: {listed}")
        self.nodes = tuple(nodes)


class Exporter:
    """Builds a Keras model from a graph whose data are in the wanted layout already.

    Args:
        model: A graph of the functions dialect, or one that is channels first.
        channels_first: Are images channels first?

    A model without inputs gets one, ``NO_INPUT``, of any length, whose numbers do not matter.
    """

    def __init__(self, model: ir.Model, *, channels_first: bool = False) -> None:
        self.model = model
        self.channels_first = channels_first
        self.names = Names()
        self.shapes = infer(model)
        self.sizes = Sizes(self)
        self.pending: list[tuple[Any, Callable[[], Array]]] = []
        self.errors: list[tuple[str, str]] = []
        self._facts: dict[ir.Value, Fact] = {}
        self._done: set[ir.Node] = set()
        self._failed: set[ir.Value] = set()
        self._weights: dict[ir.Value, Any] = {}
        self._turned: dict[int, tuple[Any, Any, tuple[int, ...]]] = {}
        self.regrouped: dict[ir.Value, tuple[tuple[Dim, ...], Any]] = {}
        """Values that a layer also returns under other sizes."""
        self.shared: dict[Any, tuple[Any, Any]] = {}
        """Layers by their nodes, or by their parameters, and what they were made with."""
        self.operations = OperationNames(self.names)
        self._inputs: list[Any] = []
        self._zero: Any = None

    @property
    def layout(self) -> str:
        return "channels-first" if self.channels_first else "channels-last"

    def run(self) -> Any:
        """Return the model.

        Raises:
            UnsupportedNodesError: Some nodes cannot be expressed. No weight has been moved then.
        """
        graph = self.model.graph
        outputs = [self._io_name(value) for value in graph.outputs]
        for value in graph.inputs:
            self._input(value)
        if not self._inputs:  # a Keras model is called on something
            self._inputs.append(keras.Input((), name=self.names.unique(NO_INPUT)))
            self.keep(self._inputs[0]._keras_history.operation)
        for node in graph:
            if node not in self._done and not self._is_arithmetic(node):
                self.evaluate(node)
        results = [self._output(v, n) for v, n in zip(graph.outputs, outputs, strict=True)]
        if self.errors:
            raise UnsupportedNodesError(self.errors, len(list(graph.all_nodes())))
        model = keras.Model(
            self._inputs[0] if len(self._inputs) == 1 else self._inputs,
            results[0] if len(results) == 1 else dict(zip(outputs, results, strict=True)),
            name=self.names.unique(graph.name or "model"),
        )
        for variable, load in self.pending:
            variable.assign(load())
        return model

    # --- values ------------------------------------------------------------------------------

    def fact(self, value: ir.Value) -> Fact:
        """What is known of a value; evaluates the node that makes it, if need be."""
        if value not in self._facts:
            self._facts[value] = self._known(value)
        return self._facts[value]

    def evaluated(self, value: ir.Value) -> Fact | None:
        """What is known of a value without evaluating anything."""
        return None if value in self._failed else self._facts.get(value)

    def _known(self, value: ir.Value) -> Fact:
        tensor = g.constant(value)
        if tensor is not None:
            return self._weight(value, tensor)
        if value.shape is not None and 0 in tuple(value.shape) and value.dtype is not None:
            sizes = [size for size in value.shape if isinstance(size, int)]
            if len(sizes) == len(value.shape):
                return Constant.of(np.zeros(sizes, value.dtype.numpy()))
        integers = self.shapes.values(value)
        typed = value.shape is not None and value.dtype is not None and len(value.shape) < 2
        if integers is not None and typed and all(dim.static for dim in integers):
            assert value.shape is not None
            assert value.dtype is not None
            array = np.array([dim.number for dim in integers], value.dtype.numpy())
            return Constant.of(array if len(value.shape) else array.reshape(()))
        node = value.producer()
        if node is None:
            raise UnsupportedError(f"nothing computes '{value.name}'")
        self.evaluate(node)
        if value not in self._facts:
            raise UnsupportedError(f"its size depends on '{value.name}', which depends on it")
        return self._facts[value]

    def _weight(self, value: ir.Value, tensor: ir.TensorProtocol) -> Constant:
        origin = value.metadata_props.get(g.PARAMETER)
        held = tensor.dtype in _ONLY_FOLDED
        dtype = tensor.dtype.numpy().name if held else dtype_name(tensor.dtype)
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
        """A value as an argument of a Keras operation."""
        fact = self.fact(value)
        if isinstance(fact, Items):
            raise UnsupportedError(f"'{value.name}' is a sequence, which Keras does not have")
        if not isinstance(fact, Constant):
            return fact
        if value.dtype in _ONLY_FOLDED:
            dtype_name(value.dtype)  # says that Keras has no such tensors
        if fact.trainable or not small(fact):
            return self.weight(value, fact)
        return literal(fact)

    def symbolic(self, value: ir.Value) -> Any:
        """A value as a symbolic tensor."""
        fact = self.operand(value)
        if isinstance(fact, keras.KerasTensor):
            return fact
        dtype = self.fact(value).dtype
        zero = ops.cast(self.zero(), dtype)
        return ops.logical_or(zero, fact) if dtype == "bool" else plus(zero, fact)

    def zero(self) -> Any:
        """A symbolic 0: what a layer without inputs is called on."""
        if self._zero is None:
            x = self._inputs[0]
            key = (slice(0, 1), *[0] * (len(x.shape) - 1))
            first = x[key] if len(x.shape) else x
            self._zero = ops.sum(ops.zeros_like(first, dtype="int32"))
            self.operations.give([self._zero], lambda: "zero")
        return self._zero

    def weight(self, value: ir.Value, constant: Constant) -> Any:
        """A parameter that no layer has a place for: the rows of an Embedding."""
        if value not in self._weights:
            *rows, columns = constant.shape or (1,)
            count = int(np.prod(rows, dtype=np.int64))
            layer = self.keep(
                layers.Embedding(
                    count,
                    columns,
                    embeddings_initializer="zeros",
                    dtype=constant.dtype,
                    trainable=constant.trainable,
                    name=self.names.unique(constant.name or "constant"),
                )
            )
            zero = self.zero()
            table = layer(plus(zero, rows_in_order(constant.shape)) if len(constant.shape) > 1 else zero)
            shape = (count, columns)
            self.pending.append((layer.embeddings, lambda: constant.array.reshape(shape)))
            if tuple(table.shape) != constant.shape:
                table = ops.reshape(table, constant.shape)
            self.operations.give([table], lambda: layer.name)
            self._weights[value] = table
        return self._weights[value]

    def transpose(self, x: Any, perm: tuple[int, ...]) -> Any:
        """Transpose ``x``, or what it is a Transpose of."""
        if id(x) in self._turned:
            _, x, before = self._turned[id(x)]
            perm = tuple(before[axis] for axis in perm)
        if perm == tuple(range(len(perm))):
            return x
        turned = ops.transpose(x, perm)
        self._turned[id(turned)] = (turned, x, perm)
        return turned

    def keep(self, layer: Any) -> Any:
        """Remember that a layer has its final name."""
        return self.operations.keep(layer)

    # --- nodes -------------------------------------------------------------------------------

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
        except (TypeError, ValueError, NotImplementedError, ArithmeticError, LookupError) as error:
            self._fail(node, f"Keras refuses it ({' '.join(str(error).split())[:200]})")

    def _map(self, node: ir.Node) -> list[Any]:
        call = self.call(node)
        mapping = mapping_of(node.domain, call.op_type)
        facts = [self.fact(v) for v in call.values if v is not None and v.name]
        if self._foldable(node, facts):
            folded = fold(node, self.fact)
            if folded is not None:
                return folded
        if mapping is None:
            raise UnsupportedError("there is no mapping for this operator")
        if call.on_images and call.images.first and node.op_type not in CHANNELS_FIRST:
            raise UnsupportedError("it has no channels-first form in Keras")
        results = mapping(call)
        results = list(results) if isinstance(results, (list, tuple)) else [results]
        for i, result in enumerate(results):
            dtype = node.outputs[i].dtype if i < len(node.outputs) else None
            if isinstance(result, keras.KerasTensor) and dtype is not None:
                results[i] = call.cast(result, dtype_name(dtype))
        self.operations.give(results, call.name, own=not call.layers)
        return results

    def call(self, node: ir.Node) -> Call:
        """A node as its mapping sees it."""
        if node.domain in g.STANDARD:
            images = None
            if self.channels_first and node.op_type in _ON_IMAGES:
                shape = self.shapes.shape(node.inputs[0]) if node.inputs[0] is not None else None
                images = Images(len(shape) - 2, first=True) if shape and len(shape) > 2 else None
            return Call(self, node, node.op_type, list(node.inputs), images)
        if node.domain == MICROSOFT:
            return Call(self, node, node.op_type, list(node.inputs))
        match = NAME.fullmatch(node.op_type) if node.domain == DOMAIN else None
        if match is None:
            raise UnsupportedError(f"the domain '{node.domain}' is not known")
        given = [int(digit) for digit in match["given"] or usual_inputs(match["op"])]
        inputs: list[ir.Value | None] = [None] * (max(given) + 1)
        for index, value in zip(given, node.inputs, strict=False):
            inputs[index] = value
        images = Images(int(match["spatial"])) if match["spatial"] else None
        return Call(self, node, match["op"], inputs, images)

    def replay(self, body: ir.Graph, inputs: Sequence[Fact]) -> list[Fact]:
        """Evaluate a body anew, from these inputs."""
        for node in body.all_nodes():
            self._done.discard(node)
            for value in node.outputs:
                self._facts.pop(value, None)
        self._facts.update(zip(body.inputs, inputs, strict=True))
        for node in body:
            if node not in self._done and not self._is_arithmetic(node):
                self.evaluate(node)
        return [self.fact(value) for value in body.outputs]

    def finish(self, node: ir.Node, results: Sequence[Any]) -> None:
        """State a node's results."""
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
                dtype = dtype_name(output.dtype)
            except UnsupportedError:
                dtype = "float32"
            self._facts[output] = keras.KerasTensor(sizes, dtype=dtype)

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

    # --- inputs, outputs, names --------------------------------------------------------------

    def _io_name(self, value: ir.Value) -> str:
        name = io_name(value.name or "value")
        self.names.unique(name)
        return name

    def _input(self, value: ir.Value) -> None:
        dims = self.shapes.shape(value)
        if dims is None:
            raise ConversionError(
                f"the rank of input '{value.name}' is unknown",
                f"Give its shape: --shape {value.name}=1,3,224,224",
            )
        shape = tuple(dim.number if dim.static else None for dim in dims)
        try:
            dtype = dtype_name(value.dtype)
        except UnsupportedError as error:
            raise ConversionError(f"input '{value.name}': {error}") from None
        tensor = keras.Input(batch_shape=shape, dtype=dtype, name=self._io_name(value))
        self.keep(tensor._keras_history.operation)
        self._inputs.append(tensor)
        self._facts[value] = tensor

    def _output(self, value: ir.Value, name: str) -> Any:
        """An output under its own name, which an input may have, too, if it is that output."""
        if any(name == tensor.name for tensor in self._inputs):
            name = self.names.unique(name)
        try:
            result = self.symbolic(value)
        except UnsupportedError as error:
            if not self.errors:
                self.errors.append((f"output '{value.name}'", str(error)))
            return None
        if "float" in result.dtype:
            return self.keep(layers.Identity(name=name, dtype=result.dtype))(result)
        copied = ops.copy(result)  # Keras takes a layer of type int8 for a quantised one
        self.keep(copied._keras_history.operation).name = name
        return copied
