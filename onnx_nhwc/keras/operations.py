"""Operations of TensorFlow that tf2onnx does not know, in terms of those of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype

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


OPERATIONS: dict[str, tuple[Any, list[Any]]] = {"Erfc": (_erfc, [])}
"""What tf2onnx is to do with them."""
