"""A Keras model and what it was converted to: running both, and what is to be the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.support.keras_models import Executor, keras, runs_compiled_only

pytest.importorskip("tf2onnx")
import onnx_nhwc
from onnx_nhwc.load.keras.reading import quiet

ORDERS = ("channels_first", "channels_last")


def randomised(model: Any) -> Any:
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "float" in weight.dtype:
            low = 0.2 if "variance" in weight.name or "gamma" in weight.name else -0.6
            weight.assign(rng.uniform(low, 0.9, weight.shape))
    return model


def run(model: Any, inputs: Sequence[Any]) -> list[Any]:
    """What a model computes as part of a graph.

    In eager execution, Keras adds the bias of a channels-first convolution along the wrong axis where
    another one has the same size.
    """
    import tensorflow as tf

    given = keras.tree.pack_sequence_as(model.input, list(inputs)) if len(model.inputs) > 1 else inputs[0]
    graph = Executor(model) if runs_compiled_only(model) else tf.function(model, autograph=False)
    with quiet():
        return [np.asarray(y) for y in keras.tree.flatten(graph(given, training=False))]


def turned(array: Any, to: str, spatial: int) -> Any:
    """An image in the other layout."""
    first = array.ndim - spatial - 1
    if first < 1:
        return array
    return np.moveaxis(array, first, -1) if to == "channels_last" else np.moveaxis(array, -1, first)


def converted(model: Any, to: str) -> Any:
    last = to == "channels_last"
    convert = onnx_nhwc.convert_channels_first_to_last if last else onnx_nhwc.convert_channels_last_to_first
    return convert(model)


def transposes(model: Any) -> int:
    """Transposes in a model, and in the models in it."""
    return sum(
        transposes(op) if isinstance(op, keras.Model) else type(op).__name__ in ("Transpose", "Permute")
        for op in model.operations
    )


def agree(
    original: Any,
    result: Any,
    to: str,
    spatial: int,
    *,
    image: bool = True,
    turn: bool = True,
    allowed: int = 0,
) -> None:
    """A result computes the same in the other layout, with as many parameters and these Transposes."""
    rng = np.random.default_rng(2)
    feeds = [rng.normal(size=(2, *x.shape[1:])).astype("float32") for x in original.inputs]
    expected = run(original, feeds)
    actual = run(result, [turned(feed, to, spatial) if turn else feed for feed in feeds])
    assert len(expected) == len(actual)
    for a, b in zip(expected, actual, strict=True):
        wanted = turned(a, to, spatial) if image and turn else a
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(b, wanted, rtol=0, atol=1e-5 + 1e-4 * scale)
    assert result.count_params() == original.count_params()
    assert len(result.trainable_weights) == len(original.trainable_weights)
    assert transposes(result) <= allowed
    formats = {layer.data_format for layer in result._flatten_layers() if hasattr(layer, "data_format")}
    assert formats <= {to}
