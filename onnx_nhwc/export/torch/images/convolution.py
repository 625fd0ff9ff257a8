"""Convolutions."""

from __future__ import annotations

from typing import Any

from onnx_nhwc.export.torch.call import Call
from onnx_nhwc.export.torch.images.padding import Window, padded
from onnx_nhwc.export.torch.tensor import Argument
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["conv"]


def single(values: list[int]) -> Any:
    """A number where all axes have the same one."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def conv(call: Call) -> Any:
    """Conv as ``nn.Conv1d``, 2d, 3d."""
    kernel = call.constant(1)
    if kernel is None or (call.has(2) and call.constant(2) is None):
        return computed(call)
    filters, per_group, *size = kernel.shape
    n, group = len(size), call.attribute("group", 1)
    if not 1 <= n <= 3:
        raise UnsupportedError(f"PyTorch has no convolution of {n} axes")
    window = Window.of(call, size)
    x = padded(call, window)
    bias = call.has(2)
    arguments: list[Argument] = [
        ("in_channels", per_group * group),
        ("out_channels", filters),
        ("kernel_size", single(size)),
        ("stride", single(window.strides)),
        ("padding", single(window.symmetric)),
        ("dilation", single(window.dilations)),
        ("groups", group),
        ("bias", bias),
    ]
    weights = {"weight": call.loader(1)}
    if bias:
        weights["bias"] = call.loader(2)
    return f"{call.module(f'nn.Conv{n}d', arguments, 3, weights, 1)}({x})"


def computed(call: Call) -> str:
    """A convolution with a kernel that is computed."""
    size = list(call.static(1)[2:])
    window = Window.of(call, size)
    x = padded(call, window)
    bias = f", {call.tensor(2)}" if call.has(2) else ""
    given = (
        f"stride={single(window.strides)}, padding={single(window.symmetric)}, "
        f"dilation={single(window.dilations)}, groups={call.attribute('group', 1)}"
    )
    return f"F.conv{len(size)}d({x}, {call.tensor(1)}{bias}, {given})"
