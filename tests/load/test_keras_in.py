"""Keras models in: what tf2onnx reads, with layers' names and parameters, channels last afterwards."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

import onnx_nhwc  # noqa: E402
from onnx_nhwc import optimize  # noqa: E402
from onnx_nhwc.files.weights import to_proto  # noqa: E402
from onnx_nhwc.load.keras.reading import from_keras, read  # noqa: E402
from onnx_nhwc.passes.errors import ConversionError, FileError, UsageError  # noqa: E402
from onnx_nhwc.passes.plausible import LayoutWarning  # noqa: E402
from tests.support.keras_models import computed, runs_channels_first  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

Build = Callable[[str], Any]


def shape(order: str, *last: int) -> tuple[int, ...]:
    return last if order == "channels_last" else (last[-1], *last[:-1])


def plain(order: str) -> Any:
    axis = -1 if order == "channels_last" else 1
    x = keras.Input(shape(order, 12, 14, 3), name="image")
    y = keras.layers.Conv2D(8, 3, padding="same", data_format=order, name="stem")(x)
    y = keras.layers.BatchNormalization(axis=axis, name="norm")(y)
    y = keras.layers.ReLU(name="act")(y)
    y = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", data_format=order, name="dw")(y)
    y = keras.layers.BatchNormalization(axis=axis, scale=False, name="norm2")(y)
    y = keras.layers.MaxPooling2D(2, data_format=order, name="pool")(y)
    y = keras.layers.Flatten(data_format=order, name="flat")(y)
    return keras.Model(x, keras.layers.Dense(5, name="head")(y), name="plain")


def equal_sizes(order: str) -> Any:
    x = keras.Input(shape(order, 8, 8, 8), name="image")
    y = keras.layers.Conv2D(8, 3, padding="same", data_format=order, name="conv")(x)
    y = keras.layers.Concatenate(axis=-1 if order == "channels_last" else 1, name="join")([x, y])
    y = keras.layers.Conv2DTranspose(4, 2, strides=2, data_format=order, name="up")(y)
    return keras.Model(x, keras.layers.GlobalAveragePooling2D(data_format=order, name="mean")(y))


def sequential(order: str) -> Any:
    return keras.Sequential(
        [
            keras.Input(shape(order, 11, 9, 3), name="image"),
            keras.layers.ZeroPadding2D(1, data_format=order, name="pad"),
            keras.layers.SeparableConv2D(6, 3, data_format=order, name="separable"),
            keras.layers.AveragePooling2D(2, data_format=order, name="average"),
            keras.layers.Conv2D(4, 1, data_format=order, name="last", activation="sigmoid"),
        ]
    )


def several(order: str) -> Any:
    a = keras.Input(shape(order, 8, 10, 3), name="a")
    b = keras.Input(shape(order, 8, 10, 3), name="b")
    inner_in = keras.Input(shape(order, 8, 10, 3))
    inner = keras.layers.Conv2D(4, 3, padding="same", data_format=order, name="inside")(inner_in)
    nested = keras.Model(inner_in, inner, name="nested")
    y = keras.layers.Add(name="sum")([nested(a), b[..., :1] if order == "channels_last" else b[:, :1]])
    z = keras.layers.GlobalMaxPooling2D(data_format=order, name="largest")(y)
    return keras.Model([a, b], [y, z], name="several")


def volume(order: str) -> Any:
    axis = -1 if order == "channels_last" else 1
    x = keras.Input(shape(order, 5, 6, 7, 2), name="volume")
    y = keras.layers.Conv3D(4, 2, data_format=order, name="conv")(x)
    return keras.Model(x, keras.layers.BatchNormalization(axis=axis, name="norm")(y))


def signal(order: str) -> Any:
    axis = -1 if order == "channels_last" else 1
    x = keras.Input(shape(order, 20, 3), name="signal")
    y = keras.layers.Conv1D(4, 3, data_format=order, name="conv")(x)
    return keras.Model(x, keras.layers.BatchNormalization(axis=axis, name="norm")(y))


def grouped(order: str) -> Any:
    x = keras.Input(shape(order, 7, 9, 4), name="image")
    y = keras.layers.Conv2D(6, 3, groups=2, data_format=order, name="conv")(x)
    return keras.Model(x, keras.layers.UpSampling2D(2, data_format=order, name="up")(y))


BUILDS = [grouped, plain, equal_sizes, sequential, several, volume, signal]


def randomised(model: Any) -> Any:
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.uniform(0.2, 1.2, weight.shape) * rng.choice([1, 1, 0.5], weight.shape))
    return model


def to_first(array: Any) -> Any:
    return np.moveaxis(array, -1, 1) if array.ndim > 2 else array


@pytest.mark.parametrize("build", BUILDS)
def test_channels_first_becomes_channels_last(build: Build) -> None:
    first, last = randomised(build("channels_first")), build("channels_last")
    last.set_weights(first.get_weights())
    names = [layer.name for layer in first.layers]
    result = onnx_nhwc.convert_channels_first_to_last(first)
    rng = np.random.default_rng(2)
    feeds = [rng.normal(size=(2, *x.shape[1:])).astype("float32") for x in last.inputs]
    if build is plain:  # after a Flatten with its data_format, rows are in the same order
        assert {"stem", "norm", "act", "dw", "norm2", "pool", "head"} <= {x.name for x in result.layers}
        assert names[0] == result.layers[0].name
    expected = last(feeds if len(feeds) > 1 else feeds[0])
    actual = result(feeds if len(feeds) > 1 else feeds[0])
    expected, actual = keras.tree.flatten(expected), keras.tree.flatten(actual)
    assert len(expected) == len(actual)
    for a, b in zip(expected, actual, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)
    assert result.count_params() == first.count_params()
    assert not any("ranspose" in type(x).__name__ and "Conv" not in type(x).__name__ for x in result.layers)


@pytest.mark.parametrize("build", BUILDS)
def test_channels_last_becomes_channels_first_and_back(build: Build) -> None:
    last = randomised(build("channels_last"))
    first = onnx_nhwc.convert_channels_last_to_first(last)
    again = onnx_nhwc.convert_channels_first_to_last(first)
    rng = np.random.default_rng(2)
    feeds = [rng.normal(size=(2, *x.shape[1:])).astype("float32") for x in last.inputs]
    expected = keras.tree.flatten(last(feeds if len(feeds) > 1 else feeds[0]))
    turned = [to_first(feed) for feed in feeds]
    for model, given, turn in ((first, turned, to_first), (again, feeds, lambda x: x)):
        assert [tuple(x.shape[1:]) for x in model.inputs] == [x.shape[1:] for x in given]
        actual = computed(model, *given)
        for a, b in zip(expected, actual, strict=True):
            np.testing.assert_allclose(b, turn(np.asarray(a)), rtol=1e-4, atol=1e-4)
        assert model.count_params() == last.count_params()
    layers = [layer for layer in first.layers if hasattr(layer, "data_format")]
    assert {layer.data_format for layer in layers} <= {"channels_first"}
    axes = [layer.axis for layer in first.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert set(axes) <= {1}


@pytest.mark.parametrize("order", ["channels_first", "channels_last"])
def test_onnx_keeps_names_and_normalisations(order: str) -> None:
    model = plain(order)
    result = from_keras(model)
    assert [value.name for value in result.graph.inputs] == ["image"]
    assert [value.name for value in result.graph.outputs] == ["head"]
    assert sum(node.op_type == "BatchNormalization" for node in result.graph) == 2


def test_zero_biases_stay_parameters() -> None:
    model = plain("channels_first")
    assert onnx_nhwc.convert_channels_first_to_last(model).count_params() == model.count_params()


@pytest.mark.parametrize("order", ["channels_first", "channels_last"])
def test_normalization_and_gelu(order: str) -> None:
    """Numbers that a Normalization was adapted to are no trainable weights, and given ones no weights."""
    axis = -1 if order == "channels_last" else 1
    adapted = keras.layers.Normalization(axis=axis, name="adapted")
    x = keras.Input(shape(order, 7, 9, 3))
    y = keras.layers.Conv2D(3, 2, data_format=order)(adapted(x))
    given = {"mean": [0.1, 0.2, 0.3], "variance": [1.0, 0.5, 3.0]}
    y = keras.layers.Normalization(axis=axis, **given, name="given")(y)
    model = keras.Model(x, keras.layers.Activation("gelu")(y))
    adapted.set_weights([np.array([0.5, 0.2, 3]), np.array([0.5, 2, 0]), np.array(7)])
    adapted.finalize_state()
    convert = onnx_nhwc.convert_channels_last_to_first
    if order == "channels_first":
        convert = onnx_nhwc.convert_channels_first_to_last
    result = convert(model)
    images = np.random.default_rng(0).normal(size=(2, *x.shape[1:])).astype("float32")
    there, back = ((0, 3, 1, 2), (0, 2, 3, 1)) if axis == -1 else ((0, 2, 3, 1), (0, 3, 1, 2))
    actual = np.transpose(computed(result, np.transpose(images, there))[0], back)
    expected = computed(model, images)[0]
    # compiled, erf is within an ulp of -1, which is multiplied by what stands before the activation
    size = 0 if runs_channels_first() else np.abs(computed(keras.Model(x, y), images)[0]).max()
    rounding = np.finfo(np.float32).eps * size
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=rounding)
    kept = [layer for layer in result.layers if isinstance(layer, keras.layers.Normalization)]
    assert [layer.name for layer in kept] == ["adapted", "given"]
    assert int(kept[0].count) == 7
    assert result.count_params() == model.count_params()
    assert len(result.trainable_weights) == len(model.trainable_weights)
    again = keras.Model.from_config(result.get_config())
    again.set_weights(result.get_weights())
    assert [layer.name for layer in again.layers] == [layer.name for layer in result.layers]


@pytest.mark.parametrize("order", ["channels_first", "channels_last"])
@pytest.mark.parametrize("sizes", [(9,), (10, 13)])
def test_separable_convolutions_stay_one_layer(order: str, sizes: tuple[int, ...]) -> None:
    cls = [keras.layers.SeparableConv1D, keras.layers.SeparableConv2D][len(sizes) - 1]
    x = keras.Input(shape(order, *sizes, 3))
    strided = {"strides": 2, "padding": "same", "depth_multiplier": 2, "activation": "relu"}
    y = cls(6, 3, data_format=order, name="strided", **strided)(x)
    y = cls(5, 2, data_format=order, use_bias=False, dilation_rate=2, name="dilated")(y)
    model = randomised(keras.Model(x, y))
    convert = onnx_nhwc.convert_channels_last_to_first
    if order == "channels_first":
        convert = onnx_nhwc.convert_channels_first_to_last
    result = convert(model)
    kept = [(layer.name, layer.count_params()) for layer in result.layers if type(layer) is cls]
    assert kept == [(name, model.get_layer(name).count_params()) for name in ("strided", "dilated")]
    images = np.random.default_rng(0).normal(size=(2, *x.shape[1:])).astype("float32")
    moves = [(-1, 1), (1, -1)] if order == "channels_last" else [(1, -1), (-1, 1)]
    actual = np.moveaxis(computed(result, np.moveaxis(images, *moves[0]))[0], *moves[1])
    np.testing.assert_allclose(actual, computed(model, images)[0], rtol=1e-4, atol=1e-4)


def test_a_bias_of_the_channels_may_be_computed() -> None:
    x = keras.Input((4, 5, 6), name="x")
    bias = keras.ops.reshape(keras.ops.mean(x, axis=(0, 2, 3)), (4, 1, 1))
    model = keras.Model(x, keras.ops.add(x, bias))
    images = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype("float32")
    session = onnxruntime.InferenceSession(to_proto(from_keras(model)).SerializeToString())
    (actual,) = session.run(None, {"x": images})
    np.testing.assert_allclose(actual, images + images.mean((0, 2, 3)).reshape(4, 1, 1), atol=1e-5)


class Scaled(keras.layers.Layer):
    """Has parameters that no layer of Keras has a place for."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")
        self.table = self.add_weight(shape=(shape[1], 1, shape[-1]), name="table")

    def call(self, x: Any) -> Any:
        return x * self.scale - self.table


def test_parameters_of_their_own_do_not_grow() -> None:
    """They are kept as rows of an Embedding, and read as what they are."""
    x = keras.Input((6, 7, 3), name="image")
    y = Scaled(name="scaled")(keras.layers.Conv2D(4, 3, padding="same", name="conv")(x))
    model = randomised(keras.Model(x, keras.layers.Conv2D(5, 1, name="last")(y)))
    first = onnx_nhwc.convert_channels_last_to_first(model)
    last = onnx_nhwc.convert_channels_first_to_last(first)
    again = onnx_nhwc.convert_channels_last_to_first(last)
    images = np.random.default_rng(0).normal(size=(2, 6, 7, 3)).astype("float32")
    np.testing.assert_allclose(last(images), model(images), rtol=1e-4, atol=1e-4)
    for result in (first, last, again):
        assert result.count_params() == model.count_params()
        assert len(result.trainable_weights) == len(model.trainable_weights)
    kinds = [sorted(type(operation).__name__ for operation in m.operations) for m in (first, again)]
    assert kinds[0] == kinds[1]


def test_frozen_layers_stay_frozen() -> None:
    model = plain("channels_first")
    for name in ("stem", "norm"):
        model.get_layer(name).trainable = False
    result = onnx_nhwc.convert_channels_first_to_last(model)
    frozen = [layer.name for layer in result.layers if not layer.trainable]
    assert frozen == ["stem", "norm"]
    assert len(result.trainable_weights) == len(model.trainable_weights)


def test_layers_of_one_name_in_nested_models_keep_their_own_flags() -> None:
    """The last convolution is the first nested model's; its twin is frozen, alone and with its model."""

    def nested(name: str, channels: int, **conv: Any) -> Any:
        x = keras.Input((8, 9, channels))
        y = keras.layers.Conv2D(4, 3, name="conv", **conv)(x)
        return keras.Model(x, keras.layers.BatchNormalization(name="norm")(y), name=name)

    for frozen in ("model", "layer"):
        one, other = nested("one", 3), nested("other", 4, padding="same", strides=2)
        x = keras.Input((10, 11, 3))
        y = other(keras.layers.Conv2D(4, 3, name="stem")(x))
        z = one(keras.layers.Cropping2D(1, name="crop")(x))
        model = randomised(keras.Model(x, [y, z]))
        (other if frozen == "model" else other.get_layer("conv")).trainable = False
        result = onnx_nhwc.convert_channels_last_to_first(model)
        for kind in ("trainable_weights", "non_trainable_weights"):
            shapes = [sorted(tuple(w.shape) for w in getattr(m, kind)) for m in (model, result)]
            assert shapes[0] == shapes[1]
        frozen_ones = {layer.name for layer in result.layers if not layer.trainable}
        assert len(frozen_ones) == {"model": 2, "layer": 1}[frozen]


def test_the_model_itself_is_as_before() -> None:
    model = plain("channels_last")
    x = np.random.default_rng(0).normal(size=(1, 12, 14, 3)).astype("float32")
    before = np.asarray(model(x))
    onnx_nhwc.convert_channels_first_to_last(model)
    assert all("call" not in layer.__dict__ for layer in model.layers)
    np.testing.assert_array_equal(model(x), before)


def test_nothing_global_changes() -> None:
    model = plain("channels_first")

    def state() -> list[Any]:
        config = keras.config
        return [
            random.getstate(),
            np.random.get_state()[1].tolist(),  # type: ignore[index,union-attr]  # noqa: NPY002
            config.image_data_format(),
            config.floatx(),
            config.dtype_policy().name,
        ]

    before = state()
    onnx_nhwc.convert_channels_first_to_last(model)
    assert state() == before


def test_files_are_read(tmp_path: Path) -> None:
    model = randomised(plain("channels_last"))
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    model.export(tmp_path / "folder", format="tf_saved_model", verbose=False)
    x = np.random.default_rng(0).normal(size=(2, 12, 14, 3)).astype("float32")
    expected = np.asarray(model(x))
    for name in ("m.keras", "m.h5", "folder"):
        session = onnxruntime.InferenceSession(to_proto(read(tmp_path / name)).SerializeToString())
        (actual,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_the_command_line_reads_keras(tmp_path: Path) -> None:
    plain("channels_first").save(tmp_path / "m.keras")
    for name in ("out.onnx", "out.keras"):
        assert optimize.main(["-q", str(tmp_path / "m.keras"), str(tmp_path / name)]) == 0
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize("order", ["channels_first", "channels_last"])
def test_a_shape_that_contradicts_the_layers_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], order: str
) -> None:
    """A channels-first model of images that are channels last, and the other way around."""
    convert = onnx_nhwc.convert_channels_first_to_last
    if order == "channels_last":
        convert = onnx_nhwc.convert_channels_last_to_first

    def model(sizes: tuple[int, ...]) -> Any:
        x = keras.Input(sizes, name="image")
        y = keras.layers.Conv2D(4, 3, padding="same", data_format=order)(x)
        return keras.Model(x, keras.layers.GlobalAveragePooling2D(data_format=order)(y))

    odd = (24, 28, 3) if order == "channels_first" else (3, 24, 28)
    side = "width" if order == "channels_first" else "height"
    with pytest.warns(LayoutWarning, match=f"input 'image' .* a {side} of 3") as caught:
        convert(model(odd))
    assert [w.filename for w in caught if w.category is LayoutWarning] == [__file__]
    model(odd).save(tmp_path / "odd.keras")
    assert optimize.main(["-q", str(tmp_path / "odd.keras"), str(tmp_path / "out.onnx")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("onnx-nhwc: warning: input 'image'")
    with warnings.catch_warnings():
        warnings.simplefilter("error", LayoutWarning)
        convert(model(shape(order, 24, 28, 3)))
        convert(model(shape(order, 3, 3, 64)))  # features, of which there may be many


def test_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.keras").write_bytes(b"nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError) as bad:
        read(tmp_path / "bad.keras")
    assert "\n" not in str(bad.value)
    with pytest.raises(FileError, match="not a SavedModel"):
        read(tmp_path / "folder")
    with pytest.raises(UsageError, match="does not exist"):
        read(tmp_path / "none.keras")
    (tmp_path / "empty.keras").touch()
    with pytest.raises(FileError, match="is empty"):
        read(tmp_path / "empty.keras")
    x = keras.Input((4, 4))
    with pytest.raises(ConversionError) as unsupported:
        from_keras(keras.Model(x, keras.ops.svd(x)))
    assert "\n" not in str(unsupported.value)
