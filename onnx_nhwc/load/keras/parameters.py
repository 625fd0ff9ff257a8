"""Parameters that no layer of Keras has a place for: all rows of an Embedding, in order.

The exporter writes them so, and they are read as what they are. Through tf2onnx they would be lookups
whose indices are computed, and grow with every conversion.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import KerasTensor, layers

from onnx_nhwc.load.keras.form_writer import Value, Writer
from onnx_nhwc.load.keras.layer_forms import Form

__all__ = ["PARAMETER", "is_parameter", "rows_in_order"]

Shape = tuple[int, ...]


def rows_in_order(shape: Shape) -> Any:
    """The indices with which an Embedding returns its table in this shape.

    >>> rows_in_order((2, 2, 5)).tolist(), rows_in_order((5,)).tolist()
    ([[0, 1], [2, 3]], 0)
    """
    rows = shape[:-1]
    return np.arange(int(np.prod(rows)), dtype="int32").reshape(rows)


def is_parameter(layer: Any) -> bool:
    """Is this an Embedding that only ever returns its whole table?"""
    plain = type(layer) is layers.Embedding and layer.built
    if not plain or layer.quantization_mode is not None or layer.lora_enabled or layer.mask_zero:
        return False
    nodes = layer._inbound_nodes
    return bool(nodes) and all(_in_order(node.input_tensors[0], layer.input_dim) for node in nodes)


def _in_order(x: Any, count: int) -> bool:
    if count == 1 and _is_zero(x):
        return True
    made = _made_by(x, "Add")
    arguments: tuple[Any, ...] = made.arguments.args if made is not None else ()
    if [isinstance(argument, KerasTensor) for argument in arguments] != [True, False]:
        return False
    zero, indices = arguments
    return _is_zero(zero) and np.array_equal(np.asarray(indices).reshape(-1), np.arange(count))


def _is_zero(x: Any) -> bool:
    made = _made_by(x, "Sum")
    return made is not None and _made_by(made.arguments.args[0], "ZerosLike") is not None


def _made_by(x: Any, kind: str) -> Any:
    """The call of an operation of this class that made a tensor."""
    history = getattr(x, "_keras_history", None)
    if history is None or type(history.operation).__name__ != kind:
        return None
    return history.operation._inbound_nodes[history.node_index]


def _write(w: Writer, x: Value) -> Value:
    shape = (*w.shape, w.layer.output_dim)
    return w.weight("", w.layer.embeddings, lambda table: table.reshape(shape))


PARAMETER = Form(_write)
