"""LayerNormalization in pieces.

ONNX's LayerNormalization runs over the last axes only. In the operators that it is made of, it runs
over any, and whatever order the compiler gives these; the exporter then takes them for what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import onnx_ir as ir

from onnx_nhwc.load.keras.form_writer import Value, Weights, Writer
from onnx_nhwc.passes import graph as g
from onnx_nhwc.passes.shapes.infer import infer

__all__ = ["write_normalization", "write_out"]


def write_normalization(
    w: Writer, x: Value, axes: Sequence[int], epsilon: float, scale: Value | None, bias: Value | None
) -> Value:
    """(x - mean) / sqrt(variance + epsilon) scale + bias, operator by operator."""
    w.part = "centred"
    mean = w.add("ReduceMean", [x], axes=list(axes), keepdims=1)
    centred = w.add("Sub", [x, mean])
    w.part = "variance"
    square = w.add("Mul", [centred, centred])
    variance = w.add("ReduceMean", [square], axes=list(axes), keepdims=1)
    small = w.add("Add", [variance, w.constant(epsilon, w.dtype.numpy())])
    deviation = w.add("Sqrt", [small])
    w.part = ""
    y = w.add("Div", [centred, deviation], main=True)
    w.part = "affine"
    y = w.add("Mul", [y, scale]) if scale is not None else y
    return w.add("Add", [y, bias]) if bias is not None else y


def write_out(model: ir.Model) -> None:
    """Write every LayerNormalization in pieces, so that its axes may move."""
    shapes, weights = infer(model), Weights(model.graph)
    for node in list(model.graph.all_nodes()):
        x = node.inputs[0] if node.inputs else None
        dims = shapes.shape(x) if x is not None else None
        if node.op_type != "LayerNormalization" or node.domain not in g.STANDARD or x is None or dims is None:
            continue
        if g.opset_of(node) > 17 or len(node.outputs) > 1 or not x.dtype or "FLOAT" not in x.dtype.name:
            continue
        rank = len(dims)
        layer = SimpleNamespace(name=node.name or node.outputs[0].name, path="", trainable=True)
        w = Writer(weights, layer, [None] * rank, node)
        w.dtype = x.dtype
        scale, bias = node.inputs[1], g.input_at(node, 2)
        scale = None if scale is None or "/absent_" in (scale.name or "") else scale
        axes = range(g.attribute(node, "axis", -1) % rank, rank)
        y = write_normalization(w, x, axes, g.attribute(node, "epsilon", 1e-5), scale, bias)
        for written in w.nodes:
            for key in (g.LAYER, g.FROZEN):
                written.metadata_props.pop(key, None)
                if key in node.metadata_props:
                    written.metadata_props[key] = node.metadata_props[key]
        w.finish(y)
