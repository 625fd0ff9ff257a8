"""Writes the operators of one call of a layer in the place of its mark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from onnx_nhwc.passes.graph import FROZEN, LAYER, PARAMETER

__all__ = ["COUNT", "NORMALIZATION", "Value", "Weights", "Writer"]

NORMALIZATION = "onnx_nhwc.keras.normalization"
"""Metadata of a node that is a Normalization: where its numbers are from, ``adapted`` or ``given``."""
COUNT = "onnx_nhwc.keras.count"
"""And the number of samples that it was adapted to."""

Value = ir.Value
Change = Callable[[Any], Any]


class Weights:
    """The parameters of a model's layers as initializers, each once."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._values: dict[Any, Value] = {}
        self._layers: dict[int, str] = {}
        self._names: dict[str, int] = {}

    def name(self, wanted: str) -> str:
        """A node's name that no other node of a form has."""
        self._names[wanted] = self._names.get(wanted, 0) + 1
        return wanted if self._names[wanted] == 1 else f"{wanted}_{self._names[wanted] - 1}"

    def identity(self, layer: Any) -> str:
        """What tells a layer from all others."""
        return self._layers.setdefault(id(layer), f"{layer.path}:{len(self._layers)}")

    def get(self, key: Any, name: str, array: Any) -> Value:
        if key not in self._values:
            while name in self.graph.initializers:
                name += "_"
            data = array()
            value = ir.Value(name=name, const_value=ir.tensor(data, name=name))
            value.type, value.shape = ir.TensorType(ir.DataType.from_numpy(data.dtype)), ir.Shape(data.shape)
            self.graph.register_initializer(value)
            self._values[key] = value
        return self._values[key]


class Writer:
    """What a form writes with.

    Attributes:
        layer: The layer.
        shape: The shape of its input, in the layer's own order.
        part: What the nodes to come are called behind the layer's name.
    """

    def __init__(self, weights: Weights, layer: Any, shape: Sequence[int | None], node: ir.Node) -> None:
        self.weights = weights
        self.layer = layer
        self.shape = tuple(shape)
        self.part = ""
        self.dtype = node.outputs[0].dtype or ir.DataType.FLOAT
        self.nodes: list[ir.Node] = []
        self._node = node

    @property
    def rank(self) -> int:
        return len(self.shape)

    # --- nodes and constants ------------------------------------------------------------------

    def add(
        self, op_type: str, inputs: Sequence[Value | None], *, main: bool = False, **attributes: Any
    ) -> Value:
        """A node; the ``main`` one is called like the layer."""
        scope = f"{self.layer.name}/{self.part}" if self.part else self.layer.name
        node = ir.node(
            op_type, inputs, attributes, name=self.weights.name(scope if main else f"{scope}/{op_type}")
        )
        node.metadata_props[LAYER] = self.weights.identity(self.layer)
        if not self.layer.trainable:
            node.metadata_props[FROZEN] = "1"
        value = node.outputs[0]
        value.name = f"{self._node.outputs[0].name}/{len(self.nodes)}"
        value.type = ir.TensorType(ir.DataType.INT64 if op_type == "Shape" else self.dtype)
        self.nodes.append(node)
        return value

    def weight(self, part: str, array: Any, change: Change = lambda a: a) -> Value:
        """A parameter of the layer, in ONNX's order."""
        dtype = self.dtype.numpy()

        def load() -> Any:
            return np.ascontiguousarray(change(keras.ops.convert_to_numpy(array).astype(dtype)))

        name = f"{self.layer.path}/{part}" if part else self.layer.name
        return self.weights.get((id(self.layer), part, dtype), name, load)

    def bias(self) -> Value | None:
        bias = getattr(self.layer, "bias", None)
        return None if bias is None else self.weight("bias", bias)

    def constant(self, numbers: Any, dtype: Any = np.int64) -> Value:
        """A constant that is no parameter."""
        array = np.asarray(numbers, dtype)
        key = (array.dtype, array.shape, array.tobytes())
        value = self.weights.get(
            key, f"onnx_nhwc_constant_{len(self.weights.graph.initializers)}", lambda: array
        )
        value.metadata_props[PARAMETER] = ""
        return value

    # --- axes ---------------------------------------------------------------------------------

    def per_axis(self, numbers: Any) -> list[int]:
        """A number for each of the image's axes."""
        count = self.rank - 2
        return [int(n) for n in numbers] if isinstance(numbers, (list, tuple)) else [int(numbers)] * count

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        return x if list(perm) == list(range(len(perm))) else self.add("Transpose", [x], perm=list(perm))

    def turn_axis(self, x: Value, axis: int) -> Value:
        """Move an axis to the place of the channels."""
        return self.transpose(x, self._there(axis))

    def turn_back(self, x: Value, axis: int) -> Value:
        there = self._there(axis)
        return self.transpose(x, sorted(range(self.rank), key=there.__getitem__))

    def _there(self, axis: int) -> list[int]:
        axis %= self.rank
        return [0, axis, *[a for a in range(self.rank) if a not in (0, axis)]]

    @property
    def _channels(self) -> int:
        last = getattr(self.layer, "data_format", "channels_last") == "channels_last"
        return self.rank - 1 if last else 1

    def to_first(self, x: Value) -> Value:
        """An image as ONNX's operators want it."""
        return self.turn_axis(x, self._channels)

    def to_own(self, x: Value) -> Value:
        """An image in the layer's order."""
        return self.turn_back(x, self._channels)

    def padding(
        self, size: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: str
    ) -> dict[str, Any]:
        """The attributes that pad as Keras does."""
        extents = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
        if padding == "valid":
            return {}
        if padding == "causal":
            return {"pads": [extents[0] - 1, 0]}
        lengths = [self.shape[a] for a in range(1, self.rank) if a != self._channels]
        if any(n is None and s > 1 for n, s in zip(lengths, strides, strict=True)):
            return {"auto_pad": "SAME_UPPER"}
        totals = [
            max(extent - (stride if not (length or 0) % stride else (length or 0) % stride), 0)
            for length, extent, stride in zip(lengths, extents, strides, strict=True)
        ]
        return {"pads": [t // 2 for t in totals] + [t - t // 2 for t in totals]}

    def finish(self, result: Value) -> None:
        """Put what was written in the place of the mark."""
        graph, old = self._node.graph, self._node.outputs[0]
        assert graph is not None
        if not self.nodes:  # it is a parameter
            old.replace_all_uses_with(result, replace_graph_outputs=True)
            graph.remove(self._node, safe=True)
            return
        result.type, result.shape = old.type, old.shape
        ir.convenience.replace_nodes_and_values(graph, self._node, [self._node], self.nodes, [old], [result])
