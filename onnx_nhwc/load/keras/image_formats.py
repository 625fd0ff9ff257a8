"""Which tensors of a Keras model are images, and in which layout: what its layers state of it.

A layer with a ``data_format`` says what its input is, and its output. All other layers and operations
but those that reshape leave axes where they are, so that one statement holds for all that they connect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import keras

__all__ = ["ImageFormats", "permutation"]

_RESHAPING = (
    *(keras.layers.Reshape, keras.layers.Permute, keras.layers.Flatten, keras.layers.RepeatVector),
    *(keras.layers.Dot, keras.layers.Embedding),
)
_TWO_DIMENSIONAL = (keras.layers.Resizing, keras.layers.CenterCrop)


def permutation(rank: int, spatial: int, *, to_last: bool) -> tuple[int, ...]:
    """Return what moves the channels behind, or before, the last ``spatial`` axes but one.

    >>> permutation(4, 2, to_last=True), permutation(5, 2, to_last=False)
    ((0, 2, 3, 1), (0, 1, 4, 2, 3))
    """
    lead = rank - spatial - 1
    before, behind = tuple(range(lead)), tuple(range(lead, rank))
    return before + (behind[1:] + behind[:1] if to_last else behind[-1:] + behind[:-1])


class ImageFormats:
    """The layouts that a model's layers state for its tensors.

    Args:
        model: A functional or Sequential model. Of a subclassed one, only its layers are known, and
            each of its tensors is taken for what they state of tensors of that rank.
    """

    def __init__(self, model: Any) -> None:
        self._parents: dict[int, int] = {}
        self._stated: dict[int, set[tuple[str, int]]] = {}
        self._kept: list[Any] = []
        self._anywhere: set[tuple[str, int, int]] = set()
        if getattr(model, "inputs", None):
            self._walk(model, set())
        else:
            for layer in model._flatten_layers(include_self=False):
                if (image := _image(layer, 0)) is not None:
                    self._anywhere.add((*image, image[1] + 2))

    def of(self, tensor: Any) -> set[tuple[str, int]]:
        """The data formats that hold for a tensor, each with its number of spatial axes."""
        stated = self._stated.get(self._root(tensor), set())
        rank = len(tensor.shape)
        return stated | {(name, spatial) for name, spatial, r in self._anywhere if r == rank}

    def _walk(self, model: Any, seen: set[int]) -> None:
        if id(model) in seen:
            return
        seen.add(id(model))
        for node in _nodes(model):
            operation = node.operation
            inputs, outputs = list(node.input_tensors), list(node.output_tensors)
            if getattr(operation, "inputs", None) and isinstance(operation, keras.Model):
                self._walk(operation, seen)
                self._join_all(zip(inputs, operation.inputs, strict=False))
                self._join_all(zip(outputs, keras.tree.flatten(operation.outputs), strict=False))
                continue
            image = _image(operation, len(inputs[0].shape) if inputs else 0)
            if image is not None:
                for tensor in inputs[:1] + outputs:
                    if len(tensor.shape) >= image[1] + 2:
                        self._stated.setdefault(self._root(tensor), set()).add(image)
            elif not isinstance(operation, _RESHAPING):
                self._join_all(
                    (a, b)
                    for a in inputs
                    for b in outputs
                    if len(a.shape) == len(b.shape) and len(a.shape) > 2
                )

    def _join_all(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        for a, b in pairs:
            first, second = self._root(a), self._root(b)
            if first != second:
                self._parents[second] = first
                self._stated.setdefault(first, set()).update(self._stated.pop(second, set()))

    def _root(self, tensor: Any) -> int:
        key = id(tensor)
        if key not in self._parents:
            self._parents[key] = key
            self._kept.append(tensor)
        while self._parents[key] != key:
            key = self._parents[key]
        return key


def _nodes(model: Any) -> Iterator[Any]:
    functional = getattr(model, "_functional", None) or model
    for nodes in functional._nodes_by_depth.values():
        yield from nodes


def _image(operation: Any, rank: int) -> tuple[str, int] | None:
    """What a layer, or the one that it wraps, states of its image, which has this rank."""
    operation = getattr(operation, "layer", operation)
    data_format = getattr(operation, "data_format", None)
    if data_format is None:
        return None
    if isinstance(operation, keras.layers.Flatten):  # channels last, it leaves the order as it is
        return (data_format, rank - 2) if data_format == "channels_first" and rank > 2 else None
    if isinstance(operation, _TWO_DIMENSIONAL):
        return data_format, 2
    found = re.search(r"([123])D", type(operation).__name__)
    return (data_format, int(found[1])) if found else None
