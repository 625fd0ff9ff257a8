"""Turns every network of ``keras.applications`` into the other layout, and back."""

from __future__ import annotations

import inspect
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import onnx_nhwc
from onnx_nhwc.export.keras.running import runs_compiled_only
from onnx_nhwc.verification.comparison import compare

Row = dict[str, Any]
FIRST, LAST = "channels_first", "channels_last"

_SMALLEST = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
_CLASSES = 10
_IMAGES = 64
_MOVED = {"Permute", "Transpose", "Moveaxis", "Swapaxes"}


def networks() -> list[str]:
    """The names of all networks."""
    found = vars(keras.applications).items()
    return sorted(name for name, value in found if name[0].isupper() and inspect.isfunction(value))


def build(name: str, order: str) -> Any:
    """A network without weights, of the smallest size that it allows.

    Raises:
        ValueError: It is only made for the other data format.
    """
    size, before = _SMALLEST.get(name, 32), keras.config.image_data_format()
    keras.config.set_image_data_format(order)
    try:
        return getattr(keras.applications, name)(
            weights=None,
            classes=_CLASSES,
            classifier_activation=None,
            input_shape=(size, size, 3) if order == LAST else (3, size, size),
        )
    finally:
        keras.config.set_image_data_format(before)


def images(model: Any) -> Any:
    """Spots of colour with values up to 255, channels last.

    To a deep network, plain noise would look all the same.
    """
    _, height, width, channels = model.input_shape
    rng = np.random.default_rng(1)
    spots = rng.uniform(0, 255, (_IMAGES, 5, 5, channels))
    rows, columns = (np.arange(size) * 5 // size for size in (height, width))
    noise = rng.uniform(0.5, 1, (_IMAGES, height, width, channels))
    return (spots[:, rows][:, :, columns] * noise).astype(np.float32)


def initialise(model: Any) -> None:
    """Random weights with which values keep their size from layer to layer, as if it were trained.

    Kernels are as He et al. have them, moving statistics those of some images, their variance times
    0.5..1.5 or so. Without that, deep networks of these sizes amplify rounding a thousandfold.
    """
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            weight.assign(_values(weight.path.rsplit("/", 1)[-1], weight.shape, rng))
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.__dict__["call"] = _adapting(layer, rng)
    model(images(model), training=False)
    for layer in norms:
        del layer.__dict__["call"]


def _adapting(layer: Any, rng: np.random.Generator) -> Callable[..., Any]:
    """What sets a BatchNormalization's statistics by what it is called on."""
    own = layer.call

    def call(inputs: Any, **given: Any) -> Any:
        axes = [axis for axis in range(len(inputs.shape)) if axis != layer.axis % len(inputs.shape)]
        mean, variance = (np.asarray(x) for x in keras.ops.moments(inputs, axes))
        changed = rng.uniform(0.5, 1.5, variance.shape) * (variance + variance.mean() / 10)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(changed * np.mean(variance / changed))
        return own(inputs, **given)

    return call


def _values(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    if "kernel" in kind:
        inputs = int(np.prod(shape[:2] if shape[-1] == 1 else shape[:-1]))
        return rng.normal(0, np.sqrt(2 / inputs), shape)
    if kind in ("bias", "beta", "mean"):
        return rng.normal(0, 0.2, shape)
    low, high = (0.2, 0.8) if kind == "gamma" else (0.5, 1.5)
    return rng.uniform(low, high, shape) if kind != "count" else 7


def measured(name: str) -> Iterator[Row]:
    """Every conversion of a network, from each format and back again."""
    last = build(name, LAST)
    initialise(last)
    x = images(last)[:2]  # of those that the statistics are from: others may be far off
    yield from _there_and_back(name, LAST, last, x)
    try:
        first = build(name, FIRST)
    except ValueError as error:
        yield {"network": name, "from": FIRST, "refused": str(error).split(". ")[0]}
        return
    first.set_weights(last.get_weights())
    for layer in first.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    yield from _there_and_back(name, FIRST, first, x)


def _there_and_back(name: str, order: str, model: Any, x: Any) -> Iterator[Row]:
    wanted = run(model, x, order)
    there, other = CONVERSIONS[order]
    back, _ = CONVERSIONS[other]
    current = model
    for convert, now, start in ((there, other, order), (back, order, f"{order}, there and back")):
        row: Row = {"network": name, "from": start}
        begin = time.perf_counter()
        try:
            current = convert(current)
        except onnx_nhwc.ConversionError as error:
            yield row | {"error": str(error)}
            return
        row["seconds"] = time.perf_counter() - begin
        compared = compare("output", wanted, run(current, x, now), None)
        row |= {"ok": compared.ok, "difference": compared.error / compared.scale, "reason": compared.reason}
        row["spread"] = float(np.abs(wanted[0] - wanted[1]).mean()) / compared.scale
        yield row | kept(model, current)


def kept(model: Any, result: Any) -> Row:
    """What of a model is still there."""
    layers = list(weighted(model))
    found = {(layer.name, type(layer)) for layer in weighted(result)}
    missing = [f"{layer.name} ({type(layer).__name__})" for layer in layers
               if (layer.name, type(layer)) not in found]  # fmt: skip
    norms = [sum(isinstance(x, keras.layers.BatchNormalization) for x in m.layers) for m in (model, result)]
    return {
        "transposes": [moves(model), moves(result)],
        "parameters": [model.count_params(), result.count_params()],
        "trainable": [_count(m.trainable_weights) for m in (model, result)],
        "batch_normalizations": norms,
        "layers": len(layers),
        "layers_kept": len(layers) - len(missing),
        "missing": missing,
    }


def _count(weights: list[Any]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def weighted(model: Any) -> Iterator[Any]:
    """The layers that have weights of their own."""
    for layer in model._flatten_layers(include_self=False):
        if layer.weights and not isinstance(layer, keras.Model):
            yield layer


def moves(model: Any) -> int:
    """How many operations do nothing but reorder axes."""
    counts = Counter(type(operation).__name__ for operation in model.operations)
    return sum(counts[kind] for kind in _MOVED)


def run(model: Any, x: Any, order: str) -> Any:
    """What a model makes of images that are channels last.

    By ``predict``: called directly, Keras on TensorFlow adds a bias along the wrong axis if that has
    as many elements.
    """
    if runs_compiled_only(model):
        model.compile(jit_compile=True)
    return model.predict(x if order == LAST else np.moveaxis(x, -1, 1), verbose=0)


CONVERSIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    FIRST: (onnx_nhwc.convert_channels_first_to_last, LAST),
    LAST: (onnx_nhwc.convert_channels_last_to_first, FIRST),
}


def applications(pattern: Callable[[str], object], say: Callable[[str], None]) -> list[Row]:
    """All conversions of the networks whose names match."""
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in networks():
            if pattern(name):
                for row in measured(name):
                    say(line(row))
                    rows.append(row)
                keras.backend.clear_session()
    return rows


def line(row: Row) -> str:
    """One conversion in one line."""
    return f"{row['network']} from {row['from']}: " + ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in row.items()
        if key not in ("network", "from") and value not in ([], "", None)
    )
