"""The settings of one layer of Keras 1, as Keras 2 and 3 call them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from onnx_nhwc.passes.errors import ConversionError

__all__ = ["KINDS", "settings"]

_RENAMED = {
    "nb_filter": "filters",
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "subsample": "strides",
    "subsample_length": "strides",
    "stride": "strides",
    "filter_length": "kernel_size",
    "pool_length": "pool_size",
    "length": "size",
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "p": "rate",
    "sigma": "stddev",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "concat_axis": "axis",
    "input_dtype": "dtype",
}

_FORMATS = {"th": "channels_first", "tf": "channels_last"}

_IN_TRAINING = re.compile(r"(^|_)(init|regularizer|constraint)$")
_DROPPED = {"input_dim", "input_length", "consume_less", "weights", "create_input_layer", "seed"}
"""Settings that say nothing of what a trained layer computes."""

_CONV = "filters kernel_size strides padding dilation_rate data_format activation use_bias"
_POOL = "pool_size strides padding data_format"
_RNN = (
    "units activation recurrent_activation return_sequences go_backwards stateful unroll "
    "dropout recurrent_dropout return_state"
)

_SETTINGS = {
    "InputLayer": "sparse",
    "Dense": "units activation use_bias",
    "Conv1D": _CONV,
    "Conv2D": _CONV,
    "Conv3D": _CONV,
    "Conv2DTranspose": f"{_CONV} output_padding",
    "SeparableConv2D": f"{_CONV} depth_multiplier",
    "ConvLSTM2D": f"{_CONV} {_RNN}",
    **{f"{kind}Pooling{n}D": _POOL for kind in ("Max", "Average") for n in (1, 2, 3)},
    **{f"Global{kind}Pooling{n}D": "data_format" for kind in ("Max", "Average") for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": "padding data_format" for n in (1, 2, 3)},
    **{f"Cropping{n}D": "cropping data_format" for n in (1, 2, 3)},
    **{f"UpSampling{n}D": "size data_format" for n in (1, 2, 3)},
    **{f"SpatialDropout{n}D": "rate data_format" for n in (1, 2, 3)},
    "BatchNormalization": "epsilon momentum axis",
    "Activation": "activation",
    "Dropout": "rate",
    "GaussianDropout": "rate",
    "GaussianNoise": "stddev",
    "ActivityRegularization": "l1 l2",
    "Flatten": "",
    "Reshape": "target_shape",
    "Permute": "dims",
    "RepeatVector": "n",
    "Masking": "mask_value",
    "LeakyReLU": "alpha",
    "ELU": "alpha",
    "ThresholdedReLU": "theta",
    "PReLU": "shared_axes",
    "Embedding": "input_dim output_dim mask_zero",
    "SimpleRNN": _RNN,
    "GRU": _RNN,
    "LSTM": _RNN,
    **dict.fromkeys(("Add", "Multiply", "Average", "Maximum"), ""),
    "Concatenate": "axis",
}
"""What each layer is configured by, in the words of Keras 2."""

_ALWAYS = {"name", "trainable", "batch_input_shape", "dtype"}
_MODES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate"}
_REMEDY = "Save the file again with Keras 2, or build the model anew and convert its weights alone."

KINDS = {"TimeDistributedDense": "Dense"}
"""Layers whose work another one does since."""


def settings(kind: str, config: Mapping[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """Return the class and the configuration that stand for a layer of Keras 1.

    Args:
        kind: Its class, by the name that Keras 2 gave it.
        config: Its configuration in the file.
        name: What to call the layer in an error.

    Raises:
        ConversionError: Nothing in Keras 2 does what it did, or it is not known.
    """
    found = dict(config)
    if kind == "Merge":
        kind = _merge(found, name)
    elif kind == "BatchNormalization" and found.pop("mode", 0) != 0:
        raise _refused("normalises by statistics of what it is given (mode 1 or 2)", kind, name)
    if kind not in _SETTINGS:
        raise _refused("has no counterpart that this package knows of", kind, name)
    wanted = {*_SETTINGS[kind].split(), *_ALWAYS}
    output = found.pop("output_shape", None) if kind == "Conv2DTranspose" else None
    _join_sizes(found)
    result: dict[str, Any] = {}
    for key, value in found.items():
        new = _RENAMED.get(key, key)
        if key == "output_dim" and kind != "Embedding":
            new = "units" if "units" in wanted and kind != "ConvLSTM2D" else key
        if new in wanted:
            result[new] = _FORMATS.get(value, value) if new == "data_format" else value
        elif not (_IN_TRAINING.search(key) or key in _DROPPED or new in ("data_format", "dropout")):
            raise _refused(f"has a setting '{key}' that is not known", kind, name)
    if kind.endswith("1D") and "data_format" in wanted and "data_format" not in result:
        result["data_format"] = "channels_last"
    if kind == "ZeroPadding2D":
        result["padding"] = _margins(result.get("padding", (1, 1)), kind, name)
    if output is not None:
        _output_padding(result, output, kind, name)
    return kind, result


def _refused(what: str, kind: str, name: str) -> ConversionError:
    return ConversionError(f"a layer of Keras 1 that {what}", _REMEDY, f"{kind} '{name}'")


def _merge(config: dict[str, Any], name: str) -> str:
    mode = config.pop("mode", "sum")
    if mode not in _MODES or config.get("mode_type", "raw") != "raw" or config.get("layers"):
        raise _refused(f"joins its inputs by '{mode}', or stands before a Sequential", "Merge", name)
    axis = config.get("concat_axis", -1)
    config.clear()
    config["name"] = name
    if mode == "concat":
        config["axis"] = axis
    return _MODES[mode]


def _join_sizes(config: dict[str, Any]) -> None:
    """Keras 1 stated the sizes of a kernel one by one."""
    for names in (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3")):
        if names[0] in config:
            config["kernel_size"] = [config.pop(name) for name in names]


def _margins(padding: Any, kind: str, name: str) -> Any:
    if isinstance(padding, Mapping):
        padding = [padding.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    if len(padding) == 4:
        return [padding[:2], padding[2:]]
    if len(padding) != 2:
        raise _refused(f"has a padding {padding}", kind, name)
    return padding


def _output_padding(config: dict[str, Any], shape: Any, kind: str, name: str) -> None:
    """Keras 1 stated the size of the result, of which several are possible with a stride."""
    first = config.get("data_format") == "channels_first"
    sizes = shape[2:4] if first else shape[1:3]
    extra = []
    for size, kernel, stride in zip(sizes, config["kernel_size"], config.get("strides", (1, 1)), strict=True):
        same = config.get("padding") == "same"
        if size is None or (same and size % stride):
            raise _refused(f"states its result's shape as {shape}", kind, name)
        extra.append(max(stride - kernel, 0) if same else (size - kernel) % stride)
    usual = [max(s - k, 0) for k, s in zip(config["kernel_size"], config.get("strides", (1, 1)), strict=True)]
    if extra != usual:
        config["output_padding"] = extra
