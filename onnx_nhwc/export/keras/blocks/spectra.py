"""DFT and STFT as products with matrices of sines and cosines, which every backend and LiteRT have."""

from __future__ import annotations

import string
from functools import partial
from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import Array, UnsupportedError

__all__ = ["dft", "stft"]


def _waves(steps: int, length: int, bins: int, parts: int, inverse: bool = False) -> Array:
    """What each of ``steps`` real or complex elements adds to each of ``bins``: (steps, parts, bins, 2).

    >>> _waves(2, 2, 2, 1)[:, 0, :, 0]   # real parts of the transform of two real numbers
    array([[ 1.,  1.],
           [ 1., -1.]])
    """
    turns = np.outer(np.arange(steps), np.arange(bins)) % length
    wave = np.exp((2j if inverse else -2j) * np.pi * turns / length) / (length if inverse else 1)
    real = np.stack([wave.real, wave.imag], axis=-1)
    imaginary = np.stack([-wave.imag, wave.real], axis=-1)
    return np.stack([real, imaginary][:parts], axis=1)


def dft(call: Call) -> Any:
    """DFT along any axis but the batch, of real or complex numbers, shorter or longer if wanted."""
    x = call.tensor(0)
    rank = len(x.shape)
    axis = call.attribute("axis", 1)
    if call.opset >= 20:
        axis = int(call.array(2, "axis").reshape(-1)[0]) if call.has(2) else -2
    axis %= rank
    size, parts = x.shape[axis], x.shape[-1]
    if size is None or parts is None:
        raise UnsupportedError("it needs to know the size of the axis that it transforms")
    if axis == 0:
        raise UnsupportedError("it transforms the batch axis")
    length = int(call.array(1, "dft_length").reshape(-1)[0]) if call.has(1) else size
    onesided, inverse = bool(call.attribute("onesided", 0)), bool(call.attribute("inverse", 0))
    if onesided and inverse:
        raise UnsupportedError("it gives back real numbers of half a spectrum")
    bins = length // 2 + 1 if onesided else length
    steps = min(size, length)
    if steps < size:
        x = x[tuple(slice(0, steps) if i == axis else slice(None) for i in range(rank))]
    names = list(string.ascii_lowercase[: rank - 1])
    names[axis] = "J"
    after = ["K" if name == "J" else name for name in names]
    shape = [bins if i == axis else n for i, n in enumerate(x.shape)][1:-1]
    layer = call.layer(
        layers.EinsumDense,
        equation=f"{''.join(names)}P,JPKQ->{''.join(after)}Q",
        output_shape=(*shape, 2),
        trainable=False,
    )
    y = layer(x)
    call.assign(layer.kernel, lambda: _waves(steps, length, bins, parts, inverse))
    return y


def stft(call: Call) -> Any:
    """STFT: a convolution with the window's sines and cosines for a kernel."""
    x = call.tensor(0)
    x = ops.expand_dims(x, -1) if len(x.shape) == 2 else x
    step = int(call.array(1, "frame_step").reshape(-1)[0])
    window = call.array(2, "window") if call.has(2) else None
    if window is not None:
        length = window.size
    elif call.has(3):
        length = int(call.array(3, "frame_length").reshape(-1)[0])
    else:
        raise UnsupportedError("it has neither a window nor the length of its frames")
    bins = length // 2 + 1 if call.attribute("onesided", 1) else length
    waves = _waves(length, length, bins, x.shape[-1])
    if window is not None:
        waves = waves * window.reshape(-1, 1, 1, 1)
    results = []
    for part in range(2):
        layer = call.layer(
            layers.Conv1D,
            filters=bins,
            kernel_size=length,
            strides=step,
            use_bias=False,
            data_format="channels_last",
            trainable=False,
        )
        results.append(layer(x))
        call.assign(layer.kernel, partial(np.take, waves, part, axis=-1))
    return ops.stack(results, axis=-1)
