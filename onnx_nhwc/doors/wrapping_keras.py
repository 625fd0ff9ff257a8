"""Keras models that take and return the other layout. Importing this imports Keras."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

from onnx_nhwc.doors.names import Layout, inverse, rank
from onnx_nhwc.passes.errors import ConversionError, UsageError
from onnx_nhwc.passes.plausible import warn_if_odd

__all__ = ["wrap_keras"]


def wrap_keras(model: Any, source: Layout, perm: tuple[int, ...], names: Collection[str] | None) -> Any:
    """Return ``model`` between Permutes; see :func:`onnx_nhwc.wrap`."""
    if perm[0] != 0:
        raise UsageError("Keras keeps the batch first, which this layout would move")
    inputs, outputs, structure = _tensors(model)
    chosen = _chosen({**inputs, **outputs}, rank(source), names)
    doors: dict[str, Any] = {}
    inside: dict[int, Any] = {}
    for name, tensor in inputs.items():
        shape = tuple(tensor.shape)
        if name in chosen:
            warn_if_odd(f"input '{name}'", shape, source)
            shape = tuple(shape[axis] for axis in perm)
        doors[name] = keras.Input(batch_shape=shape, dtype=tensor.dtype, name=name)
        moved = inverse(perm) if name in chosen else ()
        inside[id(tensor)] = _permuted(doors[name], moved, f"{name}_permute_in")
    results = model(keras.tree.map_structure(lambda tensor: inside[id(tensor)], structure))
    flat = keras.tree.flatten(results)
    ends = [
        _permuted(tensor, perm if name in chosen else (), f"{name}_permute_out")
        for name, tensor in zip(outputs, flat, strict=True)
    ]
    given = {id(tensor): doors[name] for name, tensor in inputs.items()}
    return keras.Model(
        keras.tree.map_structure(lambda tensor: given[id(tensor)], structure),
        keras.tree.pack_sequence_as(results, ends),
        name=f"{model.name}_wrapped",
    )


def _tensors(model: Any) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """The inputs and outputs of a model by name, and how its inputs are nested."""
    try:
        inputs, outputs = model.inputs, model.outputs
        structure = inputs and (inputs[0] if isinstance(model, keras.Sequential) else model.input)
    except AttributeError:
        inputs = outputs = structure = None
    if not inputs or not outputs:
        raise ConversionError(
            "the inputs of the model are not known",
            "Make it functional first: x = keras.Input(...); keras.Model(x, model(x)).",
            f"{type(model).__name__} '{model.name}'",
        )
    names = getattr(model, "output_names", None) or [model.layers[-1].name]  # a Sequential
    ends = dict(zip(_unique(list(names)), outputs, strict=True))
    return {tensor.name: tensor for tensor in inputs}, ends, structure


def _unique(names: list[str]) -> list[str]:
    """Several outputs of one layer have its name all of them."""
    return [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]


def _chosen(tensors: dict[str, Any], axes: int, names: Collection[str] | None) -> set[str]:
    if names is None:
        found = {name for name, tensor in tensors.items() if len(tensor.shape) == axes}
        if not found:
            raise UsageError(f"no input or output has {axes} axes")
        return found
    for name in names:
        if name not in tensors:
            listed = ", ".join(f"'{other}'" for other in tensors)
            raise UsageError(f"the model has no input or output '{name}', only {listed}")
        if len(tensors[name].shape) != axes:
            raise UsageError(f"'{name}' has {len(tensors[name].shape)} axes, the layout stated has {axes}")
    return set(names)


def _permuted(tensor: Any, perm: tuple[int, ...], name: str) -> Any:
    if perm in ((), tuple(range(len(perm)))):
        return tensor
    # its own dtype, whatever the global policy is: a Permute must not round what passes
    return keras.layers.Permute(perm[1:], dtype=tensor.dtype, name=name)(tensor)
