"""Keras as a target of the walk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import onnx_ir as ir
from keras import layers, ops

from onnx_nhwc.export import call as shared
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call, dtype_name, literal, small
from onnx_nhwc.export.keras.parts import Parts
from onnx_nhwc.export.keras.table import CHANNELS_FIRST, mapping_of
from onnx_nhwc.export.keras.tensors.selection import places
from onnx_nhwc.export.target import Mapping
from onnx_nhwc.export.values import Constant, UnsupportedError, Values
from onnx_nhwc.export.walk import Walk

__all__ = ["Keras", "build"]


def build(model: ir.Model, *, channels_first: bool = False) -> Any:
    """Return the Keras model of a graph whose data are in the wanted layout already.

    Args:
        model: A graph of the functions dialect, or one that is channels first.
        channels_first: Are images channels first?

    Raises:
        UnsupportedNodesError: Some nodes cannot be expressed. No weight has been moved then.
    """
    return Walk(model, Keras(channels_first=channels_first)).run()


class Keras:
    """Builds a functional model. See :class:`onnx_nhwc.export.target.Target` for what the methods do."""

    name = "Keras"

    def __init__(self, *, channels_first: bool) -> None:
        self.channels_first = channels_first

    def begin(self, walk: Values) -> None:
        self._walk = walk
        self._parts = Parts(walk)

    # --- inputs, outputs, the model ----------------------------------------------------------

    def input(self, name: str, shape: Sequence[int | None], dtype: str) -> Any:
        tensor = keras.Input(batch_shape=tuple(shape), dtype=dtype, name=name)
        self._parts.keep(tensor._keras_history.operation)
        self._parts.inputs.append(tensor)
        return tensor

    def output(self, name: str, tensor: Any) -> Any:
        """An output under its own name, which an input may have, too, if it is that output."""
        if any(name == x.name for x in self._parts.inputs):
            name = self._walk.names.unique(name)
        if "float" in tensor.dtype:
            return self._parts.keep(layers.Identity(name=name, dtype=tensor.dtype))(tensor)
        copied = ops.copy(tensor)  # Keras takes a layer of type int8 for a quantised one
        self._parts.keep(copied._keras_history.operation).name = name
        return copied

    def model(self, outputs: Sequence[tuple[str, Any]], name: str) -> Any:
        self._parts.first_input()
        inputs = self._parts.inputs
        model = keras.Model(
            inputs[0] if len(inputs) == 1 else inputs,
            outputs[0][1] if len(outputs) == 1 else dict(outputs),
            name=self._walk.names.unique(name),
        )
        for variable, load in self._parts.pending:
            variable.assign(load())
        return model

    # --- nodes -------------------------------------------------------------------------------

    def call(
        self, node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], images: Images | None
    ) -> Call:
        return Call(self._walk, self._parts, node, op_type, inputs, images)

    def mapping(self, call: shared.Call) -> Mapping:
        mapping = mapping_of(call.node.domain, call.op_type)
        if mapping is None:
            raise UnsupportedError("there is no mapping for this operator")
        if call.on_images and call.images.first and call.node.op_type not in CHANNELS_FIRST:
            raise UnsupportedError("it has no channels-first form in Keras")
        return mapping

    def finished(self, call: shared.Call, results: list[Any]) -> list[Any]:
        assert isinstance(call, Call)
        node = call.node
        for i, result in enumerate(results):
            dtype = node.outputs[i].dtype if i < len(node.outputs) else None
            if isinstance(result, keras.KerasTensor) and dtype is not None:
                results[i] = call.cast(result, dtype_name(dtype))
        self._parts.operations.give(results, call.name, own=not call.layers)
        return results

    # --- values ------------------------------------------------------------------------------

    def dtype(self, dtype: ir.DataType | None) -> str:
        return dtype_name(dtype)

    def constant(self, value: ir.Value, constant: Constant) -> Any:
        if constant.trainable or not small(constant):
            return self._parts.weight(value, constant)
        return literal(constant)

    def tensor(self, operand: Any, dtype: str) -> Any:
        if isinstance(operand, keras.KerasTensor):
            return operand
        zero = ops.cast(self._parts.zero(), dtype)
        return ops.logical_or(zero, operand) if dtype == "bool" else plus(zero, operand)

    def stand_in(self, shape: Sequence[int | None], dtype: str) -> Any:
        return keras.KerasTensor(tuple(shape), dtype=dtype)

    # --- control flow ------------------------------------------------------------------------

    def scalar(self, x: Any) -> Any:
        return ops.reshape(x, ())

    def choose(self, condition: Any, new: Any, old: Any) -> Any:
        return ops.where(condition, new, old)

    def both(self, a: Any, b: Any) -> Any:
        return ops.logical_and(a, b)

    def above(self, number: Any, limit: int) -> Any:
        return ops.less(limit, number)

    def stack(self, tensors: Sequence[Any], axis: int) -> Any:
        return ops.stack(list(tensors), axis=axis)

    def part(self, x: Any, axis: int, index: int) -> Any:
        return x[tuple(index if i == axis else slice(None) for i in range(len(x.shape)))]

    def places(self, flags: Sequence[Any]) -> Any:
        return places(ops.stack([ops.reshape(flag, ()) for flag in flags], axis=0))

    def entries(self, x: Any, places: Any) -> Any:
        return ops.take(x, places, axis=0)
