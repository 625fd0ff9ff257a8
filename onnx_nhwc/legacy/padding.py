"""Where Theano put the padding "same": not always where every other backend puts it.

keras/backend/theano_backend.py, of Keras 1 and 2: a convolution reads ``k // 2`` zeros before the
image, whatever its stride, and leaves out what comes too much at the end; all others share the zeros
that are needed between both ends. So the two agree for odd kernels with stride 1, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["explicit", "shifted"]

Pads = list[tuple[int, int]]

_PADDED = {"Conv1D", "Conv2D", "Conv3D", "SeparableConv1D", "SeparableConv2D", "DepthwiseConv2D"}
_TRANSPOSED = {"Conv2DTranspose", "Conv3DTranspose"}
_POOLS = {f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)}


def explicit(kind: str, config: Mapping[str, Any], theano: bool) -> Pads | None:
    """The zeros that a ZeroPadding must add before a convolution which is then "valid".

    None if its own padding does. ``config`` is one of Keras 2.

    >>> explicit("Conv1D", {"kernel_size": [4], "padding": "same"}, theano=True)
    [(2, 1)]
    >>> explicit("Conv1D", {"kernel_size": [3], "padding": "same"}, theano=True)
    """
    if kind not in _PADDED or config.get("padding") not in ("same", "full"):
        return None
    sizes, strides = _sizes(kind, config, "kernel_size"), _sizes(kind, config, "strides")
    rates = _sizes(kind, config, "dilation_rate")
    spans = [(size - 1) * rate + 1 for size, rate in zip(sizes, rates, strict=True)]
    if config["padding"] == "full":  # Theano alone had it
        return [(span - 1, span - 1) for span in spans]
    if not theano or all(span % 2 and stride == 1 for span, stride in zip(spans, strides, strict=True)):
        return None
    return [(span // 2, (span - 1) // 2) for span in spans]


def shifted(kind: str, config: Mapping[str, Any]) -> bool:
    """Does "same" put the windows of this layer elsewhere than under Theano, for some images?"""
    if config.get("padding") != "same":
        return False
    strides = _sizes(kind, config, "strides")
    if kind == "ConvLSTM2D":
        sizes = _sizes(kind, config, "kernel_size")
        return any(size % 2 == 0 for size in sizes) or any(stride > 1 for stride in strides)
    if kind in _TRANSPOSED:
        sizes = _sizes(kind, config, "kernel_size")
        return any(k // 2 != max(k - s, 0) // 2 for k, s in zip(sizes, strides, strict=True))
    if kind in _POOLS:
        sizes = _sizes(kind, config, "pool_size")
        return any((k, s) != (3, 1) and k > 1 for k, s in zip(sizes, strides, strict=True))
    return False


def _sizes(kind: str, config: Mapping[str, Any], name: str) -> Sequence[int]:
    """A setting with one number per spatial axis."""
    rank = next(int(digit) for digit in kind if digit in "123")
    value = config.get(name)
    if value is None:
        value = config["pool_size"] if name == "strides" and "pool_size" in config else 1
    return [value] * rank if isinstance(value, int) else list(value)
