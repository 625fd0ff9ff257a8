"""Products of matrices; by a constant one, a Linear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from onnx_nhwc.export.torch.call import Call, is_float
from onnx_nhwc.export.values import Array, Constant

__all__ = ["einsum", "gemm", "matmul"]


def _is_matrix(constant: Constant | None) -> bool:
    return constant is not None and len(constant.shape) == 2 and is_float(constant.dtype)


def matmul(call: Call) -> Any:
    """MatMul; with a constant matrix, and the bias that alone reads it, a Linear."""
    kernel = call.constant(1)
    if kernel is None or not _is_matrix(kernel) or call.rank(0) < 2:
        return f"{call.tensor(0)} @ {call.tensor(1)}"
    inner, outer = kernel.shape
    add, bias = _bias(call, outer)
    weights: dict[str, Callable[[], Array]] = {"weight": call.loader(1, lambda a: a.T)}
    label = kernel.name
    if bias is not None:
        fact = call.walk.fact(bias)
        weights["bias"] = lambda: fact.array.reshape(-1)
        label = label if label.endswith(".weight") else fact.name or label
    arguments = [("in_features", inner), ("out_features", outer), ("bias", bias is not None)]
    module = call.module("nn.Linear", arguments, 2, weights, 1, label)
    text = f"{module}({call.tensor(0)})"
    if add is None:
        return text
    made = call.step(text, call.out_dtype(), _shape_of(call, add.outputs[0]))
    call.walk.finish(add, [made])
    return made


def _shape_of(call: Call, value: ir.Value) -> list[int | None]:
    dims = call.walk.shapes.shape(value) or ()
    return [dim.number if dim.static else None for dim in dims]


def _bias(call: Call, outer: int) -> tuple[ir.Node | None, ir.Value | None]:
    """The Add of a vector that alone reads a product."""
    result = call.node.outputs[0]
    uses = list(result.uses())
    if len(uses) != 1 or result.is_graph_output() or uses[0].node.op_type != "Add":
        return None, None
    add = uses[0].node
    other = add.inputs[1 - uses[0].idx]
    if add.graph is not call.node.graph or other is None or other.name == "":
        return None, None
    if ir.convenience.get_const_tensor(other) is None:
        return None, None
    fact = call.walk.fact(other)
    fits = isinstance(fact, Constant) and fact.size == outer and fact.shape[-1:] == (outer,)
    return (add, other) if fits and len(fact.shape) <= call.rank(0) else (None, None)


def gemm(call: Call) -> Any:
    """Gemm; with constant matrix and vector, a Linear."""
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    trans_a, trans_b = call.attribute("transA", 0), call.attribute("transB", 0)
    kernel, bias = call.constant(1), call.constant(2)
    plain = alpha == 1.0 and not trans_a and _is_matrix(kernel) and beta == 1.0
    if plain and kernel is not None and (not call.has(2) or bias is not None):
        outer, inner = kernel.shape if trans_b else kernel.shape[::-1]
        weights: dict[str, Callable[[], Array]] = {"weight": call.loader(1, lambda a: a if trans_b else a.T)}
        fits = bias is not None and bias.size == outer and bias.shape[-1:] == (outer,)
        if bias is None or fits:
            if bias is not None:
                weights["bias"] = call.loader(2, lambda a: a.reshape(-1))
            arguments = [("in_features", inner), ("out_features", outer), ("bias", bias is not None)]
            module = call.module("nn.Linear", arguments, 2, weights, 1)
            return f"{module}({call.tensor(0)})"
    a = f"{call.tensor(0)}.T" if trans_a else str(call.tensor(0))
    b = f"{call.tensor(1)}.T" if trans_b else str(call.tensor(1))
    integer = not is_float(call.dtype(0))
    text = f"{a} @ {b}"
    if alpha != 1.0:
        text = f"{int(alpha) if integer else alpha!r} * ({text})"
    if not call.has(2):
        return text
    c = str(call.x(2))
    return f"{text} + {c}" if beta == 1.0 else f"{text} + {int(beta) if integer else beta!r} * {c}"


def einsum(call: Call) -> str:
    operands = ", ".join(str(call.tensor(i)) for i in range(call.count))
    return f'torch.einsum("{call.attribute("equation").replace(" ", "")}", {operands})'
