"""Files as Keras 1 and 2 wrote them, and what their layers computed: an oracle without Theano.

``theano_*`` are true convolutions (``scipy.signal.convolve``), as ``T.nnet.conv2d`` with its
default ``filter_flip=True``; everything else computes correlations.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal

FIRST, LAST = "channels_first", "channels_last"
Weights = list[tuple[str, np.ndarray]]
Entry = tuple[str, str, dict[str, Any], Weights]  # class, name, configuration, weights


def write(
    path: Path,
    layers: list[Entry],
    *,
    backend: str | None = "theano",
    version: str | None = "2.0.8",
    whole: bool = True,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write ``layers`` as ``save_model`` (``whole``) or ``save_weights`` of the time did."""
    import h5py

    with h5py.File(path, "w") as file:
        root = file
        if whole:
            file.attrs["model_config"] = json.dumps(config or sequential(layers)).encode()
            root = file.create_group("model_weights")
        for where in {file.id: file, root.id: root}.values():
            if version is not None:
                where.attrs["keras_version"] = version.encode()
            if backend is not None:
                where.attrs["backend"] = backend.encode()
        root.attrs["layer_names"] = np.asarray([name.encode() for _, name, _, _ in layers])
        for _, name, _, weights in layers:
            group = root.create_group(name)
            group.attrs["weight_names"] = np.asarray([w.encode() for w, _ in weights], "S")
            for weight, value in weights:
                group.create_dataset(weight, data=value)
    return path


def sequential(layers: list[Entry]) -> dict[str, Any]:
    entries = [{"class_name": kind, "config": {"name": n, **c}} for kind, n, c, _ in layers]
    return {"class_name": "Sequential", "config": entries}


def read(path: Path) -> dict[str, list[np.ndarray]]:
    """The weights of each layer of a file in the form of Keras 2."""
    import h5py

    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        return {
            name.decode(): [root[name][weight][()] for weight in root[name].attrs["weight_names"]]
            for name in root.attrs["layer_names"]
        }


def _pairs(x: np.ndarray, kernel: np.ndarray, operation: Any, mode: str) -> np.ndarray:
    """``x`` (n, in, s...), ``kernel`` (s..., in, out) -> (n, out, s...)."""
    return np.stack(
        [
            np.stack(
                [
                    sum(operation(one[i], kernel[..., i, o], mode) for i in range(len(one)))
                    for o in range(kernel.shape[-1])
                ]
            )
            for one in x
        ]
    )


def theano_conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return _pairs(x, kernel, signal.convolve, "valid")


def conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return _pairs(x, kernel, signal.correlate, "valid")


def _stretched(x: np.ndarray, stride: int) -> np.ndarray:
    sizes = [1 + (size - 1) * stride for size in x.shape[2:]]
    result = np.zeros((*x.shape[:2], *sizes), x.dtype)
    result[(slice(None), slice(None), *[slice(None, None, stride)] * len(sizes))] = x
    return result


def theano_transposed(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """The gradient of a true convolution is a correlation; ``kernel`` is (s..., out, in)."""
    kernel = np.swapaxes(kernel, -1, -2)
    return _pairs(_stretched(x, stride), kernel, signal.correlate, "full")


def transposed(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    kernel = np.swapaxes(kernel, -1, -2)
    return _pairs(_stretched(x, stride), kernel, signal.convolve, "full")


def _depthwise(x: np.ndarray, kernel: np.ndarray, operation: Any) -> np.ndarray:
    """``kernel`` is (s..., in, multiplier)."""
    channels, multiplier = kernel.shape[-2:]
    return np.stack(
        [
            np.stack(
                [
                    operation(one[c], kernel[..., c, m], "valid")
                    for c in range(channels)
                    for m in range(multiplier)
                ]
            )
            for one in x
        ]
    )


def theano_depthwise(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """As keras/backend/theano_backend.py: the kernel turned by Keras, then a true convolution."""
    turned = kernel[tuple([slice(None, None, -1)] * (kernel.ndim - 2))]
    return _depthwise(x, turned, signal.convolve)


def depthwise(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return _depthwise(x, kernel, signal.correlate)


def last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1)


def bias(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    return x + values.reshape(-1, *[1] * (x.ndim - 2))
