"""A call with the means to build Keras operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from keras import layers, ops

from onnx_nhwc.export import call, values
from onnx_nhwc.export.call import Load
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.keras.parts import Parts
from onnx_nhwc.export.values import Constant, Values

__all__ = ["Call", "dtype_name", "is_float", "layers", "literal", "small"]

_SMALL = 4096
"""Constants of more elements are stored as weights, not as text in the model's configuration."""


def dtype_name(dtype: ir.DataType | None) -> str:
    """Return the name that Keras has for a type of ONNX.

    >>> dtype_name(ir.DataType.DOUBLE)
    'float64'
    """
    return values.dtype_name(dtype, "Keras")


def is_float(dtype: str) -> bool:
    return "float" in dtype


class Call(call.Call):
    """A node to map to Keras.

    Attributes:
        parts: What the model is made of so far.
        layers: How many layers the node has become; the first takes its name.
    """

    def __init__(
        self,
        walk: Values,
        parts: Parts,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        images: Images | None = None,
    ) -> None:
        super().__init__(walk, node, op_type, inputs, images)
        self.parts = parts
        self.layers = 0

    def out_dtype(self, index: int = 0) -> str:
        return dtype_name(self.node.outputs[index].dtype)

    def layer(
        self, cls: Any, weight: int | None = None, *, more: Sequence[ir.Value] = (), **config: Any
    ) -> Any:
        """A layer named after this node, of the type of its first input.

        It is the layer of another node with the same parameters, if there is one like that.

        Args:
            cls: The class.
            weight: The input that holds its main weight, for the name.
            more: Parameters that other nodes have, which the layer is to hold as well.
            config: Its arguments.
        """
        dtype = config.pop("dtype", None) or self.dtype(0)
        made_with = (cls, dtype, config)
        shared = self.parts.shared
        keys = [(key, self.layers) for key in (self.node, self.tied(more)) if key is not None]
        self.layers += 1
        for key in keys:
            if key in shared and shared[key][1] == made_with:
                return shared[key][0]
        name = self.name(weight)
        if self.layers > 1:
            name = self.walk.names.unique(f"{name}_{cls.__name__.lower()}")
        made = self.parts.keep(cls(name=name, dtype=dtype, **config))
        if self.frozen:
            made.trainable = False
        shared.update(dict.fromkeys(keys, (made, made_with)))
        return made

    def assign(self, variable: Any, load: Load) -> None:
        """Fill a variable once the whole model is known to work."""
        self.parts.pending.append((variable, load))

    def cast(self, x: Any, dtype: str) -> Any:
        return x if getattr(x, "dtype", None) == dtype else ops.cast(x, dtype)

    def transpose(self, x: Any, perm: Sequence[int]) -> Any:
        """Transpose, undoing a Transpose that ``x`` came from."""
        return self.parts.transpose(x, tuple(perm))


def small(constant: Constant) -> bool:
    return constant.size <= _SMALL


def literal(constant: Constant) -> Any:
    """A constant as an argument that is written into the model's configuration."""
    array = constant.array
    return array.item() if array.ndim == 0 else np.asarray(array)
