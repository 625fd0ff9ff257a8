"""Pools."""

from __future__ import annotations

from typing import Any

from onnx_nhwc.export.torch.call import Call, is_float
from onnx_nhwc.export.torch.images.convolution import single
from onnx_nhwc.export.torch.images.padding import Window, padded
from onnx_nhwc.export.torch.tensor import Argument, Formed
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["average_pool", "global_average", "global_lp", "global_max", "lp_pool", "max_pool"]


def max_pool(call: Call) -> Any:
    """MaxPool; a module pads at most half a window."""
    size = call.attribute("kernel_shape")
    if call.wants(1) or not is_float(call.dtype(0)):
        raise UnsupportedError("it is mapped for floats, and without Indices only")
    window = Window.of(call, size)
    n = len(size)
    ceil = bool(call.attribute("ceil_mode", 0))
    x = padded(call, window, -float("inf"), [s // 2 for s in size])
    arguments: list[Argument] = [
        ("kernel_size", single(list(size))),
        ("stride", single(window.strides)),
        ("padding", single(window.symmetric)),
        ("dilation", single(window.dilations)),
        ("ceil_mode", ceil),
    ]
    return _pool(f"F.max_pool{n}d", f"nn.MaxPool{n}d", x, arguments)


def _pool(function: str, kind: str, x: str, arguments: list[Argument]) -> Formed:
    defaults = {"padding": 0, "dilation": 1, "ceil_mode": False, "count_include_pad": True}
    given = [x, repr(arguments[0][1])]
    given += [f"{name}={value!r}" for name, value in arguments[1:] if defaults.get(name) != value]
    return Formed(f"{function}({', '.join(given)})", kind, tuple(arguments), 1)


def average_pool(call: Call) -> Any:
    """AveragePool; padding of its own counts only where all of it is told to count."""
    size = list(call.attribute("kernel_shape"))
    n = len(size)
    window = Window.of(call, size)
    counted = bool(call.attribute("count_include_pad", 0))
    ceil = bool(call.attribute("ceil_mode", 0))
    few = all(a == b and a <= s // 2 for (a, b), s in zip(window.pads, size, strict=True))
    if max(window.dilations) > 1 or not (few or counted) or (ceil and not few):
        raise UnsupportedError("its windows are not those of PyTorch")
    none = not any(a or b for a, b in window.pads)
    x = padded(call, window, 0.0, [s // 2 for s in size])
    arguments: list[Argument] = [
        ("kernel_size", single(size)),
        ("stride", single(window.strides)),
        ("padding", single(window.symmetric)),
        ("ceil_mode", ceil),
        ("count_include_pad", counted or none),
    ]
    return _pool(f"F.avg_pool{n}d", f"nn.AvgPool{n}d", x, arguments)


def global_average(call: Call) -> Any:
    n = call.rank(0) - 2
    x = call.tensor(0)
    if 1 <= n <= 3:
        return Formed(f"F.adaptive_avg_pool{n}d({x}, 1)", f"nn.AdaptiveAvgPool{n}d", (("output_size", 1),), 1)
    return f"{x}.mean(dim={tuple(range(2, n + 2))}, keepdim=True)"


def global_max(call: Call) -> str:
    axes = tuple(range(2, call.rank(0)))
    return f"{call.tensor(0)}.amax(dim={axes}, keepdim=True)"


def lp_pool(call: Call) -> str:
    """LpPool: the root of the sum of powers in each window."""
    size = list(call.attribute("kernel_shape"))
    n, p = len(size), call.attribute("p", 2)
    window = Window.of(call, size)
    if max(window.dilations) > 1:
        raise UnsupportedError("its windows are dilated")
    x = padded(call, window, 0.0, [0] * n)
    given = f"kernel_size={single(size)!r}, stride={single(window.strides)!r}"
    ceil = ", ceil_mode=True" if call.attribute("ceil_mode", 0) else ""
    total = (
        f"F.avg_pool{n}d({x}.abs().pow({p}), {given}{ceil}, divisor_override=1)"
        if n > 1
        else (f"F.avg_pool1d({x}.abs().pow({p}), {given}{ceil}) * {size[0]}")
    )
    return f"({total}).pow({1 / p!r})"


def global_lp(call: Call) -> str:
    axes, p = tuple(range(2, call.rank(0))), call.attribute("p", 2)
    return f"{call.tensor(0)}.abs().pow({p}).sum({axes}, keepdim=True).pow({1 / p!r})"
