"""What Keras 1 and 2 stored otherwise than Keras 3 does: pure NumPy, one array in, one out.

Two things differ, and they are independent of each other:

- *Theano's kernels are rotated.* Keras's Theano backend computed true convolutions, every other
  backend correlations, so the same layer stores its kernel turned by 180 degrees in its spatial
  axes. Depthwise kernels are the exception: that backend turned them itself before it used them
  (``_preprocess_conv2d_depthwise_kernel`` in keras/backend/theano_backend.py), so that they are
  stored as everywhere else.
- *Keras 1 stored kernels in the order of its data format*, ``(out, in, kH, kW)`` for channels
  first. Since Keras 2 they are ``(kH, kW, in, out)``, whatever the data format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onnx_nhwc.passes.errors import ConversionError

__all__ = ["ROTATED", "from_keras1", "reorder_features", "reorder_image", "rotate"]

Array = npt.NDArray[Any]

FIRST, LAST = "channels_first", "channels_last"

ROTATED = {
    "Conv1D": 1,
    "Conv2D": 1,
    "Conv3D": 1,
    "Conv2DTranspose": 1,
    "Conv3DTranspose": 1,
    "ConvLSTM2D": 2,
}
"""Layers that Theano computed by true convolution, and how many of their first weights it used."""


_ONE = ("Conv2D", "Conv3D", "Conv2DTranspose")


def rotate(kernel: Array) -> Array:
    """Turn a kernel ``(spatial..., in, out)`` by 180 degrees: Theano's from all others', and back.

    >>> rotate(np.arange(3).reshape(3, 1, 1)).ravel().tolist()
    [2, 1, 0]
    """
    return np.flip(kernel, tuple(range(kernel.ndim - 2)))


def reorder_features(weight: Array, channels: int, target: str) -> Array:
    """Put the first axis of ``weight``, a flattened image, into the order of another data format.

    ``(c s) ... -> (s c) ...`` for ``target="channels_last"``, and back for ``"channels_first"``.

    >>> reorder_features(np.array([0, 1, 2, 10, 11, 12]), 2, "channels_last").tolist()
    [0, 10, 1, 11, 2, 12]
    """
    shape = (channels, -1) if target == LAST else (-1, channels)
    factors = weight.reshape(*shape, *weight.shape[1:])
    return np.swapaxes(factors, 0, 1).reshape(weight.shape)


def reorder_image(weight: Array, target: str) -> Array:
    """Move the channel axis of a weight that has the axes of one image, without the batch."""
    return np.moveaxis(weight, 0, -1) if target == LAST else np.moveaxis(weight, -1, 0)


def from_keras1(kind: str, weights: Sequence[Array], data_format: str, node: str) -> list[Array]:
    """Return the weights of one layer as Keras 2 keeps them.

    Args:
        kind: The class of the layer, by its name in Keras 2.
        weights: Its weights, in the order of the file.
        data_format: Its data format (Keras 1: ``dim_ordering``).
        node: What to call the layer in an error.

    Raises:
        ConversionError: The weights do not have the shapes that this layer had in Keras 1.
    """
    found = list(weights)
    if not found:
        return found
    if kind == "Conv1D":
        return [_conv1d(found, node), *found[1:]]
    for i in _kernels(kind, len(found)):
        if found[i].ndim != (5 if kind == "Conv3D" else 4):
            raise ConversionError(
                f"a kernel of shape {found[i].shape} is not one of Keras 1's",
                "State the version that wrote the file: keras_version='2'.",
                node,
            )
        found[i] = _kernel(kind, found[i], data_format)
    if kind in ("LSTM", "ConvLSTM2D") and len(found) == 12:
        return _gates(found, "icfo", "ifco")
    if kind == "GRU" and len(found) == 9:
        return _gates(found, "zrh", "zrh")
    return found


def _kernels(kind: str, count: int) -> list[int]:
    """Which of the weights of a layer are kernels whose axes may have to move."""
    if kind == "ConvLSTM2D":  # kernel, recurrent kernel, bias of each gate
        return [i for i in range(count) if i % 3 != 2]
    return list(range(min({"SeparableConv2D": 2, **dict.fromkeys(_ONE, 1)}.get(kind, 0), count)))


def _kernel(kind: str, kernel: Array, data_format: str) -> Array:
    if kind == "Conv2DTranspose":
        return kernel.transpose((2, 3, 0, 1) if data_format == FIRST else (0, 1, 3, 2))
    if data_format == FIRST:  # (out, in, spatial...)
        return kernel.transpose((*range(2, kernel.ndim), 1, 0))
    return kernel


def _conv1d(weights: Sequence[Array], node: str) -> Array:
    """``(k, 1, in, out)``, before Keras 1.2 ``(out, in, k, 1)``, to ``(k, in, out)``."""
    kernel = weights[0]
    outs = weights[1].shape[0] if len(weights) > 1 else None
    new = kernel.ndim == 4 and kernel.shape[1] == 1 and outs in (None, kernel.shape[3])
    old = kernel.ndim == 4 and kernel.shape[3] == 1 and outs in (None, kernel.shape[0])
    as_new = kernel[:, 0] if new else None
    as_old = kernel[..., 0].transpose(2, 1, 0) if old else None
    if as_new is not None and as_old is not None and as_new.shape != as_old.shape:
        raise ConversionError(
            f"a kernel of shape {kernel.shape} may be stored in the order of Keras 1.2 or of an "
            "earlier version, and nothing tells which",
            "Save the file again with Keras 2.",
            node,
        )
    for kept in (as_new, as_old):
        if kept is not None:
            return kept
    raise ConversionError(
        f"a kernel of shape {kernel.shape} is not one of Keras 1's",
        "State the version that wrote the file: keras_version='2'.",
        node,
    )


def _gates(weights: Sequence[Array], stored: str, wanted: str) -> list[Array]:
    """Join Keras 1's (kernel, recurrent kernel, bias) of each gate along the last axis."""
    result = []
    for i in range(3):
        parts = [weights[3 * stored.index(gate) + i] for gate in wanted]
        result.append(np.concatenate(parts, axis=-1))
    return result
