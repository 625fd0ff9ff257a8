"""From a Keras model to one in the other layout: ``tf2onnx``, the layout compiler, the exporter."""

from __future__ import annotations

from typing import Any

import keras
import onnx_ir as ir

from onnx_nhwc.export.keras.api import export
from onnx_nhwc.export.names import io_name
from onnx_nhwc.load.keras.image_formats import ImageFormats, permutation
from onnx_nhwc.load.keras.reading import END, inputs_of, quiet, traced, warn_of_odd_inputs
from onnx_nhwc.passes.options import Options

__all__ = ["channels_first_to_last", "channels_last_to_first"]


def channels_first_to_last(model: Any) -> Any:
    """Return ``model`` with channels last; see :func:`onnx_nhwc.convert_channels_first_to_last`."""
    return _converted(model, "channels-last", "channels_first")


def channels_last_to_first(model: Any) -> Any:
    """Return ``model`` with channels first; see :func:`onnx_nhwc.convert_channels_last_to_first`."""
    return _converted(model, "channels-first", "channels_last")


def _converted(model: Any, to: str, data_format: str) -> Any:
    """The model with images that were of ``data_format`` in the other one."""
    with quiet():
        source, ends = traced(model)
        names, structure = inputs_of(model)
        pins = _pins(model, source, data_format)
        result = export(source, Options(to=to, layouts=pins)).model
        _freeze(model, result)
        inputs = {tensor.name: tensor for tensor in result.inputs}
        given = [inputs[io_name(name)] for name, _, _ in names]
        found = keras.tree.flatten(result.outputs)
        # the exporter names outputs by layers that do nothing, in the way of the model's own names
        converted = keras.Model(
            keras.tree.pack_sequence_as(structure, given) if len(given) > 1 else given[0],
            keras.tree.pack_sequence_as(ends, [_before(tensor) for tensor in found]),
            name=model.name,
        )
    warn_of_odd_inputs(model)
    return converted


def _freeze(model: Any, result: Any) -> None:
    """Freeze what stands for layers that are not trainable and have no form, which would say so itself.

    Layers of nested models may have one name: it tells which is meant if they are all alike.
    """
    flags: dict[tuple[type, str], set[bool]] = {}
    for layer in model._flatten_layers(include_self=False):
        flags.setdefault((type(layer), layer.name), set()).add(layer.trainable)
    for layer in result.layers:
        if flags.get((type(layer), layer.name)) == {False}:
            layer.trainable = False


def _pins(model: Any, source: ir.Model, data_format: str) -> dict[str, tuple[int, ...]]:
    """The layouts of inputs and outputs that are images of ``data_format``.

    They are stated by the layers. Much of that is not to be seen in ONNX: signals are convolved as
    images with one row, and images in time are folded into the batch.
    """
    formats = ImageFormats(model)
    graph, pins = source.graph, {}
    inputs = getattr(model, "inputs", None) or graph.inputs
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or []) or [*graph.outputs]
    by_name = {value.name: value for value in graph.inputs}
    values = [by_name.get(name) for name, _, _ in inputs_of(model)[0]]
    pairs = [*zip(values, inputs, strict=True)]
    if len(outputs) == len(graph.outputs):
        pairs += zip(graph.outputs, outputs, strict=True)
    for value, tensor in pairs:
        if value is None or value.shape is None:
            continue
        spatial = {number for name, number in formats.of(tensor) if name == data_format}
        if len(spatial) == 1:
            to_last = data_format == "channels_first"
            pins[value.name or ""] = permutation(len(value.shape), spatial.pop(), to_last=to_last)
    return pins


def _before(tensor: Any) -> Any:
    operation = tensor._keras_history.operation
    return operation.input if operation.name.startswith(END) else tensor
