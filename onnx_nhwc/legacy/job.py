"""One conversion of a file of Keras 1 or 2: whose it is, what its layers are, what their weights become."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from onnx_nhwc.legacy.architecture import CHANNELS, CLASSES, trace
from onnx_nhwc.legacy.classes import kind_by_name, kind_by_weights
from onnx_nhwc.legacy.hdf5 import Group, LegacyFile
from onnx_nhwc.legacy.kernels import (
    FIRST,
    LAST,
    ROTATED,
    from_keras1,
    reorder_features,
    reorder_image,
    rotate,
)
from onnx_nhwc.legacy.values import Built, Flat, Image, Layer, Lost
from onnx_nhwc.passes.errors import ConversionError, UsageError

__all__ = ["BACKENDS", "Converted", "Job"]

Array = npt.NDArray[Any]

BACKENDS = ("theano", "tensorflow", "cntk")


@dataclass
class Converted:
    """What was done: ``layers`` names, of every layer that changed, each thing that did."""

    from_backend: str
    to_backend: str
    keras_version: str
    layers: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        done = [f"{name}: {', '.join(what)}" for name, what in self.layers.items() if what]
        return "\n".join(done) or "nothing had to change"


class Job:
    """One conversion."""

    def __init__(
        self,
        file: LegacyFile,
        to_backend: str,
        data_format: str | None,
        flatten: dict[str, Sequence[int]],
        classes: dict[str, str],
    ) -> None:
        self.file, self.target, self.flatten = file, data_format or "", flatten
        self.to_backend = to_backend
        self.classes = {name: CLASSES.get(kind, kind) for name, kind in classes.items()}
        self.flatten_stated = False
        self.version = ""
        self.architecture: Mapping[str, Any] | None = None
        self.layers: dict[str, Layer] = {}
        self.seen: set[str] = set()
        self.doubtful: list[str] = []

    def prepare(self, backend: str | None, data_format: str | None) -> None:
        """Settle the backend and the data format of the file."""
        says = self.file.backend
        if backend is None and says is None:
            raise ConversionError(
                f"'{self.file.path}' does not say which backend wrote it",
                "State it: from_backend='theano' (--from theano), or 'tensorflow'.",
            )
        if backend and says and says != backend:
            warnings.warn(
                f"'{self.file.path}' says that {says} wrote it; '{backend}' is taken, as stated",
                stacklevel=3,
            )
        self.backend = str(backend or says)
        self.rotates = (self.backend == "theano") != (self.to_backend == "theano")
        self.done = Converted(self.backend, self.to_backend, self.version)
        self.source = data_format or ""
        if self.architecture is not None:
            found = {layer.data_format for layer in self._walk(LAST)} - {""}
            if len(found) == 1:
                self.source = found.pop()
            self.layers = trace(self.architecture, self.source or LAST)
            self.named = {layer.name: layer for layer in self._walk(self.source or LAST)}
        else:
            self.named = {}
        self.reorders = bool(self.target) and self.target != self.source
        if self.reorders and not self.source and self.architecture is None:
            raise ConversionError(
                f"'{self.file.path}' does not say which data format it has",
                f"State it: source_data_format='{FIRST}' (--source-data-format {FIRST}).",
            )

    def said(self) -> dict[str, str]:
        """What the result says of itself."""
        version = self.file.keras_version if self.version != "1" else None
        return {"backend": self.to_backend, "keras_version": version or "2.0.0"}

    def _walk(self, data_format: str) -> Iterator[Layer]:
        assert self.architecture is not None
        layers = self.layers or trace(self.architecture, data_format)
        for layer in layers.values():
            yield from layer.walk()

    def order(self) -> Sequence[str]:
        """The layers of the model in order."""
        return list(self.layers) or self.file.names

    def kind(self, name: str) -> str:
        """The class of a layer; empty if nothing tells it."""
        if name in self.classes:
            return self.classes[name]
        if name in self.named:
            return self.named[name].kind
        return kind_by_name(name)

    def convert(self, group: Group) -> Group:
        """Convert the weights of one layer, or of a model within the model."""
        owners: dict[str, list[str]] = {}
        for weight in group.weights:
            owners.setdefault(self._owner(group.name, weight), []).append(weight)
        result = dict(group.weights)
        for owner, names in owners.items():
            values = self._layer(owner, names, [group.weights[name] for name in names])
            result.update(zip(names, values, strict=False))
            for name in names[len(values) :]:  # Keras 1 had one weight per gate
                del result[name]
        return Group(group.name, result)

    def _owner(self, group: str, weight: str) -> str:
        """The layer that a weight belongs to, which may lie in a model within the model."""
        layer = self.named.get(group)
        if layer is None or not layer.children:
            return group
        inner = {child.name for child in layer.walk()} - {group}
        for part in reversed(weight.split("/")[:-1]):
            if part in inner:
                return part
        if starts := [name for name in inner if weight.startswith(f"{name}_")]:  # Keras 1
            return max(starts, key=len)
        raise ConversionError(
            f"the weight '{weight}' belongs to no layer of the architecture", "", f"'{group}'"
        )

    def _layer(self, name: str, names: Sequence[str], weights: list[Array]) -> list[Array]:
        if not weights:
            return weights
        kind, layer = self.kind(name), self.named.get(name)
        if layer is not None and layer.wrapper == "Bidirectional":
            half = len(weights) // 2
            halves = weights[:half], weights[half:]
            return [w for part in halves for w in self._weights(name, kind, part)]
        if not kind:
            kind, doubtful = kind_by_weights(names[0], weights, self.version)
            self.doubtful += [name] * doubtful
        return self._weights(name, kind, weights)

    def _weights(self, name: str, kind: str, weights: list[Array]) -> list[Array]:
        node = f"{kind or 'layer'} '{name}'"
        done = self.done.layers.setdefault(name, [])
        if self.version == "1":
            weights = self._keras1(name, kind, weights, node, done)
        if self.rotates and kind in ROTATED:
            for i in range(min(ROTATED[kind], len(weights))):
                weights[i] = rotate(weights[i])
            done.append("kernel turned by 180 degrees")
        if self.target:
            weights = self._formatted(name, kind, weights, node, done)
        return weights

    def _keras1(self, name: str, kind: str, weights: list[Array], node: str, done: list[str]) -> list[Array]:
        layer = self.named.get(name)
        data_format = (layer.data_format if layer is not None else "") or self.source
        if not data_format and any(weight.ndim > 3 for weight in weights) and kind != "Conv1D":
            raise ConversionError(
                "Keras 1 stored kernels in the order of the data format, which the file does not say",
                f"State it: source_data_format='{FIRST}' (--source-data-format {FIRST}).",
                node,
            )
        result = from_keras1(kind, weights, data_format, node)
        if [weight.shape for weight in result] != [weight.shape for weight in weights]:
            done.append("kernel in the order of Keras 2")
        bias = result[-1]
        if kind in ("Conv2D", "Conv3D") and len(result) == 2 and bias.shape[0] != result[0].shape[-1]:
            raise ConversionError(
                f"its kernel {weights[0].shape} does not have {bias.shape[0]} filters if the data "
                f"format is {data_format}, as stated",
                "State the other one.",
                node,
            )
        return result

    def _formatted(
        self, name: str, kind: str, weights: list[Array], node: str, done: list[str]
    ) -> list[Array]:
        """Put what has one weight per feature or pixel into the order of the data format wanted."""
        layer = self.named.get(name)
        value = layer.inputs[0] if layer is not None and layer.inputs else None
        if layer is not None and any(other != value for other in layer.inputs[1:]):
            raise ConversionError("it is shared by inputs of different kinds", "", node)
        if kind in CHANNELS and isinstance(value, Lost) and value.made:
            raise ConversionError(
                f"{value.reason}, and the features come in the order of the other data format",
                "Convert the model, not its weights.",
                node,
            )
        if kind.startswith("LocallyConnected") and layer and layer.data_format not in ("", self.target):
            raise ConversionError("its kernels hold patches, which are not reordered", "", node)
        if name in self.flatten:
            value = self._stated(name, weights[0].shape[0], node)
        elif isinstance(value, Flat) and self.flatten_stated:
            value = None
        if layer is not None and layer.output is not None and layer.output.data_format != self.target:
            done.append(f"what it makes reordered, {layer.output.channels} channels")
            made = layer.output.channels
            weights = [reorder_features(w.T, made, self.target).T for w in weights]
        if isinstance(value, Built) and value.data_format:
            value = Image(None, value.data_format, len(value.shape) + 1)
        if kind == "Dense":
            return self._dense(name, value, weights, node, done)
        if kind not in ("BatchNormalization", "PReLU", "LayerNormalization"):
            return weights
        if layer is None and self.reorders and weights[0].ndim > 1:
            if weights[0].ndim == 2:
                raise ConversionError(
                    "the file does not say which axis is the channels'", "Give config=.", node
                )
            value = Image(None, self.source, weights[0].ndim + 1)
        if isinstance(value, Flat) and value.data_format != self.target:
            done.append("features reordered")
            return [reorder_features(weight, value.channels, self.target) for weight in weights]
        if isinstance(value, Image) and value.data_format != self.target:
            if any(weight.ndim > 1 for weight in weights):
                done.append("axes reordered")
            return [reorder_image(w, self.target) if w.ndim > 1 else w for w in weights]
        return weights

    def _stated(self, name: str, rows: int, node: str) -> Flat:
        self.seen.add(name)
        shape = tuple(self.flatten[name])
        if len(shape) < 2 or int(np.prod(shape)) != rows:
            raise UsageError(f"{shape} does not make {rows} features", "", node)
        source = self.source or ({FIRST: LAST, LAST: FIRST}[self.target])
        return Flat(shape[0 if source == FIRST else -1], source)

    def _dense(
        self, name: str, value: object, weights: list[Array], node: str, done: list[str]
    ) -> list[Array]:
        rows = weights[0].shape[0]
        remedy = (
            f"State the shape that is flattened before it, e.g. flatten={{'{name}': (512, 7, 7)}} "
            f"(--flatten {name}=512,7,7), or that there is none: flatten={{}} (--flatten none)."
        )
        silent = self.architecture is None and self.reorders
        if silent and not self.flatten_stated:
            raise ConversionError("the file does not say what it is applied to", remedy, node)
        if isinstance(value, Lost) and not self.flatten_stated and self.target != self.source:
            raise ConversionError(value.reason, remedy, node)
        if isinstance(value, Image) and value.data_format != self.target:
            raise ConversionError(
                "it is applied to the last axis of an image, which another data format moves",
                "Convert the model, not its weights.",
                node,
            )
        if not isinstance(value, Flat) or value.data_format == self.target:
            return weights
        if rows % value.channels:
            raise ConversionError(f"{rows} features are not {value.channels} channels", remedy, node)
        done.append(f"rows reordered, {value.channels} channels of {rows // value.channels}")
        return [reorder_features(weights[0], value.channels, self.target), *weights[1:]]

    def check_all_used(self) -> None:
        """Complain of what was stated for layers that there are not, and of what was assumed."""
        if unused := sorted(set(self.flatten) - self.seen):
            raise UsageError(f"there is no Dense layer '{unused[0]}' in '{self.file.path}'")
        if self.doubtful:
            warnings.warn(
                "the file does not say which layers are Convolution1D or Deconvolution2D, whose "
                "kernels Keras 1 stored in another order; these are taken for Convolution2D: "
                f"{', '.join(self.doubtful)}. Give config=, or classes=, if one is not",
                stacklevel=3,
            )
