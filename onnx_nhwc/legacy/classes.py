"""Of which class a layer is, as far as its name and its weights tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from onnx_nhwc.legacy.architecture import CLASSES

__all__ = ["kind_by_name", "kind_by_weights"]

Array = npt.NDArray[Any]

_PREFIXES = {  # of the names that Keras gives to layers that got none
    "deconvolution2d": "Conv2DTranspose",
    "locally_connected1d": "LocallyConnected1D",
    "locallyconnected1d": "LocallyConnected1D",
    "locally_connected2d": "LocallyConnected2D",
    "locallyconnected2d": "LocallyConnected2D",
    "conv_lst_m2d": "ConvLSTM2D",
    "conv_lstm2d": "ConvLSTM2D",
    "convlstm2d": "ConvLSTM2D",
    "conv1d": "Conv1D",
    "conv2d": "Conv2D",
    "conv3d": "Conv3D",
    "conv2d_transpose": "Conv2DTranspose",
    "conv3d_transpose": "Conv3DTranspose",
    "depthwise_conv2d": "DepthwiseConv2D",
    "separable_conv1d": "SeparableConv1D",
    "separable_conv2d": "SeparableConv2D",
    "dense": "Dense",
    "batch_normalization": "BatchNormalization",
    "batchnormalization": "BatchNormalization",
    "p_re_lu": "PReLU",
    "prelu": "PReLU",
    "embedding": "Embedding",
    "lstm": "LSTM",
    "gru": "GRU",
    **{old.lower(): new for old, new in CLASSES.items() if old != "Model"},
}


def kind_by_name(name: str) -> str:
    """The class of a layer that Keras named itself; empty for any other name.

    >>> kind_by_name("convolution2d_3"), kind_by_name("block1_conv1")
    ('Conv2D', '')
    """
    return _PREFIXES.get(re.sub(r"_\d+$", "", name), "")


def kind_by_weights(first: str, weights: Sequence[Array], version: str) -> tuple[str, bool]:
    """The class that the name of the first weight and its rank tell, and if that is in doubt.

    Keras 1 kept kernels of Convolution1D, Convolution2D and Deconvolution2D under the same name,
    with the same rank.
    """
    name, rank = first.rsplit("/")[-1], weights[0].ndim
    if name.startswith("depthwise_kernel"):
        separable = len(weights) > 1 and weights[1].ndim > 2
        return ("SeparableConv2D" if separable else "DepthwiseConv2D"), False
    if not re.search(r"(^kernel|_W)(_\d+)?(:\d+)?$|^param_0$", name):
        return "", False
    old = version == "1" and rank == 4
    kind = {2: "Dense", 3: "Conv1D", 4: "Conv2D", 5: "Conv3D"}.get(rank, "")
    return kind, old
