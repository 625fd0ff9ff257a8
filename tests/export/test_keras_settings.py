"""Converting a Keras model changes nothing that the whole process has."""

from __future__ import annotations

import logging
import os
import random
import warnings
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

import tensorflow as tf  # noqa: E402

import onnx_nhwc  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

CONVERSIONS = {
    "channels_first": onnx_nhwc.convert_channels_first_to_last,
    "channels_last": onnx_nhwc.convert_channels_last_to_first,
}


def small(order: str) -> Any:
    last = order == "channels_last"
    x = keras.Input((8, 9, 3) if last else (3, 8, 9))
    y = keras.layers.Conv2D(4, 3, data_format=order)(x)
    y = keras.layers.BatchNormalization(axis=-1 if last else 1)(y)
    y = keras.layers.Dropout(0.5)(keras.layers.ReLU()(y))
    return keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten(data_format=order)(y)))


def settings() -> dict[str, Any]:
    """All that Keras, TensorFlow, NumPy and Python keep for a whole process, as far as it can be read."""
    graph, threads = tf.compat.v1.get_default_graph(), tf.config.threading
    return {
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index,union-attr]  # noqa: NPY002
        "numpy's manners": (np.geterr(), np.get_printoptions()),
        "image_data_format": keras.config.image_data_format(),
        "floatx": (keras.config.floatx(), keras.config.epsilon()),
        "policy": keras.config.dtype_policy().name,
        "tracebacks": keras.config.is_traceback_filtering_enabled(),
        "devices": [device.name for device in tf.config.get_visible_devices()],
        "placement": (
            tf.config.get_soft_device_placement(),
            tf.config.experimental.get_synchronous_execution(),
        ),
        "threads": (threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads()),
        "optimizer": (tf.config.optimizer.get_jit(), tf.config.optimizer.get_experimental_options()),
        "graph": (id(graph), len(graph.get_operations())),
        "eager": (tf.executing_eagerly(), tf.config.functions_run_eagerly()),
        "environment": dict(os.environ),
        "logging": [logging.getLogger(name).level for name in (None, "tensorflow", "tf2onnx")],
        "warnings": list(warnings.filters),
    }


@pytest.mark.parametrize("order", CONVERSIONS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_settings_stay(order: str, policy: str) -> None:
    model = small(order)
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy(policy)
    try:
        before = settings()
        result = CONVERSIONS[order](model)
        assert settings() == before
    finally:
        keras.config.set_image_data_format("channels_last")
        keras.config.set_dtype_policy("float32")
    assert {weight.dtype for weight in result.weights} == {"float32"}
    assert {layer.dtype_policy.name for layer in result.layers} == {"float32"}


def drawn() -> list[Any]:
    """What comes next from every source of random numbers, and the next names."""
    return [
        random.random(),
        np.random.random(3).tolist(),  # noqa: NPY002
        np.asarray(keras.random.normal((3,))).tolist(),
        tf.random.normal((3,)).numpy().tolist(),
        tf.random.get_global_generator().normal((3,)).numpy().tolist(),
        np.asarray(keras.initializers.GlorotNormal()((2, 2))).tolist(),
        keras.layers.Dense(2).name,
        keras.layers.BatchNormalization().name,
        keras.Sequential().name,
        keras.ops.relu(keras.Input((2,))).name,
    ]


def steps(earlier: str, later: str) -> int:
    """How far a counter has gone from one name to the next."""
    numbers = [int(name.rpartition("_")[2]) if name[-1].isdigit() else 0 for name in (earlier, later)]
    return numbers[1] - numbers[0]


@pytest.mark.parametrize("order", CONVERSIONS)
def test_random_numbers_and_names_are_those_without_a_conversion(order: str) -> None:
    model, results = small(order), []
    for action in (lambda model: None, CONVERSIONS[order]):
        keras.utils.set_random_seed(5)
        tf.random.set_global_generator(tf.random.Generator.from_seed(5))
        earlier = drawn()  # what is made at the first use is there in both cases
        action(model)
        later = drawn()
        results.append([*later[:-4], *map(steps, earlier[-4:], later[-4:])])
    assert results[0] == results[1]


@pytest.mark.parametrize("order", CONVERSIONS)
def test_a_failure_leaves_them_too(order: str) -> None:
    x = keras.Input((4, 4))
    model = keras.Model(x, keras.ops.svd(x))
    before = settings()
    with pytest.raises(onnx_nhwc.ConversionError):
        CONVERSIONS[order](model)
    assert settings() == before
