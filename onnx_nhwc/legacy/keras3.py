"""Where Keras 3 keeps a weight in its ``.weights.h5`` files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from onnx_nhwc.legacy.hdf5 import Group
from onnx_nhwc.legacy.values import Layer
from onnx_nhwc.passes.errors import ConversionError

__all__ = ["places"]

Array = npt.NDArray[Any]

_CELLS = {"LSTM", "GRU", "SimpleRNN", "ConvLSTM2D"}


def places(
    groups: Iterator[Group],
    order: Sequence[str],
    layers: Mapping[str, Layer],
    kind: Callable[[str], str],
) -> Iterator[tuple[str, str, Sequence[Array]]]:
    """Yield (path, name, weights) of every layer: ``layers/conv2d_1``, the second Conv2D.

    Raises:
        ConversionError: The class of a layer is not known, by which Keras 3 names it.
    """
    found = {group.name: group for group in groups}
    counts: Counter[str] = Counter()
    for name in order:
        group = found.get(name, Group(name, {}))
        what, layer = kind(name), layers.get(name)
        if not what:
            if not group.weights:
                continue  # an activation, say, whose number does not matter
            raise ConversionError(
                "Keras 3 names weights by the class of their layer, which this file does not tell",
                f"Give config=, or classes={{'{name}': ...}} (--class {name}=...), or write a .h5.",
                f"layer '{name}'",
            )
        if layer is not None and layer.wrapper:
            what = layer.wrapper
        if layer is not None and layer.children:
            raise ConversionError(
                "a model within a model cannot be written as .weights.h5",
                "Write a .h5, which load_weights of Keras 3 reads as well.",
                f"model '{name}'",
            )
        place = _snake(what)
        number, counts[place] = counts[place], counts[place] + 1
        yield from _parts(f"layers/{place}{f'_{number}' if number else ''}", group, layer, kind(name))


def _parts(
    place: str, group: Group, layer: Layer | None, kind: str
) -> Iterator[tuple[str, str, Sequence[Array]]]:
    cell = "/cell" if kind in _CELLS else ""
    weights = list(group.weights.values())
    if layer is not None and layer.wrapper == "Bidirectional":
        half = len(weights) // 2
        yield f"{place}/forward_layer{cell}", group.name, weights[:half]
        yield f"{place}/backward_layer{cell}", group.name, weights[half:]
        return
    inner = "/layer" if layer is not None and layer.wrapper else ""
    yield f"{place}{inner}{cell}", group.name, weights


def _snake(name: str) -> str:
    """As Keras 3 spells class names: Conv2DTranspose -> conv2d_transpose, PReLU -> p_re_lu."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
