"""Quantised numbers: what they stand for, computed in floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_nhwc.export.torch.call import Call, torch_dtype
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["dequantize", "dynamic_quantize", "matmul_integer", "quantize"]


def _along(call: Call, index: int, axis: int) -> str:
    """A scale or a zero point, shaped to broadcast; blocks are repeated."""
    shape, rank, text = call.shape(index), call.rank(0), str(call.tensor(index))
    if len(shape) == 0 or shape == (1,):
        known = call.constant(index)
        if known is not None:
            return repr(known.array.reshape(()).item())
        return text if not shape else f"{text}.reshape(())"
    if len(shape) == 1:
        wide = ["1"] * rank
        wide[axis % rank] = "-1"
        return text if axis % rank == rank - 1 else f"{text}.reshape({', '.join(wide)})"
    block = call.attribute("block_size", 0)
    size = call.shape(0)[axis]
    if not block or size is None:
        raise UnsupportedError("its scale is of a higher rank, and no block size is given")
    wide_text = f"{text}.repeat_interleave({block}, {axis % rank})"
    fits = shape[axis] is not None and shape[axis] * block == size
    return wide_text if fits else f"{wide_text}.narrow({axis % rank}, 0, {size})"


def quantize(call: Call) -> str:
    """QuantizeLinear: round half to even, add the zero point, saturate."""
    axis, target = call.attribute("axis", 1), call.out_dtype()
    x = str(call.tensor(0))
    if call.dtype(0) == "int32":
        x = f"{x}.double()"
    elif call.dtype(0) == "float16":
        x = f"{x}.float()"
    y = f"torch.round({x} / {_along(call, 1, axis)})"
    if call.has(2):
        y = f"{y} + {_along(call, 2, axis)}"
    return saturated(y, target)


def saturated(text: str, target: str) -> str:
    limits = np.iinfo(target)
    return f"torch.clamp({text}, {limits.min}, {limits.max}).to({torch_dtype(target)})"


def dequantize(call: Call) -> str:
    axis, dtype = call.attribute("axis", 1), call.out_dtype()
    x = f"{call.tensor(0)}.to({torch_dtype(dtype)})"
    if call.dtype(0) == "int32" and call.has(2):
        return (
            f"({call.tensor(0)} - {_along(call, 2, axis)}).to({torch_dtype(dtype)}) * {_along(call, 1, axis)}"
        )
    if call.has(2) and not _is_zero(call, 2):
        x = f"({x} - {_along(call, 2, axis)})"
    return f"{x} * {_along(call, 1, axis)}"


def _is_zero(call: Call, index: int) -> bool:
    known = call.constant(index)
    return known is not None and not np.any(known.array)


def dynamic_quantize(call: Call) -> Any:
    """DynamicQuantizeLinear: to uint8, by the range of the data."""
    x = call.tensor(0)
    top = f"torch.clamp({x}.max(), min=0.0)"
    bottom = call.step(f"torch.clamp({x}.min(), max=0.0)", "float32", ())
    scale = call.step(f"({top} - {bottom}) / 255.0", "float32", ())
    zero = call.step(f"torch.clamp(torch.round(-{bottom} / {scale}), 0.0, 255.0)", "float32", ())
    return [saturated(f"torch.round({x} / {scale}) + {zero}", "uint8"), scale, f"{zero}.to(torch.uint8)"]


def matmul_integer(call: Call) -> str:
    """MatMulInteger: in doubles, where sums are exact."""
    parts = []
    for index, zero in ((0, 2), (1, 3)):
        text = f"{call.tensor(index)}.double()"
        if call.has(zero):
            point = str(call.tensor(zero))
            if index == 0 and len(call.shape(zero)) == 1 and call.shape(zero) != (1,):
                point = f"{point}.unsqueeze(-1)"
            text = f"({text} - {point})"
        parts.append(text)
    return f"({parts[0]} @ {parts[1]}).to(torch.int32)"
