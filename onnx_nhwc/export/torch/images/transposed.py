"""Transposed convolutions."""

from __future__ import annotations

from typing import Any

from onnx_nhwc.export.torch.call import Call
from onnx_nhwc.export.torch.images.convolution import single
from onnx_nhwc.export.torch.tensor import Argument
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["conv_transpose"]


def conv_transpose(call: Call) -> Any:
    """ConvTranspose; what is cut unevenly is cut from the whole result."""
    shape = call.static(1)
    channels, per_group, *size = shape
    n, group = len(size), call.attribute("group", 1)
    if not 1 <= n <= 3:
        raise UnsupportedError(f"PyTorch has no transposed convolution of {n} axes")
    strides = list(call.attribute("strides") or [1] * n)
    dilations = list(call.attribute("dilations") or [1] * n)
    more = list(call.attribute("output_padding") or [0] * n)
    cuts, more = _cuts(call, size, strides, dilations, more)
    even = all(a == b >= 0 for a, b in cuts) and all(
        m < max(s, d) for m, s, d in zip(more, strides, dilations, strict=True)
    )
    padding = [a for a, _ in cuts] if even else [0] * n
    arguments: list[Argument] = [
        ("in_channels", channels),
        ("out_channels", per_group * group),
        ("kernel_size", single(size)),
        ("stride", single(strides)),
        ("padding", single(padding)),
        ("output_padding", single(more if even else [0] * n)),
        ("groups", group),
        ("bias", call.has(2)),
        ("dilation", single(dilations)),
    ]
    x = call.tensor(0)
    known = call.constant(1) is not None and (not call.has(2) or call.constant(2) is not None)
    if known:
        weights = {"weight": call.loader(1)}
        if call.has(2):
            weights["bias"] = call.loader(2)
        y = f"{call.module(f'nn.ConvTranspose{n}d', arguments, 3, weights, 1)}({x})"
    else:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments[3:7])
        bias = f"{call.tensor(2)}" if call.has(2) else "None"
        y = f"F.conv_transpose{n}d({x}, {call.tensor(1)}, {bias}, {given}, dilation={single(dilations)!r})"
    if even:
        return y
    flat = [f"{-a}, {m - b}" for (a, b), m in reversed(list(zip(cuts, more, strict=True)))]
    return f"F.pad({y}, ({', '.join(flat)}))"


def _cuts(
    call: Call, size: list[int], strides: list[int], dilations: list[int], more: list[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    """What is cut before and behind each axis, and what is added behind."""
    n = len(size)
    flat = call.attribute("pads") or [0] * (2 * n)
    auto, wanted = call.attribute("auto_pad", "NOTSET"), call.attribute("output_shape")
    if auto in ("NOTSET", "") and not wanted:
        return list(zip(flat[:n], flat[n:], strict=True)), more
    if auto == "VALID" and not wanted:
        return [(0, 0)] * n, more
    cuts = []
    for axis, length in enumerate(call.shape(0)[2:]):
        extent = (size[axis] - 1) * dilations[axis] + 1
        if wanted:
            if length is None:
                raise UnsupportedError("it needs to know the image's size")
            total = strides[axis] * (length - 1) + more[axis] + extent - wanted[-n:][axis]
        else:
            total = extent + more[axis] - strides[axis]
        if total < 0 and not wanted:
            total = 0
        half = total // 2
        behind = auto == "SAME_LOWER" or (wanted and auto == "NOTSET")
        cuts.append((total - half, half) if behind else (half, total - half))
    return cuts, more
