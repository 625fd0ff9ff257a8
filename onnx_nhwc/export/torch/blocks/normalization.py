"""Normalisations."""

from __future__ import annotations

from typing import Any

from onnx_nhwc.export.torch.call import Call
from onnx_nhwc.export.torch.tensor import Argument, Formed
from onnx_nhwc.export.values import UnsupportedError

__all__ = [
    "batch_normalization",
    "group_normalization",
    "instance_normalization",
    "layer_normalization",
    "local_response",
    "lp_normalization",
    "mean_variance",
    "rms_normalization",
]


def _epsilon(call: Call, default: float = 1e-5) -> float:
    """The number that float32 was made of, as it would be written."""
    return float(f"{call.attribute('epsilon', default):.6g}")


def batch_normalization(call: Call) -> Any:
    """With statistics of its own, ``nn.BatchNorm1d``, 2d, 3d, which is trained as such."""
    parts = [call.constant(i) for i in range(1, 5)]
    n = max(call.rank(0) - 2, 1)
    if any(part is None for part in parts) or call.attribute("training_mode", 0) or n > 3:
        raise UnsupportedError("its parameters are computed, or it is in training")
    scale = call.known(1)
    arguments: list[Argument] = [
        ("num_features", scale.size),
        ("eps", _epsilon(call)),
        ("momentum", round(1 - call.attribute("momentum", 0.9), 6)),
    ]
    names = ("weight", "bias", "running_mean", "running_var")
    weights = {name: call.loader(i) for i, name in enumerate(names, 1)}
    return f"{call.module(f'nn.BatchNorm{n}d', arguments, 1, weights, 1)}({call.tensor(0)})"


def instance_normalization(call: Call) -> str:
    n = call.rank(0) - 2
    arguments: list[Argument] = [
        ("num_features", call.known(1).size),
        ("eps", _epsilon(call)),
        ("affine", True),
    ]
    weights = {"weight": call.loader(1), "bias": call.loader(2)}
    return f"{call.module(f'nn.InstanceNorm{n}d', arguments, 1, weights, 1)}({call.tensor(0)})"


def group_normalization(call: Call) -> str:
    groups = call.attribute("num_groups")
    channels = call.shape(0)[1]
    if channels is None:
        raise UnsupportedError("it needs to know the number of channels")

    def wide(a: Any) -> Any:
        return a.repeat(channels // a.size)

    arguments: list[Argument] = [("num_groups", groups), ("num_channels", channels), ("eps", _epsilon(call))]
    weights = {"weight": call.loader(1, wide), "bias": call.loader(2, wide)}
    return f"{call.module('nn.GroupNorm', arguments, 2, weights, 1)}({call.tensor(0)})"


def layer_normalization(call: Call) -> str:
    if any(call.wants(i) for i in (1, 2)):
        raise UnsupportedError("its mean is an output")
    rank, scale = call.rank(0), call.constant(1)
    axis = call.attribute("axis", -1) % rank
    shape = call.shape(0)[axis:]
    bias = call.has(2)
    if scale is None or None in shape or scale.shape != shape or (bias and call.constant(2) is None):
        raise UnsupportedError("its scale is no parameter of the axes that it normalises")
    sizes: Any = shape[0] if len(shape) == 1 else shape
    arguments: list[Argument] = [("normalized_shape", sizes), ("eps", _epsilon(call)), ("bias", bias)]
    weights = {"weight": call.loader(1)}
    if bias:
        weights["bias"] = call.loader(2)
    return f"{call.module('nn.LayerNorm', arguments, 1, weights, 1)}({call.tensor(0)})"


def rms_normalization(call: Call) -> str:
    axis = call.attribute("axis", -1) % call.rank(0)
    axes = tuple(range(axis, call.rank(0)))
    x = call.tensor(0)
    root = f"torch.rsqrt({x}.square().mean({axes}, keepdim=True) + {_epsilon(call)!r})"
    return f"{x} * {root} * {call.x(1)}"


def lp_normalization(call: Call) -> str:
    x, axis, p = call.tensor(0), call.attribute("axis", -1), call.attribute("p", 2)
    size = call.step(f"{x}.norm({p}, dim={axis}, keepdim=True)", call.dtype(0), ())
    return f"torch.where({size} == 0, torch.zeros_like({x}), {x} / {size})"


def mean_variance(call: Call) -> str:
    axes = tuple(call.attribute("axes") or (0, 2, 3))
    x = call.tensor(0)
    centred = call.step(f"{x} - {x}.mean({axes}, keepdim=True)", call.dtype(0), ())
    return f"{centred} / ({centred}.square().mean({axes}, keepdim=True).sqrt() + 1e-9)"


def local_response(call: Call) -> Any:
    x, size = call.tensor(0), call.attribute("size")
    alpha, beta = call.attribute("alpha", 1e-4), call.attribute("beta", 0.75)
    bias = call.attribute("bias", 1.0)
    values = (float(f"{alpha:.6g}"), float(f"{beta:.6g}"), float(f"{bias:.6g}"))
    if size % 2 == 0:  # torch counts the extra channel on the other side
        raise UnsupportedError("its window has no middle")
    text = f"F.local_response_norm({x}, {size}, {values[0]!r}, {values[1]!r}, {values[2]!r})"
    arguments: list[Argument] = [("size", size), ("alpha", values[0]), ("beta", values[1]), ("k", values[2])]
    return Formed(text, "nn.LocalResponseNorm", tuple(arguments), 1)
