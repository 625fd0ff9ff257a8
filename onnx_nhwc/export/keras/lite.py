"""``.tflite`` files: writing one from a Keras model, and running it.

What LiteRT has no operator for, though Keras has a layer, is written with operators that it has.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.checking import Feeds, Runner
from onnx_nhwc.export.values import Array
from onnx_nhwc.passes.errors import ConversionError

__all__ = ["interpreter", "lite_runner", "save_model", "to_lite"]

_POOLS = {layers.MaxPooling3D: ops.max_pool, layers.AveragePooling3D: ops.average_pool}


def save_model(model: Any, folder: str | Path) -> None:
    """Write a SavedModel whose inputs have the sizes that the model states.

    Keras would free the first axis of every input, and compute with its size at run time.
    """
    spec = keras.tree.map_structure(
        lambda x: layers.InputSpec(shape=x.shape, dtype=x.dtype, name=x.name), model.input
    )
    model.export(folder, format="tf_saved_model", verbose=False, input_signature=[spec])


def to_lite(model: Any) -> bytes:
    """Convert to LiteRT through a SavedModel, with the names of inputs and outputs."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
        save_model(_expressed(model), folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            data: bytes = converter.convert()
        except Exception as error:  # the converter raises what it likes
            dynamic = any(None in tensor.shape for tensor in model.inputs)
            remedy = "Fix its dynamic sizes with --shape, or write" if dynamic else "Write"
            raise ConversionError(
                f"LiteRT has no form for {_missing(str(error))}",
                f"{remedy} .keras or a SavedModel folder instead.",
            ) from error
    return data


def _missing(message: str) -> str:
    """What LiteRT lacks, as its converter puts it."""
    found = re.findall(r"^(?:TF Select|Custom) ops: (.+)$", message, re.MULTILINE)
    if found:
        return ", ".join(found)
    return f"some operator of this model: {message.strip().splitlines()[0][:300] if message.strip() else '?'}"


def _expressed(model: Any) -> Any:
    """The model with other layers in place of those that LiteRT has no operator for."""
    others = {id(layer): other for layer in model.layers if (other := _other(layer)) is not None}
    if not others:
        return model
    return keras.models.clone_model(model, clone_function=lambda layer: others.get(id(layer), layer))


def _other(layer: Any) -> Any:
    if getattr(layer, "data_format", "") == "channels_first":
        return None
    if type(layer) in _POOLS:
        return _Pooling(layer)
    if type(layer) is layers.Conv3D and layer.groups > 1:
        return _Grouped(layer)
    if type(layer) is layers.EinsumDense:
        return _Product(layer)
    if type(layer) is layers.UpSampling2D and layer.interpolation == "nearest":
        return _Enlarged(layer)
    return None


class _Instead(layers.Layer):  # type: ignore[misc]
    """Computes what ``layer`` does."""

    def __init__(self, layer: Any) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer = layer


class _Pooling(_Instead):
    """Pooling of volumes: first of each slice, then along the depth of each place."""

    def call(self, x: Any) -> Any:
        depth, *window = self.layer.pool_size
        by_depth, *strides = self.layer.strides
        _, slices, *sizes, channels = ops.shape(x)
        x = self._pool(ops.reshape(x, (-1, *sizes, channels)), window, strides)
        _, *sizes, _ = ops.shape(x)
        x = self._pool(ops.reshape(x, (-1, slices, sizes[0] * sizes[1], channels)), [depth, 1], [by_depth, 1])
        return ops.reshape(x, (-1, ops.shape(x)[1], *sizes, channels))

    def _pool(self, x: Any, window: list[int], strides: list[int]) -> Any:
        pool = _POOLS[type(self.layer)]
        return pool(x, tuple(window), tuple(strides), self.layer.padding, data_format="channels_last")


class _Grouped(_Instead):
    """A grouped convolution of volumes: the sum of those of slices, which LiteRT has."""

    def call(self, x: Any) -> Any:
        layer = self.layer
        (taps, *_), (stride, *strides), (step, *dilation) = (
            layer.kernel_size, layer.strides, layer.dilation_rate,
        )  # fmt: skip
        reach = (taps - 1) * step
        if layer.padding == "same":
            total = reach if stride == 1 else max(reach - (x.shape[1] - 1) % stride, 0)
            x = ops.pad(x, [(0, 0), (total // 2, total - total // 2), *[(0, 0)] * 3])
        _, slices, *sizes, channels = ops.shape(x)
        parts = []
        for tap in range(taps):
            part = x[:, tap * step : slices - reach + tap * step : stride]
            count = ops.shape(part)[1]
            parts.append(ops.conv(
                ops.reshape(part, (-1, *sizes, channels)), layer.kernel[tap], tuple(strides),
                layer.padding, "channels_last", tuple(dilation),
            ))  # fmt: skip
        y = reduce(ops.add, parts)
        y = ops.reshape(y, (-1, count, *ops.shape(y)[1:]))
        return layer.activation(y if layer.bias is None else ops.add(y, layer.bias))


class _Product(_Instead):
    """A product whose bias comes first: Keras makes a BiasAdd of it otherwise.

    LiteRT's converter takes every BiasAdd along axis 1 for one of rank 4, and turns both factors of
    an Einsum over the last axis but one, where a MatMul takes them as they are.
    """

    def call(self, x: Any) -> Any:
        layer = self.layer
        left = re.fullmatch(r"(\w*)(\w)(\w),(\w)\2->\1\4\3", layer.equation)
        y = ops.matmul(layer.kernel, x) if left else ops.einsum(layer.equation, x, layer.kernel)
        y = y if layer.bias is None else ops.add(layer.bias, y)
        return y if layer.activation is None else layer.activation(y)


class _Enlarged(_Instead):
    """Repetition as one operator, of whose result LiteRT knows the channels, whatever the sizes."""

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        if x.dtype != tf.float32:
            return self.layer(x)
        _, *sizes, _ = ops.shape(x)
        target = [size * factor for size, factor in zip(sizes, self.layer.size, strict=True)]
        return tf.image.resize(x, target, "nearest")


def lite_runner(path: Path, outputs: Sequence[str]) -> Runner:
    """Return what runs a ``.tflite`` file."""
    signature = interpreter(path).get_signature_runner("serving_default")

    def run(feeds: Feeds) -> list[Array]:
        results = signature(**{name: feeds[name] for name in signature.get_input_details()})
        if len(outputs) == 1:
            return [np.asarray(next(iter(results.values())))]
        return [np.asarray(results[name]) for name in outputs]

    return run


def interpreter(path: Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter  # noqa: N806
    return Interpreter(model_path=str(path), num_threads=1)
