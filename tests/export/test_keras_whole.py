"""Whole Keras models from either layout to the other: shared and nested layers, dictionaries, one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onnx_nhwc.passes.errors import ConversionError
from tests.support.keras_models import computed, keras, runs_compiled_only
from tests.support.keras_pairs import ORDERS, agree, converted, randomised, run

pytestmark = pytest.mark.filterwarnings("ignore")
layers, ops = keras.layers, keras.ops


def image(order: str, *last: int) -> tuple[int, ...]:
    return last if order == "channels_last" else (last[-1], *last[:-1])


def shared(order: str, size: tuple[int, ...]) -> Any:
    """Layers that are called twice, with weights as they are at first, and a Dense behind them."""
    a, b = (keras.Input(image(order, *size), name=name) for name in "ab")
    axis = -1 if order == "channels_last" else 1
    conv = layers.Conv2D(5, 3, data_format=order, name="conv")
    norm = layers.BatchNormalization(axis=axis, name="norm")
    flat = layers.Flatten(data_format=order)
    head = layers.Dense(4, name="head")
    ys = [head(flat(norm(conv(x)))) for x in (a, b)]
    return keras.Model([a, b], layers.Subtract(name="difference")(ys))


def nested(order: str, size: tuple[int, ...]) -> Any:
    """Models within models; the inner one is called twice."""
    x = keras.Input(image(order, *size))
    y = layers.Conv2D(size[-1], 3, padding="same", data_format=order, name="inside")(x)
    y = layers.GroupNormalization(1, axis=-1 if order == "channels_last" else 1)(y)
    inner = keras.Model(x, y, name="inner")
    middle = keras.Sequential([inner, layers.MaxPooling2D(data_format=order)], name="middle")
    x = keras.Input(image(order, *size), name="x")
    return keras.Model(x, middle(layers.Add()([inner(x), x])))


def sequential(order: str, size: tuple[int, ...]) -> Any:
    return keras.Sequential(
        [
            keras.Input(image(order, *size), name="x"),
            layers.ZeroPadding2D(1, data_format=order),
            layers.Conv2D(4, 3, data_format=order, use_bias=False),
            layers.PReLU(shared_axes=[1, 2] if order == "channels_last" else [2, 3]),
            layers.AveragePooling2D(2, data_format=order),
        ]
    )


def several(order: str, size: tuple[int, ...]) -> Any:
    """Dictionaries in and out, in an order of their own; an output that is also used."""
    x = {name: keras.Input(image(order, *size), name=name) for name in ("second", "first")}
    y = layers.Conv2D(4, 2, data_format=order, name="conv")(x["second"])
    z = layers.Conv2D(4, 2, data_format=order, name="other")(x["first"])
    mean = layers.GlobalAveragePooling2D(data_format=order, name="mean")(y)
    return keras.Model(x, {"zebra": layers.Add(name="sum")([y, z]), "apple": y, "mean": mean})


@keras.saving.register_keras_serializable("tests")
class Gate(layers.Layer):
    """A layer of one's own, made of what ONNX has."""

    def __init__(self, axis: int, **config: Any) -> None:
        super().__init__(**config)
        self.axis = axis

    def build(self, shape: Any) -> None:
        sizes = [shape[a] if a == self.axis % len(shape) else 1 for a in range(1, len(shape))]
        self.strength = self.add_weight(shape=sizes, name="strength")

    def call(self, x: Any) -> Any:
        return x * ops.sigmoid(x * self.strength)


def custom(order: str, size: tuple[int, ...]) -> Any:
    x = keras.Input(image(order, *size), name="x")
    y = layers.Conv2D(4, 2, data_format=order)(x)
    return keras.Model(x, Gate(-1 if order == "channels_last" else 1, name="gate")(y))


class Subclassed(keras.Model):
    def __init__(self, order: str) -> None:
        super().__init__(name="subclassed")
        self.conv = layers.SeparableConv2D(4, 3, data_format=order, name="conv")
        self.norm = layers.LayerNormalization(axis=-1 if order == "channels_last" else 1, name="norm")

    def call(self, x: Any) -> Any:
        return ops.relu(self.norm(self.conv(x)))


def subclassed(order: str, size: tuple[int, ...]) -> Any:
    model = Subclassed(order)
    model.build((None, *image(order, *size)))
    return model


MODELS = [shared, nested, sequential, several, custom, subclassed]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [(7, 8, 3), (6, 6, 6)], ids=["distinct", "equal"])
@pytest.mark.parametrize("build", MODELS)
def test_model(build: Callable[..., Any], size: tuple[int, ...], order: str) -> None:
    to = next(other for other in ORDERS if other != order)
    original = build(order, size)
    if build is not shared:
        randomised(original)
    result = converted(original, to)
    if build is subclassed:  # it has no inputs to ask
        x = keras.Input(image(order, *size))
        original = keras.Model(x, original(x))
    again = converted(result, order)
    if build is nested and runs_compiled_only(original):
        # compiled, Keras adds a bias along the last axis where that has as many elements
        last = build("channels_last", size)
        last.set_weights(original.get_weights())
        agree(last, result, to, 2, turn=False)
        agree(last, again, order, 2)
        return
    agree(original, result, to, 2)
    agree(original, again, order, 2, turn=False)


def test_what_is_shared_stays_shared() -> None:
    result = converted(shared("channels_first", (7, 8, 3)), "channels_last")
    for name in ("conv", "norm", "head"):
        layer = result.get_layer(name)
        assert len(layer._inbound_nodes) == 2


def test_dictionaries_keep_their_keys() -> None:
    result = converted(several("channels_last", (7, 8, 3)), "channels_first")
    assert set(result.input) == {"first", "second"}
    assert {name: tensor.shape[1] for name, tensor in result.output.items()} == {
        "zebra": 4, "apple": 4, "mean": 4
    }  # fmt: skip
    assert result.input["first"].shape == (None, 3, 7, 8)


@pytest.mark.parametrize("order", ORDERS)
def test_biases_of_square_images(order: str) -> None:
    """As many filters as rows and columns: the sum is right, also where Keras's own is not."""
    to = next(other for other in ORDERS if other != order)
    last = randomised(square("channels_last"))
    original = last if order == "channels_last" else square(order)
    original.set_weights(last.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    expected = np.asarray(last(x))
    result = converted(original, to)
    given = x if to == "channels_last" else np.moveaxis(x, -1, 1)
    for actual in (run(result, [given])[0], computed(result, given)[0]):
        actual = actual if to == "channels_last" else np.moveaxis(actual, 1, -1)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert result.count_params() == last.count_params()


def square(order: str) -> Any:
    x = keras.Input(image(order, 6, 6, 3), name="x")
    y = layers.Conv2D(6, 3, padding="same", data_format=order)(x)
    return keras.Model(x, layers.SeparableConv2D(6, 3, padding="same", data_format=order)(y))


def test_what_onnx_cannot_say_is_one_error() -> None:
    x = keras.Input((6, 8, 3))
    y = layers.UpSampling2D(interpolation="lanczos3", name="up")(layers.Conv2D(3, 2)(x))
    with pytest.raises(ConversionError, match="ScaleAndTranslate") as error:
        converted(keras.Model(x, y), "channels_first")
    assert "\n" not in str(error.value)
