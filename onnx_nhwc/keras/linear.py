"""Products: Dense where a weight is involved, matmul and einsum elsewhere; attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from keras import layers, ops

from onnx_nhwc.keras.arithmetic import plus
from onnx_nhwc.keras.call import Call, is_float
from onnx_nhwc.keras.elementwise import both
from onnx_nhwc.passes import graph as g


def matmul(call: Call) -> Any:
    """MatMul; with a matrix of weights it is a Dense layer, together with the Add behind it."""
    kernel = call.constant(1)
    if kernel is None or len(kernel.shape) != 2 or not is_float(kernel.dtype):
        return ops.matmul(*both(call))
    x = call.tensor(0)
    if len(x.shape) < 2 or x.shape[-1] is None:
        return ops.matmul(*both(call))
    units = kernel.shape[1]
    add, bias = _bias(call, units)
    layer = call.layer(layers.Dense, 1, units=units, use_bias=add is not None)
    y = layer(x)
    call.assign(layer.kernel, call.loader(1))
    if add is not None and bias is not None:
        load = call.exporter.fact(bias).load
        call.assign(layer.bias, lambda: load().reshape(-1))
        call.exporter.finish(add, [y])
    return y


def _bias(call: Call, units: int) -> tuple[ir.Node | None, ir.Value | None]:
    """The Add of a weight that alone reads this product."""
    output = call.node.outputs[0]
    uses = list(output.uses())
    if len(uses) != 1 or output.is_graph_output() or uses[0].node.op_type != "Add":
        return None, None
    node = uses[0].node
    other = node.inputs[1 - uses[0].idx]
    tensor = g.constant(other)
    if other is None or tensor is None or node.graph is not call.node.graph:
        return None, None
    shape = tuple(int(size) for size in tensor.shape.numpy())
    fits = int(np.prod(shape)) == units == shape[-1] if shape else False
    if not fits or len(shape) > call.rank(0):
        return None, None
    return node, other


def gemm(call: Call) -> Any:
    """Gemm; with constant B and C it is a Dense layer."""
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    a = call.tensor(0)
    a = call.transpose(a, (1, 0)) if call.attribute("transA", 0) else a
    turned = bool(call.attribute("transB", 0))
    kernel, bias = call.constant(1), call.constant(2)
    dense = kernel is not None and is_float(kernel.dtype) and a.shape[-1] is not None
    units = kernel.shape[0 if turned else 1] if kernel is not None else 0
    if call.has(2):
        dense = dense and bias is not None and bias.size in (1, units)
        dense = dense and (len(bias.shape) < 2 or bias.shape[0] == 1)  # type: ignore[union-attr]
    if dense:
        layer = call.layer(layers.Dense, 1, units=units, use_bias=call.has(2))
        y = layer(a)
        call.assign(layer.kernel, call.loader(1, lambda w: (w.T if turned else w) * _as(alpha, w)))
        if call.has(2):
            call.assign(
                layer.bias,
                call.loader(2, lambda b: np.broadcast_to(b.reshape(-1), (units,)) * _as(beta, b)),
            )
        return y
    b = call.tensor(1)
    y = ops.matmul(a, call.transpose(b, (1, 0)) if turned else b)
    y = ops.multiply(y, _scalar(alpha, y)) if alpha != 1.0 else y
    if call.has(2):
        c = call.x(2)
        y = plus(y, ops.multiply(c, _scalar(beta, y)) if beta != 1.0 else c)
    return y


def _as(factor: float, array: Any) -> Any:
    return np.asarray(factor, array.dtype)


def _scalar(factor: float, x: Any) -> Any:
    return factor if is_float(x.dtype) else int(factor)


def einsum(call: Call) -> Any:
    operands = [call.x(i) for i in range(call.count)]
    operands[0] = call.tensor(0)
    equation = call.attribute("equation").replace(" ", "")
    return ops.einsum(equation, *operands)
