"""Nodes, constants and inputs of a graph while it grows, and the values that its operators read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
DTYPES = {FLOAT: np.float32, INT: np.int64, BOOL: np.bool_}
LARGEST = 2000
"""Elements of a value, about."""

SINCE = {"Max": 8, "Min": 8, "Upsample": 7} | dict.fromkeys(
    ["Add", "Sub", "Mul", "Div", "PRelu", "Greater", "Gemm", "BatchNormalization", "LSTM", "AveragePool"], 7
)
"""Since when onnxruntime has an operator in the form of today: most broadcast by an attribute before."""

Draw = Callable[[st.SearchStrategy[Any]], Any]


class TooNewError(Exception):
    """The graph's opset does not have the operator."""


@cache
def runs(op_type: str, opset: int) -> bool:
    """Whether onnxruntime has the operator in the form that this opset gives it."""
    try:
        onnx.defs.get_schema(op_type, opset)
    except onnx.defs.SchemaError:
        return False
    return opset >= SINCE.get(op_type, 0)


@dataclass(frozen=True)
class Value:
    """A value of the graph; ``open`` says which axes have a size that only the run tells."""

    name: str
    shape: tuple[int, ...]
    open: tuple[bool, ...]
    dtype: int = FLOAT

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Graph:
    """A model and what it is run on."""

    model: onnx.ModelProto
    feeds: dict[str, NDArray[Any]]

    def __repr__(self) -> str:
        fed = {name: value.shape for name, value in self.feeds.items()}
        return f"fed {fed}\n{onnx.printer.to_text(self.model)}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass
class Builder:
    """Nodes and constants so far; bodies share the counter, the constants and the inputs.

    Attributes:
        stored: Integers that weights are stored as, a DequantizeLinear behind each; None for floats.
        fed: What the inputs are fed with whose values matter; the others get noise.
    """

    draw: Draw
    opset: int
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    count: list[int] = field(default_factory=lambda: [0])
    stored: Sequence[Any] | None = None
    fed: dict[str, NDArray[Any]] = field(default_factory=dict)

    def body(self, *values: Value) -> Builder:
        """A builder for the body of a node, which reads these values."""
        shared = {"constants": self.constants, "inputs": self.inputs, "fed": self.fed, "count": self.count}
        return Builder(self.draw, self.opset, self.rng, values=list(values), **shared)

    def name(self, stem: str) -> str:
        self.count[0] += 1
        return f"{stem}{self.count[0]}"

    def pick(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        name = self.name("c")
        tensor = numpy_helper.from_array(np.asarray(array, dtype), name)
        self.constants.append(tensor)
        return name

    def ints(self, numbers: Sequence[int]) -> str:
        return self.constant(numbers, np.int64)

    def weight(self, shape: Sequence[int], scale: float = 1.0, axis: int = 0) -> str:
        """A parameter whose axis ``axis`` is that of the output's features."""
        if self.stored:
            return self.dequantised(shape, scale, axis, self.pick(self.stored))
        return self.constant(self.rng.standard_normal(shape) * scale)

    def dequantised(self, shape: Sequence[int], scale: float, axis: int, dtype: Any) -> str:
        """Integers times a scale: one, one a feature of the output, or one a block along any axis."""
        limits = ml_dtypes.iinfo(dtype)
        whole = self.rng.integers(limits.min, limits.max + 1, shape)
        ways = ["one"] + ["axis"] * (self.opset >= 13) + ["blocks"] * (self.opset >= 21 and len(shape) > 1)
        way = self.pick(ways)
        axis = self.integer(0, len(shape) - 1) if way == "blocks" else axis
        sizes: list[int] = []
        more: dict[str, Any] = {} if way == "one" else {"axis": axis}
        if way == "axis":
            sizes = [shape[axis]]
        elif way == "blocks":
            more["block_size"] = self.pick([d for d in range(1, shape[axis] + 1) if shape[axis] % d == 0])
            sizes = [s // (more["block_size"] if i == axis else 1) for i, s in enumerate(shape)]
        scales = self.constant(self.rng.uniform(0.9, 1.1, sizes) * scale / limits.max)
        middle = 0 if limits.min else limits.max // 2
        zeros = self.constant(np.full(sizes, middle), dtype)
        (name,) = self.node("DequantizeLinear", [self.constant(whole, dtype), scales, zeros], **more)
        return name

    def feed(self, array: Any, dtype: Any) -> str:
        """An input that is fed with this."""
        value = np.asarray(array, dtype)
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        made = Value(self.name("fed"), value.shape, (False,) * value.ndim, kind)
        self.inputs.append(made)
        self.fed[made.name] = value
        return made.name

    def node(self, op_type: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> list[str]:
        if not runs(op_type, self.opset):
            raise TooNewError(op_type)
        names = [self.name(op_type.lower()) for _ in range(count)]
        self.nodes.append(helper.make_node(op_type, inputs, names, self.name("n_"), **attributes))
        return names

    def emit(
        self,
        op_type: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        opened: Sequence[bool],
        dtype: int = FLOAT,
        **attributes: Any,
    ) -> Value:
        (name,) = self.node(op_type, inputs, **attributes)
        return Value(name, tuple(shape), tuple(opened), dtype)

    def like(self, op_type: str, x: Value, *more: str, **attributes: Any) -> Value:
        return self.emit(op_type, [x.name, *more], x.shape, x.open, x.dtype, **attributes)

    def axis(self, x: Value) -> int:
        return self.integer(0, x.rank - 1)

    def signed(self, axis: int, rank: int) -> int:
        return axis - rank if self.chance() else axis

    def sizes(self, x: Value) -> list[str]:
        """The sizes of x as tensors of one element, as exporters compute them."""
        (shape,) = self.node("Shape", [x.name])
        return [
            self.node("Gather", [shape, self.ints([i])], axis=0)[0] if x.open[i] else self.ints([s])
            for i, s in enumerate(x.shape)
        ]


Op = Callable[[Builder, Value], Value | list[Value] | None]
