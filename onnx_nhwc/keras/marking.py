"""Carries BatchNormalization and Normalization through tf2onnx.

Keras traces them as a product and a sum, whose factors TensorFlow then folds into whatever is near.
While a model is traced, every such layer is therefore replaced by one elementwise operation that
TensorFlow cannot simplify and ONNX does not have, with the number of the layer in it. What arrives in
ONNX is made a BatchNormalization, with the parameters of that layer, unchanged. One that was a
Normalization says so in its metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from onnx_nhwc.keras.operations import OPERATIONS
from onnx_nhwc.passes.errors import ConversionError

__all__ = [
    "COUNT",
    "DOMAIN",
    "NORMALIZATION",
    "handlers",
    "marked",
    "normalizations",
    "restore",
    "uncompiled",
]

DOMAIN = "onnx_nhwc.marked"
_MARK = "Polygamma"
_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
NORMALIZATION = "onnx_nhwc.keras.normalization"
"""Metadata of a node that is a Normalization: where its numbers are from, ``adapted`` or ``given``."""
COUNT = "onnx_nhwc.keras.count"
"""And the number of samples that it was adapted to."""
_FIRST = 7_000_000  # nobody takes this derivative of the gamma function


def normalizations(layers: Sequence[Any]) -> list[Any]:
    """Those of a model's layers that are carried through."""
    return [layer for layer in layers if layer.built and (_is_batch(layer) or _is_normalization(layer))]


def _is_batch(layer: Any) -> bool:
    return type(layer).call is keras.layers.BatchNormalization.call


def _is_normalization(layer: Any) -> bool:
    own = type(layer).call is keras.layers.Normalization.call
    return own and not layer.invert and len(layer.axis) == 1 and layer.mean is not None


@contextmanager
def marked(layers: Sequence[Any]) -> Iterator[None]:
    """Let these layers, when called, leave a mark with their number."""
    for number, layer in enumerate(layers):
        layer.__dict__["call"] = _leave_mark(layer, number)
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("call", None)


@contextmanager
def uncompiled(layers: Sequence[Any]) -> Iterator[None]:
    """Let convolutions be traced as such where Keras has XLA compile them, which tf2onnx cannot read."""
    convolutions = [x for x in layers if isinstance(x, _CONVOLUTIONS) and "convolution_op" not in x.__dict__]
    for layer in convolutions:
        layer.__dict__["convolution_op"] = _convolution(layer)
    try:
        yield
    finally:
        for layer in convolutions:
            layer.__dict__.pop("convolution_op", None)


def _convolution(layer: Any) -> Any:
    own = layer.convolution_op

    def convolution_op(inputs: Any, kernel: Any) -> Any:
        import tensorflow as tf

        if layer.groups == 1 and not (layer.rank == 3 and layer.data_format == "channels_first"):
            return own(inputs, kernel)
        axes = "DHW"[-layer.rank :] if layer.rank > 1 else "W"
        return tf.nn.convolution(
            inputs,
            tf.convert_to_tensor(kernel),
            strides=list(layer.strides),
            padding="VALID" if layer.padding == "causal" else layer.padding.upper(),
            data_format=f"NC{axes}" if layer.data_format == "channels_first" else f"N{axes}C",
            dilations=list(layer.dilation_rate),
        )

    return convolution_op


def _leave_mark(layer: Any, number: int) -> Any:
    own = layer.call

    def call(inputs: Any, **given: Any) -> Any:
        import tensorflow as tf

        if not tf.is_tensor(inputs) or (given.get("training") and layer.trainable):
            return own(inputs, **given)
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        x = keras.ops.cast(inputs, dtype)
        y = tf.raw_ops.Polygamma(a=tf.constant(_FIRST + number, x.dtype), x=x)
        return keras.ops.cast(y, layer.compute_dtype)

    return call


def handlers() -> dict[str, Any]:
    """What tf2onnx is to do with a mark, and with what it does not know."""
    return {_MARK: (_keep_mark, []), **OPERATIONS}


def _keep_mark(ctx: Any, node: Any, name: str, args: Any) -> None:
    first = node.inputs[0]
    number = int(first.get_tensor_value()) - _FIRST if first.is_const() else -1
    if number < 0:
        raise ConversionError(f"ONNX has no form for TensorFlow's {_MARK}", node=f"'{name}'")
    shapes, dtypes = [ctx.get_shape(node.output[0])], [ctx.get_dtype(node.output[0])]
    inputs, outputs = [node.input[1]], list(node.output)
    ctx.remove_node(node.name)
    ctx.make_node(
        _MARK, inputs, name=name, outputs=outputs, shapes=shapes, dtypes=dtypes,
        domain=DOMAIN, attr={"number": number},
    )  # fmt: skip


def restore(model: ir.Model, layers: Sequence[Any]) -> None:
    """Make every mark a BatchNormalization."""
    weights: dict[int, list[ir.Value]] = {}
    for node in list(model.graph.all_nodes()):
        if node.domain == DOMAIN:
            number = node.attributes["number"].as_int()
            assert node.graph is not None
            if number not in weights:
                weights[number] = _weights(model, layers[number], node)
            _restore(node, layers[number], weights[number])
    for graph in model.graphs():
        graph.opset_imports.pop(DOMAIN, None)
    model.opset_imports.pop(DOMAIN, None)


def _weights(model: ir.Model, layer: Any, node: ir.Node) -> list[ir.Value]:
    x = node.inputs[0]
    assert x is not None
    dtype = node.outputs[0].dtype or x.dtype or ir.DataType.FLOAT
    values = []
    for part, array in _parameters(layer).items():
        name = f"{layer.path}/{part}"
        while name in model.graph.initializers:
            name += "_"
        data = keras.ops.convert_to_numpy(array).astype(dtype.numpy())
        value = ir.Value(name=name, const_value=ir.tensor(data, name=name))
        value.type, value.shape = ir.TensorType(dtype), ir.Shape(data.shape)
        model.graph.register_initializer(value)
        values.append(value)
    return values


def _parameters(layer: Any) -> dict[str, Any]:
    """By their names, in the order of the inputs of ONNX's BatchNormalization."""
    if _is_normalization(layer):
        mean, variance = (np.asarray(keras.ops.reshape(x, (-1,))) for x in (layer.mean, layer.variance))
        names, scaled, shifted = ("mean", "variance"), False, False
        variance = np.maximum(variance, keras.config.epsilon() ** 2)
    else:
        mean, variance = layer.moving_mean, layer.moving_variance
        names, scaled, shifted = ("moving_mean", "moving_variance"), layer.scale, layer.center
    size = int(mean.shape[0])
    return {
        ("gamma" if scaled else "absent_gamma"): layer.gamma if scaled else np.ones(size),
        ("beta" if shifted else "absent_beta"): layer.beta if shifted else np.zeros(size),
        names[0]: mean,
        names[1]: variance,
    }


def _restore(node: ir.Node, layer: Any, weights: Sequence[ir.Value]) -> None:
    normalization = _is_normalization(layer)
    rank = len(layer._build_input_shape) if normalization else layer.input_spec.ndim
    axis = (layer.axis[0] if normalization else layer.axis) % rank
    rest = [a for a in range(rank) if a not in (0, axis)]
    there = [0, axis, *rest]
    back = sorted(range(rank), key=there.__getitem__)
    new: list[ir.Node] = []

    def add(op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        made = ir.node(op_type, inputs, attributes, name=f"{node.name}/{op_type}" if new else node.name)
        new.append(made)
        value = made.outputs[0]
        value.name = f"{node.outputs[0].name}/{len(new)}"
        value.type = node.outputs[0].type
        return value

    value = node.inputs[0]
    if axis != 1 and rank > 1:
        value = add("Transpose", [value], perm=there)
    epsilon, momentum = (0.0, 0.9) if normalization else (float(layer.epsilon), float(layer.momentum))
    value = add("BatchNormalization", [value, *weights], epsilon=epsilon, momentum=momentum)
    new[-1].name = node.name
    if normalization:
        new[-1].metadata_props[NORMALIZATION] = "adapted" if layer.input_mean is None else "given"
        new[-1].metadata_props[COUNT] = str(int(layer.count)) if layer.input_mean is None else "0"
    if axis != 1 and rank > 1:
        value = add("Transpose", [value], perm=back)
    graph, old = node.graph, node.outputs[0]
    assert graph is not None
    value.shape = old.shape
    ir.convenience.replace_nodes_and_values(graph, node, [node], new, [old], [value])
