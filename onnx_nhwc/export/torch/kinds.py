"""What torch's modules take for granted: arguments that are not written down."""

from __future__ import annotations

from typing import Any

__all__ = ["DEFAULTS"]

_CONV = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}
_NORM = {"eps": 1e-5, "momentum": 0.1, "affine": True}

DEFAULTS: dict[str, dict[str, Any]] = {
    **{f"nn.Conv{n}d": _CONV for n in (1, 2, 3)},
    **{f"nn.ConvTranspose{n}d": {**_CONV, "output_padding": 0} for n in (1, 2, 3)},
    **{f"nn.BatchNorm{n}d": _NORM for n in (1, 2, 3)},
    **{f"nn.InstanceNorm{n}d": {"eps": 1e-5, "affine": False} for n in (1, 2, 3)},
    **{f"nn.MaxPool{n}d": {"padding": 0, "dilation": 1, "ceil_mode": False} for n in (1, 2, 3)},
    **{f"nn.AvgPool{n}d": {"padding": 0, "ceil_mode": False, "count_include_pad": True} for n in (1, 2, 3)},
    "nn.GroupNorm": {"eps": 1e-5, "affine": True},
    "nn.LayerNorm": {"eps": 1e-5, "elementwise_affine": True, "bias": True},
    "nn.Linear": {"bias": True},
    "nn.Flatten": {"start_dim": 1, "end_dim": -1},
    "nn.GELU": {"approximate": "none"},
    "nn.LeakyReLU": {"negative_slope": 0.01},
    "nn.ELU": {"alpha": 1.0},
    "nn.CELU": {"alpha": 1.0},
    "nn.LSTM": {"num_layers": 1, "bias": True, "batch_first": False, "bidirectional": False},
    "nn.GRU": {"num_layers": 1, "bias": True, "batch_first": False, "bidirectional": False},
}
"""By the name that the source has for a class: defaults of its arguments."""
