"""What the architecture that a file holds says of the order of its weights.

:func:`trace` walks a ``model_config`` of Keras 1, 2 or 3 from the inputs on and follows the channels
of images, never looking at sizes to tell axes apart. Where an image is flattened, the order of the
features after it depends on the data format; which layers read them is what it finds out.

Nothing but the number of channels has to be known of an image, ``n (c s)`` and ``n (s c)`` being the
two orders: ``s``, the product of the other axes, follows from the number of rows of the Dense.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from onnx_nhwc.legacy.values import Built, Flat, Free, Image, Layer, Lost, Shaped, Value

__all__ = ["CHANNELS", "CLASSES", "name_of", "references", "skipped", "trace"]

CLASSES = {
    "Convolution1D": "Conv1D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConv1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconv2D": "Conv2DTranspose",
    "Convolution2DTranspose": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "SeparableConvolution1D": "SeparableConv1D",
    "Model": "Functional",
}
"""Names of layers that Keras no longer uses."""

CHANNELS = {
    *("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose"),
    *("SeparableConv1D", "SeparableConv2D", "ConvLSTM2D", "LocallyConnected1D"),
    *("LocallyConnected2D", "Conv1DTranspose"),
}
"""Layers whose output is an image with as many channels as they have filters."""

SAME = {
    *("Activation", "Dropout", "GaussianDropout", "GaussianNoise", "AlphaDropout", "ReLU"),
    *("LeakyReLU", "ELU", "ThresholdedReLU", "Softmax", "Masking", "ActivityRegularization"),
    *("BatchNormalization", "LayerNormalization", "PReLU", "InputLayer"),
}
"""Layers whose output has the axes of their input."""

PIXELS = {
    *(f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)),
    *(f"{kind}{n}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for n in (1, 2, 3)),
    *(f"SpatialDropout{n}D" for n in (1, 2, 3)),
}
"""Layers that change the spatial axes of an image only, and leave any other value alone."""

RECURRENT = ("LSTM", "GRU", "SimpleRNN")

JOINS = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Merge"}


def trace(model: Mapping[str, Any], data_format: str) -> dict[str, Layer]:
    """Return the layers of a ``model_config``, with what each is called on.

    Args:
        model: ``{"class_name": ..., "config": ...}``.
        data_format: That of values that reach a Flatten without having met a layer that has one.
    """
    return _Trace(data_format).run(model, None)[0]


def children(model: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The layers of a model's configuration, in order."""
    config = model["config"]
    return config if isinstance(config, list) else config.get("layers", [])


class _Trace:
    def __init__(self, data_format: str) -> None:
        self.data_format = data_format

    def run(self, model: Mapping[str, Any], given: Sequence[Value] | None) -> tuple[dict[str, Layer], Value]:
        """Walk one model that is called on ``given``; None: on what its inputs declare."""
        layers: dict[str, Layer] = {}
        if model["class_name"] == "Sequential":
            return layers, _bound(self._sequential(model, layers, given))
        entries = {name_of(entry): entry for entry in children(model)}
        values: dict[tuple[str, int], Value] = {}
        starts = [item[0] for item in references(model["config"].get("input_layers", []))]
        for name, value in zip(starts, given or (), strict=False):
            values[name, 0] = value
            layers[name] = _layer(entries[name])
        first = skipped(model["config"])
        every = [entry.get("inbound_nodes", []) for entry in entries.values()]
        uses = Counter(name for name, _ in references([every, model["config"].get("output_layers", [])]))
        for name, entry in entries.items():  # Keras lists layers so that producers come first
            if name in layers:
                continue
            layers[name] = _layer(entry)
            calls = [references(call) for call in entry.get("inbound_nodes", [])] or [[]]
            for i, call in enumerate(calls):
                inputs = [values.get(source, Lost(f"'{source[0]}' comes later")) for source in call]
                value = self._call(layers[name], entry, inputs)
                if uses[name] > 1 or len(calls) > 1:
                    value = _bound(value)
                values[name, i + first.get(name, 0)] = value
        ends = references(model["config"].get("output_layers", []))
        return layers, _bound(values.get(ends[0])) if len(ends) == 1 else Lost("several outputs")

    def _sequential(
        self, model: Mapping[str, Any], layers: dict[str, Layer], given: Sequence[Value] | None
    ) -> Value:
        value: Value = given[0] if given else None
        for i, entry in enumerate(children(model)):
            layer = layers[name_of(entry)] = _layer(entry)
            inputs = [] if i == 0 and not given else [value]
            value = self._call(layer, entry, inputs)
        return value

    def _call(self, layer: Layer, entry: Mapping[str, Any], inputs: list[Value]) -> Value:
        if not inputs:
            inputs = [_declared(layer, entry)]
        wrapped = layer.wrapper == "TimeDistributed"
        if wrapped:
            inputs = [_step(value) for value in inputs]
        layer.inputs.append(inputs[0] if len(inputs) == 1 else _joined(layer, inputs))
        if isinstance(layer.inputs[-1], Free):
            layer.inputs[-1] = None
        if layer.kind in ("Sequential", "Functional"):
            inner = {"class_name": layer.kind, "config": layer.config}
            if layer.kind == "Sequential" and "layers" not in layer.config:
                inner["config"] = layer.config["list"]
            layer.children, value = self.run(inner, inputs)
            return replace(value, rank=0) if wrapped and isinstance(value, Image) else value
        if layer.kind in JOINS:
            return _joined(layer, inputs)
        value = self._output(layer, inputs[0])
        return replace(value, rank=0) if wrapped and isinstance(value, Image) else value

    def _output(self, layer: Layer, value: Value) -> Value:
        kind, config = layer.kind, layer.config
        if isinstance(value, Built) and (kind in CHANNELS or layer.data_format):
            value = layer.inputs[-1] = _resolved(value, layer)
        if isinstance(value, Free):
            return _of_features(layer, value)
        if kind in CHANNELS:
            filters = config.get("filters", config.get("nb_filter"))
            return Image(filters, layer.data_format or "channels_last", _rank(kind))
        if kind in SAME:
            return value
        if isinstance(value, Built):
            if kind in RECURRENT:
                return None
            value = layer.inputs[-1] = Lost(f"Reshape '{value.name}' makes an image of features", made=True)
        if isinstance(value, Lost):
            return None if kind in ("Dense", "Embedding") else value
        if kind in ("DepthwiseConv2D", "DepthwiseConv1D"):
            image = _image(value, layer.data_format, _rank(kind))
            multiplier = config.get("depth_multiplier", 1)
            return replace(image, channels=image.channels and image.channels * multiplier)
        if kind in PIXELS:
            if value is None:
                return None
            return _image(value, layer.data_format or "channels_last", _rank(kind))
        if kind in ("Flatten", "Reshape", "Permute", "Dense"):
            return self._reshaped(layer, value)
        if kind.startswith("Global") or kind in (*RECURRENT, "Embedding"):
            return None
        if kind in ("RepeatVector",) and value is None:
            return None
        return value if value is None else Lost(f"{kind} '{layer.name}' is not known")

    def _reshaped(self, layer: Layer, value: Value) -> Value:
        kind = layer.kind
        if kind == "Dense":
            if isinstance(value, Image) and value.data_format == "channels_last":
                return replace(value, channels=layer.config.get("units"))
            many = isinstance(value, Image) or (isinstance(value, Shaped) and len(value.shape) > 3)
            return Lost(f"Dense '{layer.name}' reads the last axis of an image") if many else Free((layer,))
        flattens = kind == "Flatten" or len(layer.config.get("target_shape", (0, 0))) == 1
        if value is None or isinstance(value, Flat):
            if kind == "Flatten" or (flattens and isinstance(value, Flat)):
                return value
            return Lost(f"{kind} '{layer.name}' gives features the axes of an image", made=True)
        if isinstance(value, Lost):
            return value
        if isinstance(value, Shaped) and len(value.shape) < 4:
            return None if flattens else value
        if not flattens:
            return Lost(f"{kind} '{layer.name}' gives the axes of an image another order or size")
        image = _image(value, self.data_format, 0)
        if not image.channels:
            return Lost(f"the number of channels that {kind} '{layer.name}' reads is not known")
        if kind == "Flatten" and layer.data_format == "channels_first":
            # since Keras 2.1 such a Flatten moves the channels to the end before it flattens
            if image.data_format != "channels_first":
                return Lost(f"Flatten '{layer.name}' takes a channels-last image for another")
            return Flat(image.channels, "channels_last")
        return Flat(image.channels, image.data_format)


def _of_features(layer: Layer, value: Free) -> Value:
    """What a layer makes of features whose order is free."""
    if layer.kind in ("BatchNormalization", "PReLU", "LayerNormalization"):  # one weight per feature
        return Free((*value.makers, layer))
    if layer.kind in SAME or layer.kind == "Flatten":
        return value
    if layer.kind == "Dense":
        return Free((layer,))
    if layer.kind == "Reshape":
        shape = layer.config.get("target_shape", ())
        return value if len(shape) == 1 else Built(shape, value.makers, layer.name)
    if layer.kind in CHANNELS or layer.kind == "Permute":
        return Lost(f"{layer.kind} '{layer.name}' gives features the axes of an image", made=True)
    return None


def _resolved(value: Built, layer: Layer) -> Image | Lost:
    """An image that was built of features, as ``layer`` reads it, which settles their order."""
    data_format = layer.data_format or "channels_last"
    if value.data_format not in ("", data_format):
        return Lost(f"Reshape '{value.name}' makes an image of both data formats", made=True)
    value.data_format = data_format
    at = 0 if data_format == "channels_first" else -1
    channels = value.shape[at]
    if channels < 0:  # one size is -1, so that the negated product is that of the others
        first = value.makers[0].config
        channels = first.get("units", first.get("output_dim")) // -math.prod(value.shape)
    for maker in value.makers:
        maker.output = Flat(channels, data_format)
    return Image(channels, data_format, len(value.shape) + 1)


def _bound(value: Value) -> Value:
    """A value that more than one layer reads, or one in another model: its order stays as it is."""
    if isinstance(value, Built):
        return Lost(f"Reshape '{value.name}' makes an image that is read elsewhere", made=True)
    return None if isinstance(value, Free) else value


def _image(value: Value, data_format: str, rank: int) -> Image:
    if isinstance(value, Image):
        return value
    if isinstance(value, Shaped) and len(value.shape) > 2:
        channels = value.shape[1 if data_format == "channels_first" else -1]
        return Image(channels, data_format, len(value.shape))
    return Image(None, data_format, rank)


def _rank(kind: str) -> int:
    """The rank of the images that a layer such as Conv2D or MaxPooling3D works on."""
    return next((int(digit) + 2 for digit in kind if digit in "123"), 0)


def _joined(layer: Layer, values: Sequence[Value]) -> Value:
    """The result of Add, Concatenate, Merge, ..."""
    joins = layer.kind == "Concatenate" or (layer.kind == "Merge" and layer.config.get("mode") == "concat")
    images = [value for value in values if isinstance(value, Image)]
    for value in values:
        if isinstance(value, Built) or (isinstance(value, Lost) and value.made):
            return Lost(f"{layer.kind} '{layer.name}' joins images made of features", made=True)
    values = [_bound(value) for value in values]
    if not joins:
        alike = all(value == values[0] for value in values)
        shaped = next((value for value in values if isinstance(value, Image | Flat)), None)
        return values[0] if alike else shaped or Lost(f"'{layer.name}' joins unlike values")
    if len(images) == len(values):
        axis = layer.config.get("axis", layer.config.get("concat_axis", -1))
        rank = images[0].rank
        if not rank:
            return Lost(f"the axis that {layer.kind} '{layer.name}' joins along is not known")
        if axis % rank != (1 if images[0].data_format == "channels_first" else rank - 1):
            return images[0]
        counts = [image.channels for image in images]
        total = None if None in counts else sum(count or 0 for count in counts)
        return replace(images[0], channels=total)
    if any(value is not None for value in values):
        return Lost(f"{layer.kind} '{layer.name}' joins flattened images")
    return None


def _declared(layer: Layer, entry: Mapping[str, Any]) -> Value:
    config = entry.get("config", {})
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    if shape is None:
        shape = layer.config.get("batch_input_shape")
    if shape is None and "input_dim" in layer.config and layer.kind == "Dense":
        return None
    return Shaped(tuple(shape)) if shape else Lost("the shape of the input is not stated")


def _step(value: Value) -> Value:
    """What TimeDistributed gives to its layer."""
    if isinstance(value, Shaped):
        return Shaped((value.shape[0], *value.shape[2:]))
    return value


def name_of(entry: Mapping[str, Any]) -> str:
    """The name of a layer, by its entry in a model's configuration."""
    config = entry.get("config")
    inner = config.get("name") if isinstance(config, Mapping) else None
    return str(entry.get("name") or inner)


def _layer(entry: Mapping[str, Any]) -> Layer:
    kind, config, wrapper = entry["class_name"], entry.get("config", {}), ""
    if kind in ("TimeDistributed", "Bidirectional") and "layer" in config:
        wrapper = kind
        kind, config = config["layer"]["class_name"], config["layer"].get("config", {})
    if isinstance(config, list):  # a Sequential of Keras 1
        config = {"list": config}
    return Layer(name_of(entry), CLASSES.get(kind, kind), config, wrapper)


def skipped(config: Mapping[str, Any]) -> dict[str, int]:
    """The number of the first call of each model within a model.

    It is 1 where Keras 2 counts the call that made that model, which is not in the file.
    """
    pairs = references([entry.get("inbound_nodes", []) for entry in config["layers"]])
    pairs += references(config.get("output_layers", []))
    models = ("Model", "Functional", "Sequential")
    inner = {name_of(entry) for entry in config["layers"] if entry["class_name"] in models}
    return {name: min(i for other, i in pairs if other == name) for name, _ in pairs if name in inner}


def references(call: Any) -> list[tuple[str, int]]:
    """The (layer, call) pairs in one entry of ``inbound_nodes`` (or ``input_layers``)."""
    if isinstance(call, Mapping):
        history = call.get("config", {}).get("keras_history") if "class_name" in call else None
        if history:
            return [(history[0], history[1])]
        return [pair for value in call.values() for pair in references(value)]
    if not isinstance(call, list | tuple):
        return []
    if len(call) >= 3 and isinstance(call[0], str) and all(isinstance(i, int) for i in call[1:3]):
        return [(call[0], call[1])]
    return [pair for value in call for pair in references(value)]
