"""Calls nodes like the layers of Keras that they come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import onnx_ir as ir

__all__ = ["layer_of", "name_nodes"]

_BIASED = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Dense),
    *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
)
_MAIN = {"Conv", "ConvTranspose", "BatchNormalization", "MatMul", "Gemm", "PRelu", "LSTM", "GRU", "RNN"}
_HELPERS = {"Transpose", "Reshape", "Identity", "Cast", "Squeeze", "Unsqueeze", "Shape", "Pad", "Constant"}


def layer_of(scope: str, layers: set[str]) -> str:
    """Return the innermost layer in a node's scope, as TensorFlow writes it.

    >>> layer_of("net_1/block/conv_2/convolution", {"block", "conv"})
    'conv'
    >>> layer_of("net/Relu__7", {"conv"})
    ''
    """
    for part in reversed(scope.split("/")[:-1]):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in layers:
                return name
    return ""


def name_nodes(model: ir.Model, layers: Sequence[Any]) -> None:
    """Give the main node of every layer the layer's name, and other nodes names below that.

    A layer with weights is ``/layer/Conv``, which is how a scope is told from a name.
    """
    names = {layer.name for layer in layers}
    groups: dict[str, list[ir.Node]] = {}
    for node in model.graph:
        layer = layer_of(node.name or "", names)
        if layer:
            scope = (node.name or "").split(layer, 1)[0]
            groups.setdefault(f"{scope}|{layer}", []).append(node)
    taken: dict[str, int] = {}

    def unique(name: str) -> str:
        taken[name] = taken.get(name, 0) + 1
        return name if taken[name] == 1 else f"{name}_{taken[name] - 1}"

    by_name = {layer.name: layer for layer in layers}
    for key, nodes in groups.items():
        layer = key.split("|")[1]
        _keep_bias(by_name[layer], nodes)
        rest = [node for node in nodes if node.op_type not in _HELPERS] or nodes
        main = next((node for node in rest if node.op_type in _MAIN), rest[-1])
        for node in nodes:
            if node is not main:
                node.name = unique(f"{layer}/{node.op_type}")
            else:
                node.name = unique(f"/{layer}/{node.op_type}" if node.op_type in _MAIN else layer)


def _keep_bias(layer: Any, nodes: Sequence[ir.Node]) -> None:
    """Give a layer its bias back where it was all zeros, and left out for that."""
    bias = getattr(layer, "bias", None)
    if bias is None or not isinstance(layer, _BIASED):
        return
    main = next(
        (node for node in reversed(nodes) if node.op_type in ("Conv", "ConvTranspose", "MatMul")), None
    )
    if main is None or len(main.inputs) > 2 or any(node.op_type == "Add" for node in nodes):
        return
    array = keras.ops.convert_to_numpy(bias)
    graph, result = main.graph, main.outputs[0]
    dtype = ir.DataType.from_numpy(array.dtype) if result.dtype is None else result.dtype
    if array.any() or array.ndim != 1 or graph is None:
        return
    name = f"{main.name}/zero_bias"
    value = ir.Value(name=name, const_value=ir.tensor(array.astype(dtype.numpy()), name=name))
    value.type, value.shape = ir.TensorType(dtype), ir.Shape(array.shape)
    graph.register_initializer(value)
    if main.op_type != "MatMul":
        main.resize_inputs(3)
        main.replace_input_with(2, value)
        return
    add = ir.node("Add", [result, value], name=f"{main.name}/bias")
    add.outputs[0].name = f"{result.name}/bias"
    add.outputs[0].type, add.outputs[0].shape = result.type, result.shape
    result.replace_all_uses_with(add.outputs[0], replace_graph_outputs=True)
    add.replace_input_with(0, result)
    graph.insert_after(main, add)
