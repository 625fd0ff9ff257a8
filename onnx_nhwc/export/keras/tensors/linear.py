"""Products: Dense where a weight is involved, matmul and einsum elsewhere; attention."""

from __future__ import annotations

import re
import string
from typing import Any

import numpy as np
import onnx_ir as ir
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus, safe
from onnx_nhwc.export.keras.call import Call, is_float
from onnx_nhwc.export.keras.tensors.elementwise import both
from onnx_nhwc.passes import graph as g


def matmul(call: Call) -> Any:
    """MatMul; with a matrix of weights it is a Dense layer, together with the Add behind it."""
    if _is_kernel(call, 0) and call.rank(1) > 2 and call.shape(1)[-2] is not None:
        return _turned(call)
    if not _is_kernel(call, 1) or call.rank(0) < 2 or call.shape(0)[-1] is None:
        return ops.matmul(*both(call))
    _, units = call.static(1)
    add, bias = _bias(call, units, -1)
    more = [bias] if bias is not None else []
    layer = call.layer(layers.Dense, 1, more=more, units=units, use_bias=add is not None)
    return _run(call, layer, 1, add, bias)


def _is_kernel(call: Call, index: int) -> bool:
    constant = call.constant(index)
    return constant is not None and len(constant.shape) == 2 and is_float(constant.dtype)


def _turned(call: Call) -> Any:
    """A matrix of weights times columns: the layout compiler lets a product run transposed."""
    units, _ = call.static(0)
    lead = "abcdefgh"[: call.rank(1) - 2]
    *outer, _, columns = call.shape(1)
    add, bias = _bias(call, units, -2)
    if not safe((*outer, units, columns), (units, 1)):
        add = bias = None
    layer = call.layer(
        layers.EinsumDense,
        0,
        more=[bias] if bias is not None else [],
        equation=f"{lead}it,oi->{lead}ot",
        output_shape=(*[None] * (len(lead) - 1), units, None),
        bias_axes=None if add is None else "o",
    )
    return _run(call, layer, 0, add, bias)


def _run(call: Call, layer: Any, kernel: int, add: ir.Node | None, bias: ir.Value | None) -> Any:
    y = layer(call.tensor(1 - kernel))
    call.assign(layer.kernel, call.loader(kernel))
    if add is not None and bias is not None:
        load = call.walk.fact(bias).load
        call.assign(layer.bias, lambda: load().reshape(layer.bias.shape))
        call.walk.finish(add, [y])
    return y


def _bias(call: Call, units: int, axis: int) -> tuple[ir.Node | None, ir.Value | None]:
    """The Add of a weight along ``axis`` that alone reads this product."""
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
    fits = len(shape) >= -axis and int(np.prod(shape)) == units == shape[axis]
    if not fits or len(shape) > max(call.rank(0), call.rank(1)):
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
    letters = dict.fromkeys(re.findall("[A-Za-z]", equation))  # Keras takes small ones only
    equation = equation.translate(str.maketrans(dict(zip(letters, string.ascii_lowercase, strict=False))))
    return ops.einsum(equation, *operands)
