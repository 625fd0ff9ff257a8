"""Operations of TensorFlow that tf2onnx does not know, or gets wrong, in terms of those of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_nhwc.passes.errors import ConversionError

__all__ = ["OPERATIONS"]


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """erfc(x) = 1 - erf(x), which Keras's gelu is made of."""
    dtype = ctx.get_dtype(node.output[0])
    one = ctx.make_const(f"{name}/one", np.ones((), tensor_dtype_to_np_dtype(dtype))).output[0]
    x, outputs = node.input[0], list(node.output)
    shapes, dtypes = [ctx.get_shape(outputs[0])], [dtype]
    ctx.remove_node(node.name)
    erf = ctx.make_node("Erf", [x], shapes=shapes, dtypes=dtypes, name=f"{name}/Erf")
    ctx.make_node("Sub", [one, erf.output[0]], outputs=outputs, shapes=shapes, dtypes=dtypes, name=name)


def _bias_add(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Along axis 1, tf2onnx adds constants only: it puts a bias that is computed on the last axis."""
    x, bias = node.input
    if not node.is_nhwc():
        rank = ctx.get_rank(x)
        if rank is None:
            raise ConversionError("the rank of what a bias is added to is not known", node=f"'{name}'")
        shape = ctx.make_const(f"{name}/shape", np.array([-1] + [1] * (rank - 2), np.int64)).output[0]
        wide = ctx.make_node("Reshape", [bias, shape], name=f"{name}/Reshape")
        ctx.replace_input(node, bias, wide.output[0], 1)
    node.type = "Add"


OPERATIONS: dict[str, tuple[Any, list[Any]]] = {"Erfc": (_erfc, []), "BiasAdd": (_bias_add, [])}
"""What tf2onnx is to do with them."""
