"""Calls nodes like the layers of Keras that they come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnx_nhwc.passes.graph import LAYER

__all__ = ["layer_of", "name_nodes"]

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

    A layer with weights is ``/layer/Conv``, which is how a scope is told from a name. What a layer's
    form has written has its name already.
    """
    names = {layer.name for layer in layers}
    taken: dict[str, int] = {}
    groups: dict[str, list[ir.Node]] = {}
    for node in model.graph:
        name = node.name or ""
        if LAYER in node.metadata_props:
            taken[name] = 1
        elif layer := layer_of(name, names):
            groups.setdefault(f"{name.split(layer, 1)[0]}|{layer}", []).append(node)

    def unique(name: str) -> str:
        taken[name] = taken.get(name, 0) + 1
        return name if taken[name] == 1 else f"{name}_{taken[name] - 1}"

    for key, nodes in groups.items():
        layer = key.split("|")[1]
        rest = [node for node in nodes if node.op_type not in _HELPERS] or nodes
        main = next((node for node in rest if node.op_type in _MAIN), rest[-1])
        for node in nodes:
            if node is not main or layer in taken:
                node.name = unique(f"{layer}/{node.op_type}")
            else:
                node.name = unique(f"/{layer}/{node.op_type}" if node.op_type in _MAIN else layer)
