"""Architectures of Keras 1 and 2, in the words of Keras 2 that Keras 3 still reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnx_nhwc.legacy import keras1
from onnx_nhwc.legacy.architecture import CLASSES, name_of, references, skipped
from onnx_nhwc.legacy.padding import explicit, shifted
from onnx_nhwc.passes.errors import ConversionError

__all__ = ["HARD_SIGMOID", "is_keras1", "upgraded"]

Config = dict[str, Any]

HARD_SIGMOID = "hard_sigmoid_of_keras_2"
"""``max(0, min(1, x / 5 + 1 / 2))``; Keras 3 gave the name hard_sigmoid to another function."""

_MODELS = ("Model", "Functional", "Sequential")
_WRAPPERS = ("TimeDistributed", "Bidirectional")
_OF_KERAS1 = {"dim_ordering", "border_mode", "output_dim", "nb_filter", "inner_activation"}
_UNSPATIAL = ("Flatten", *(f"{kind}Pooling1D" for kind in ("Max", "Average", "GlobalMax", "GlobalAverage")))
_GONE = ("LocallyConnected1D", "LocallyConnected2D", "CuDNNLSTM", "CuDNNGRU")
_TWO_KERNELS = ("SeparableConv1D", "SeparableConv2D", "DepthwiseConv2D")
_NOT_GROUPED = (*_TWO_KERNELS, "Conv2DTranspose", "Conv3DTranspose")


def is_keras1(model: Any) -> bool:
    """Does an architecture speak the language of Keras 1?"""
    if isinstance(model, Mapping):
        config = model.get("config")
        own = config if isinstance(config, Mapping) else {}
        old = _OF_KERAS1 - {"output_dim"} if model.get("class_name") == "Embedding" else _OF_KERAS1
        return bool(old & set(own)) or any(is_keras1(v) for v in (config, *own.values()))
    return isinstance(model, list) and any(is_keras1(entry) for entry in model)


def upgraded(
    model: Mapping[str, Any], version: str, *, theano: bool = False, exact: bool = False
) -> tuple[Config, list[str]]:
    """Return an architecture that Keras 3 reads, and the layers that compute something else in it.

    Args:
        model: A ``model_config`` of Keras 1 or 2.
        version: ``"1"`` or ``"2"``.
        theano: Was it Theano's, and is it to be TensorFlow's? Then padding stays where it was.
        exact: Call the hard_sigmoid of Keras 1 and 2 :data:`HARD_SIGMOID`, which whoever loads the
            model must then define.

    Raises:
        ConversionError: A layer has no counterpart.
    """
    work = _Upgrade(version, theano, exact)
    return work.model(model), work.changed


class _Upgrade:
    def __init__(self, version: str, theano: bool, exact: bool) -> None:
        self.version, self.theano, self.exact = version, theano, exact
        self.changed: list[str] = []

    def model(self, entry: Mapping[str, Any]) -> Config:
        config = entry["config"]
        if entry["class_name"] == "Sequential":
            if isinstance(config, list):  # before Keras 2.2
                config = {"name": entry.get("name") or "sequential", "layers": config}
            given, entries = _apart(config["layers"])
            layers = [*given, *map(self.layer, entries)]
            return {**entry, "config": {**config, "layers": layers}}
        if "layers" not in config:
            return dict(entry)  # a class of its own, which Keras may know
        layers = [self.layer(old) for old in config["layers"]]
        names = {name_of(old): name_of(new) for old, new in zip(config["layers"], layers, strict=True)}
        first = skipped(config)
        for old, new in zip(config["layers"], layers, strict=True):
            new["name"] = name_of(new)
            new["inbound_nodes"] = _referred(old.get("inbound_nodes", []), names, first)
        # Keras 3 counts calls of a model within a model from 0, but from 1 among the outputs
        models = {name_of(new) for new in layers if "input_layers" in _own(new)}
        first = {name: number - (name in models) for name, number in first.items()}
        ends = {key: _referred(config[key], names, first) for key in ("input_layers", "output_layers")}
        return {**entry, "config": {**config, "layers": layers, **ends}}

    def layer(self, entry: Mapping[str, Any]) -> Config:
        """The layer that stands for one; with a padding of its own it is a Sequential of two."""
        kind = str(entry["class_name"])
        if kind in _MODELS:
            return self.model(entry)
        config = dict(entry.get("config") or {})
        if kind in _WRAPPERS and isinstance(config.get("layer"), Mapping):
            config["layer"] = _importable(self.layer(config["layer"]))
            if "input_dtype" in config:
                config["dtype"] = config.pop("input_dtype")
            return {**entry, "config": config}
        name = name_of(entry)
        if self.version == "1":
            kind = keras1.KINDS.get(kind, CLASSES.get(kind, kind))
            kind, config = keras1.settings(kind, config, name)
        kind, config = self._settings(kind, config, name)
        pads = explicit(kind, config, self.theano)
        if pads is not None:
            return _padded(kind, config, pads, name)
        if self.theano and shifted(kind, config):
            self.changed.append(f"{name} (Theano put the padding 'same' elsewhere)")
        return {**entry, "class_name": kind, "config": config}

    def _settings(self, kind: str, config: Config, name: str) -> tuple[str, Config]:
        """What Keras 3 calls otherwise, or takes for granted otherwise."""
        if self.exact and kind in _GONE:
            remedy = "Build the model anew without it, and convert its weights alone."
            raise ConversionError("Keras 3 has no such layer", remedy, f"{kind} '{name}'")
        if kind in _UNSPATIAL:
            config.setdefault("data_format", "channels_last")
        if kind == "GRU":
            config.setdefault("reset_after", False)
        if kind == "ThresholdedReLU":
            kind, config = "ReLU", {**config, "threshold": config.pop("theta", 1.0)}
        if kind in _NOT_GROUPED and config.get("groups") == 1:
            del config["groups"]
        if kind in _TWO_KERNELS:  # which have settings of their own
            for key in ("kernel_initializer", "kernel_regularizer", "kernel_constraint"):
                config.pop(key, None)
        if config.get("time_major") is False:
            del config["time_major"]
        if isinstance(config.get("dtype"), Mapping):  # a policy of TensorFlow's Keras
            config["dtype"] = config["dtype"]["config"]["name"]
        for key in ("activation", "recurrent_activation"):
            if config.get(key) == "hard_sigmoid":
                if self.exact:
                    config[key] = {"module": "builtins", "class_name": "function",
                                   "config": HARD_SIGMOID, "registered_name": "function"}  # fmt: skip
                else:
                    self.changed.append(f"{name} (Keras 3 has another hard_sigmoid)")
        return kind, config


def _importable(entry: Config) -> Config:
    """A wrapped layer, which Keras 3 looks for among its layers, models too."""
    if "input_layers" in _own(entry):
        return {**entry, "module": "keras.src.models.functional", "class_name": "Functional"}
    return {**entry, "module": "keras"} if entry["class_name"] == "Sequential" else entry


def _own(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    config = entry.get("config")
    return config if isinstance(config, Mapping) else {}


def _padded(kind: str, config: Config, pads: Sequence[tuple[int, int]], name: str) -> Config:
    """A convolution after a ZeroPadding, as one layer: the order of layers is that of the weights."""
    data_format = config.get("data_format", "channels_last")
    padding = {"name": f"{name}_zeros", "padding": [list(pair) for pair in pads], "data_format": data_format}
    if len(pads) == 1:
        padding["padding"] = padding["padding"][0]
    layers = [
        {"class_name": f"ZeroPadding{len(pads)}D", "config": padding},
        {"class_name": kind, "config": {**config, "padding": "valid"}},
    ]
    return {"class_name": "Sequential", "config": {"name": f"{name}_padded", "layers": layers}}


def _apart(entries: Sequence[Mapping[str, Any]]) -> tuple[list[Config], Sequence[Mapping[str, Any]]]:
    """The input of a Sequential, where its first layer states the shape, and the layers."""
    own = _own(entries[0]) if entries else {}
    if "batch_input_shape" not in own or entries[0]["class_name"] == "InputLayer":
        return [], entries
    rest = {key: value for key, value in own.items() if key != "batch_input_shape"}
    given = {
        "name": f"{name_of(entries[0])}_input",
        "batch_input_shape": own["batch_input_shape"],
        "dtype": own.get("input_dtype") or own.get("dtype") or "float32",
    }
    return [{"class_name": "InputLayer", "config": given}], [{**entries[0], "config": rest}, *entries[1:]]


def _referred(calls: Any, names: Mapping[str, str], first: Mapping[str, int]) -> Any:
    """References to layers by their new names, calls of those in ``first`` counted from 0."""
    if not isinstance(calls, list | tuple):
        return calls
    if references(calls) and isinstance(calls[0], str):
        name = calls[0]
        return [names.get(name, name), calls[1] - first.get(name, 0), *calls[2:]]
    return [_referred(call, names, first) for call in calls]
