"""Sampling by grids, and the grids of affine transformations."""

from __future__ import annotations

from onnx_nhwc.export.torch.call import Call
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["affine_grid", "grid_sample"]

_MODES = {
    "linear": "bilinear",
    "bilinear": "bilinear",
    "nearest": "nearest",
    "cubic": "bicubic",
    "bicubic": "bicubic",
}


def grid_sample(call: Call) -> str:
    mode = call.attribute("mode", "linear")
    mode = _MODES.get(mode, mode)
    padding = call.attribute("padding_mode", "zeros")
    aligned = bool(call.attribute("align_corners", 0))
    return (
        f'F.grid_sample({call.tensor(0)}, {call.tensor(1)}, mode="{mode}", padding_mode="{padding}", '
        f"align_corners={aligned})"
    )


def affine_grid(call: Call) -> str:
    size = call.integers("size", 1)
    if size is None:
        raise UnsupportedError("its size is computed at run time")
    aligned = bool(call.attribute("align_corners", 0))
    return f"F.affine_grid({call.tensor(0)}, {size}, align_corners={aligned})"
