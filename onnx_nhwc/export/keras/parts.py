"""What a Keras model is made of while it is built: layers, weights, sizes, names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.operation_names import OperationNames
from onnx_nhwc.export.keras.sizes import Sizes
from onnx_nhwc.export.values import Array, Constant, Values
from onnx_nhwc.load.keras.parameters import rows_in_order
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = ["NO_INPUT", "Parts"]

NO_INPUT = "no_input"
"""The input of a model without inputs: it has any length, and its numbers do not matter."""


class Parts:
    """The parts of one model.

    Attributes:
        sizes: Sizes that are known at run time only.
        operations: The names of operations.
        pending: Variables, and what loads their values once the whole model is known to work.
        shared: Layers by their nodes, or by their parameters, and what they were made with.
        regrouped: Values that a layer also returns under other sizes.
        inputs: The model's inputs.
    """

    def __init__(self, walk: Values) -> None:
        self.names = walk.names
        self.sizes = Sizes(walk)
        self.operations = OperationNames(walk.names)
        self.pending: list[tuple[Any, Callable[[], Array]]] = []
        self.shared: dict[Any, tuple[Any, Any]] = {}
        self.regrouped: dict[ir.Value, tuple[tuple[Dim, ...], Any]] = {}
        self.inputs: list[Any] = []
        self._weights: dict[ir.Value, Any] = {}
        self._turned: dict[int, tuple[Any, Any, tuple[int, ...]]] = {}
        self._zero: Any = None

    def keep(self, layer: Any) -> Any:
        """Remember that a layer has its final name."""
        return self.operations.keep(layer)

    def first_input(self) -> Any:
        """The first input; a model without one is called on something, too."""
        if not self.inputs:
            self.inputs.append(keras.Input((), name=self.names.unique(NO_INPUT)))
            self.keep(self.inputs[0]._keras_history.operation)
        return self.inputs[0]

    def zero(self) -> Any:
        """A symbolic 0: what a layer without inputs is called on."""
        if self._zero is None:
            x = self.first_input()
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
