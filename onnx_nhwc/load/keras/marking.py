"""Carries layers through tf2onnx.

What Keras traces of a layer, TensorFlow folds and tf2onnx takes apart: a BatchNormalization becomes a
product and a sum, a signal an image of one row. While a model is traced, every layer that has a form
of its own (see :mod:`onnx_nhwc.load.keras.layer_forms`) is therefore replaced by operations that TensorFlow
cannot simplify and ONNX does not have, with the number of the call in them. What arrives in ONNX is
written anew by the layer's form, with the parameters of that layer, unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import onnx_ir as ir

from onnx_nhwc.load.keras.form_writer import Weights, Writer
from onnx_nhwc.load.keras.layer_forms import Form, form_of
from onnx_nhwc.load.keras.marks import PACK, UNPACK, Mark, mark
from onnx_nhwc.load.keras.operations import OPERATIONS
from onnx_nhwc.load.keras.traces import traces_of
from onnx_nhwc.passes.errors import ConversionError

__all__ = ["DOMAIN", "handlers", "marked", "restore"]

DOMAIN = "onnx_nhwc.marked"


@contextmanager
def marked(layers: Sequence[Any]) -> Iterator[list[Mark]]:
    """Let layers that have a form, when called, leave a mark, and others be traced as tf2onnx can read."""
    marks: list[Mark] = []
    changed: list[tuple[Any, str]] = []

    def change(layer: Any, name: str, function: Any) -> None:
        if name not in layer.__dict__:
            layer.__dict__[name] = function
            changed.append((layer, name))

    try:
        for layer in layers:
            form = form_of(layer)
            if form is not None:
                change(layer, "call", _leave_mark(layer, form, marks))
            for name, function in traces_of(layer, marks).items():
                change(layer, name, function)
        yield marks
    finally:
        for layer, name in changed:
            layer.__dict__.pop(name, None)


def _leave_mark(layer: Any, form: Form, marks: list[Mark]) -> Any:
    own = layer.call

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        import tensorflow as tf

        known = tf.is_tensor(inputs) and inputs.shape.rank is not None
        masked = kwargs.get("mask") is not None
        if not known or masked or (kwargs.get("training") and layer.trainable):
            return own(inputs, *args, **kwargs)
        shape = tuple(inputs.shape)
        if not form.own(layer, shape):
            return own(inputs, *args, **kwargs)
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        x = keras.ops.cast(inputs, keras.backend.result_type(dtype, "float32")) if form.wide else inputs
        y = mark(x, layer, form, layer.compute_output_shape(shape), marks)
        y = keras.ops.cast(y, layer.compute_dtype) if form.wide else y
        activation = getattr(layer, "activation", None)
        return y if activation is None else activation(y)

    return call


def handlers() -> dict[str, Any]:
    """What tf2onnx is to do with a mark, and with what it does not know."""
    return {PACK: (_ignore, []), UNPACK: (_keep_mark, []), **OPERATIONS}


def _ignore(ctx: Any, node: Any, name: str, args: Any) -> None:
    """What is packed is looked at where it is unpacked."""


def _keep_mark(ctx: Any, node: Any, name: str, args: Any) -> None:
    packed = node.inputs[0]
    if packed.type != PACK or len(packed.input) != 2 or not packed.inputs[1].is_const():
        raise ConversionError(f"ONNX has no form for TensorFlow's {UNPACK}", node=f"'{name}'")
    number = int(packed.inputs[1].get_tensor_value())
    shapes, dtypes = [ctx.get_shape(node.output[0])], [ctx.get_dtype(node.output[0])]
    inputs, outputs = [packed.input[0]], list(node.output)
    ctx.remove_node(node.name)
    ctx.make_node(
        "Mark", inputs, name=name, outputs=outputs, shapes=shapes, dtypes=dtypes,
        domain=DOMAIN, attr={"number": number},
    )  # fmt: skip


def restore(model: ir.Model, marks: Sequence[Mark]) -> None:
    """Write every marked layer in its form."""
    weights = Weights(model.graph)
    for node in list(model.graph.all_nodes()):
        if node.domain == DOMAIN:
            found = marks[node.attributes["number"].as_int()]
            writer = Writer(weights, found.layer, found.shape, node)
            x = node.inputs[0]
            assert x is not None
            writer.finish(found.form.write(writer, x))
    for graph in model.graphs():
        graph.opset_imports.pop(DOMAIN, None)
    model.opset_imports.pop(DOMAIN, None)
