"""Random ONNX graphs for the fuzz test: valid, small, and as mixed as a strategy can make them.

A graph is grown node by node. Every value's sizes are known while it grows; an axis may also be
*open*: declared as a symbol, so that only the run tells its size. What a node needs of an open size
it computes from a Shape, as an exporter would write it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSETS = (9, 11, 12, 13, 16, 17, 18, 20, 21, 23)
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
DTYPES = {FLOAT: np.float32, INT: np.int64, BOOL: np.bool_}
LARGEST = 2000
"""Elements of a value, about."""

Draw = Callable[[st.SearchStrategy[Any]], Any]


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


@dataclass
class Builder:
    """Nodes and constants so far; bodies of an If share their counter and their constants."""

    draw: Draw
    opset: int
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    count: list[int] = field(default_factory=lambda: [0])

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

    def weight(self, shape: Sequence[int], scale: float = 1.0) -> str:
        return self.constant(self.rng.standard_normal(shape) * scale)

    def node(self, op_type: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> list[str]:
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


def unary(b: Builder, x: Value) -> Value:
    newer = [("HardSwish", 14), ("Mish", 18), ("Gelu", 20)]
    names = [
        "Relu",
        "Sigmoid",
        "Tanh",
        "LeakyRelu",
        "Abs",
        "Neg",
        "Softplus",
        "Elu",
        "Erf",
        "Identity",
    ]
    names += [name for name, since in newer if b.opset >= since]
    return b.like(b.pick(names), x)


def clip(b: Builder, x: Value) -> Value:
    if b.opset < 11:
        return b.like("Clip", x, min=-1.0, max=1.5)
    return b.like("Clip", x, b.constant(-1.0), b.constant(1.5))


def with_constant(b: Builder, x: Value) -> Value:
    """A constant of any shape that broadcasts, longer ranks included."""
    rank = b.integer(0, min(x.rank + 1, 5))
    shape = [1 if at < 0 or x.open[at] or b.chance() else x.shape[at] for at in range(x.rank - rank, x.rank)]
    op_type = b.pick(["Add", "Mul", "Sub", "Div", "Max", "PRelu"])
    if op_type == "PRelu" and rank > x.rank:
        op_type = "Add"
    array = b.rng.uniform(0.5, 1.5, shape)
    other = b.constant(array)
    grown = max(rank, x.rank)
    shape = [1] * (grown - x.rank) + list(x.shape)
    opened = [False] * (grown - x.rank) + list(x.open)
    swap = op_type != "PRelu" and b.chance()
    return b.emit(op_type, [other, x.name] if swap else [x.name, other], shape, opened)


def with_value(b: Builder, x: Value) -> Value | None:
    """Another value, broadcast against this one."""
    options = [v for v in b.values if v.dtype == FLOAT and _broadcast(x, v) is not None]
    if not options:
        return None
    y = b.pick(options)
    found = _broadcast(x, y)
    assert found is not None
    if math.prod(found[0]) > LARGEST:
        return None
    return b.emit(b.pick(["Add", "Mul", "Sub", "Min"]), [x.name, y.name], *found)


def _broadcast(x: Value, y: Value) -> tuple[list[int], list[bool]] | None:
    shape, opened = [], []
    for i in range(1, max(x.rank, y.rank) + 1):
        a, p = (x.shape[-i], x.open[-i]) if i <= x.rank else (1, False)
        c, q = (y.shape[-i], y.open[-i]) if i <= y.rank else (1, False)
        if (a != c and not ((a == 1 and not p) or (c == 1 and not q))) or (p != q and a == c != 1):
            return None
        if a == c == 1 and p != q:
            return None
        shape.append(max(a, c))
        opened.append(p if a == c else (q if a == 1 else p))
    return shape[::-1], opened[::-1]


def compare(b: Builder, x: Value) -> Value:
    mask = b.emit("Greater", [x.name, b.constant(0.1234)], x.shape, x.open, BOOL)
    if b.chance():
        return b.emit("Cast", [mask.name], x.shape, x.open, to=FLOAT)
    zero = b.constant(b.rng.standard_normal(x.shape[-1:] if not any(x.open[-1:]) else ()))
    return b.emit("Where", [mask.name, x.name, zero], x.shape, x.open)


def transpose(b: Builder, x: Value) -> Value:
    perm = b.draw(st.permutations(range(x.rank)))
    return b.emit("Transpose", [x.name], [x.shape[a] for a in perm], [x.open[a] for a in perm], perm=perm)


def reshape(b: Builder, x: Value) -> Value | None:
    """Merge or split axes; an open size is -1, 0, or computed."""
    groups: list[list[int]] = [[axis] for axis in range(x.rank)]
    shape, opened = list(x.shape), list(x.open)
    for _ in range(b.integer(1, 3)):
        if len(shape) > 1 and b.chance():
            at = b.integer(0, len(shape) - 2)
            shape[at : at + 2] = [shape[at] * shape[at + 1]]
            opened[at : at + 2] = [opened[at] or opened[at + 1]]
            groups[at : at + 2] = [groups[at] + groups[at + 1]]
        elif len(shape) < 5:
            at = b.integer(0, len(shape) - 1)
            divisors = [d for d in range(1, shape[at] + 1) if shape[at] % d == 0]
            if opened[at]:
                divisors = [1]
            first = b.pick(divisors)
            left = b.chance()
            parts = [first, shape[at] // first]
            split_open, split_groups = [False, opened[at]], [[], groups[at]]
            if left:
                parts, split_open = parts[::-1], split_open[::-1]
                split_groups = split_groups[::-1]
            shape[at : at + 1], opened[at : at + 1] = parts, split_open
            groups[at : at + 1] = split_groups
    many = [i for i, o in enumerate(opened) if o]
    if len(many) <= 1 and not (many and shape[many[0]] == 0):
        target = [-1 if i in many else s for i, s in enumerate(shape)]
        if not many and b.chance():
            target[b.integer(0, len(target) - 1)] = -1
        elif many and many[0] < x.rank and x.open[many[0]] and b.chance():
            same = groups[many[0]] == [many[0]] and shape[many[0]] == x.shape[many[0]]
            target[many[0]] = 0 if same else -1
        return b.emit("Reshape", [x.name, b.ints(target)], shape, opened)
    sizes = b.sizes(x)
    parts = []
    for i, s in enumerate(shape):
        if not opened[i]:
            parts.append(b.ints([s]))
            continue
        current, number = "", s
        for axis in groups[i]:
            if x.open[axis]:
                number //= x.shape[axis]
                current = b.node("Mul", [current, sizes[axis]])[0] if current else sizes[axis]
        parts.append(b.node("Mul", [current, b.ints([number])])[0] if number != 1 else current)
    (target_name,) = b.node("Concat", parts, axis=0)
    return b.emit("Reshape", [x.name, target_name], shape, opened)


def flatten(b: Builder, x: Value) -> Value:
    axis = b.integer(0, x.rank)
    return b.emit(
        "Flatten",
        [x.name],
        [math.prod(x.shape[:axis]), math.prod(x.shape[axis:])],
        [any(x.open[:axis]), any(x.open[axis:])],
        axis=axis,
    )


def squeeze(b: Builder, x: Value) -> Value | None:
    units = [i for i, s in enumerate(x.shape) if s == 1 and not x.open[i]]
    if not units or x.rank < 2:
        return None
    axis = b.pick(units)
    keep = [i for i in range(x.rank) if i != axis]
    shape, opened = [x.shape[i] for i in keep], [x.open[i] for i in keep]
    if b.opset < 13:
        return b.emit("Squeeze", [x.name], shape, opened, axes=[axis])
    return b.emit("Squeeze", [x.name, b.ints([b.signed(axis, x.rank)])], shape, opened)


def unsqueeze(b: Builder, x: Value) -> Value | None:
    if x.rank >= 5:
        return None
    axis = b.integer(0, x.rank)
    shape, opened = list(x.shape), list(x.open)
    shape.insert(axis, 1)
    opened.insert(axis, False)
    if b.opset < 13:
        return b.emit("Unsqueeze", [x.name], shape, opened, axes=[axis])
    return b.emit("Unsqueeze", [x.name, b.ints([b.signed(axis, x.rank + 1)])], shape, opened)


def reduction(b: Builder, x: Value) -> Value:
    op_type = b.pick(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceMin"])
    axes = sorted(b.draw(st.sets(st.integers(0, x.rank - 1), min_size=1)))
    keep = b.chance() or len(axes) == x.rank
    shape = [1 if i in axes else s for i, s in enumerate(x.shape) if keep or i not in axes]
    opened = [i not in axes and o for i, o in enumerate(x.open) if keep or i not in axes]
    named = [a - x.rank for a in axes] if b.opset >= 11 and b.chance() else axes
    more: dict[str, Any] = {"keepdims": int(keep)}
    inputs = [x.name]
    if b.opset >= (13 if op_type == "ReduceSum" else 18):
        inputs.append(b.ints(named))
    else:
        more["axes"] = named
    return b.emit(op_type, inputs, shape, opened, **more)


def extremum(b: Builder, x: Value) -> Value:
    axis = b.axis(x)
    keep = b.chance() or x.rank == 1
    shape = [1 if i == axis else s for i, s in enumerate(x.shape) if keep or i != axis]
    opened = [o and i != axis for i, o in enumerate(x.open) if keep or i != axis]
    y = b.emit(b.pick(["ArgMax", "ArgMin"]), [x.name], shape, opened, INT, axis=axis, keepdims=int(keep))
    return b.emit("Cast", [y.name], shape, opened, to=FLOAT)


def softmax(b: Builder, x: Value) -> Value:
    axis = b.axis(x)
    if b.chance():
        return b.like(b.pick(["Softmax", "LogSoftmax"]), x, axis=axis)
    return b.like("Softmax", x) if x.rank > 1 or b.opset >= 13 else b.like("Softmax", x, axis=axis)


def concat(b: Builder, x: Value) -> Value | None:
    axis = b.axis(x)
    others = [
        v
        for v in b.values
        if v.dtype == FLOAT
        and v.rank == x.rank
        and all(i == axis or (v.shape[i], v.open[i]) == (x.shape[i], x.open[i]) for i in range(x.rank))
    ]
    chosen = [b.pick(others) if others and b.chance() else x for _ in range(b.integer(1, 2))]
    parts = [x, *chosen]
    shape, opened = list(x.shape), list(x.open)
    shape[axis] = sum(v.shape[axis] for v in parts)
    opened[axis] = any(v.open[axis] for v in parts)
    return b.emit(
        "Concat",
        [v.name for v in parts],
        shape,
        opened,
        axis=b.signed(axis, x.rank) if b.opset >= 11 else axis,
    )


def split(b: Builder, x: Value) -> list[Value] | None:
    axes = [i for i, s in enumerate(x.shape) if s > 1 and not x.open[i]]
    if not axes:
        return None
    axis = b.pick(axes)
    first = b.integer(1, x.shape[axis] - 1)
    sizes = [first, x.shape[axis] - first]
    if b.opset < 13:
        names = b.node("Split", [x.name], 2, axis=axis, split=sizes)
    else:
        names = b.node("Split", [x.name, b.ints(sizes)], 2, axis=b.signed(axis, x.rank))
    return [
        Value(name, tuple(size if i == axis else s for i, s in enumerate(x.shape)), x.open)
        for name, size in zip(names, sizes, strict=True)
    ]


def slicing(b: Builder, x: Value) -> Value | None:
    axes = [i for i, s in enumerate(x.shape) if s > 1 and not x.open[i]]
    if not axes:
        return None
    chosen = b.draw(st.lists(st.sampled_from(axes), min_size=1, max_size=2, unique=True))
    starts, ends, steps, shape = [], [], [], list(x.shape)
    for axis in chosen:
        start = b.integer(0, x.shape[axis] - 1)
        end = b.integer(start + 1, x.shape[axis])
        step = b.integer(1, 2) if b.opset >= 10 else 1
        if b.opset >= 10 and b.integer(0, 4) == 0:  # backwards
            start, end, step = x.shape[axis] - 1, -x.shape[axis] - 1, -1
            shape[axis] = x.shape[axis]
        else:
            shape[axis] = -(-(end - start) // step)
        starts.append(start)
        ends.append(end)
        steps.append(step)
    if b.opset < 10:
        return b.emit("Slice", [x.name], shape, x.open, axes=chosen, starts=starts, ends=ends)
    return b.emit("Slice", [x.name, *map(b.ints, (starts, ends, chosen, steps))], shape, x.open)


def pad(b: Builder, x: Value) -> Value | None:
    pads = [b.integer(0, 1) for _ in range(2 * x.rank)]
    shape = [s + pads[i] + pads[i + x.rank] for i, s in enumerate(x.shape)]
    if math.prod(shape) > LARGEST:
        return None
    mode = b.pick(["constant", "edge"])
    if b.opset < 11:
        return b.emit("Pad", [x.name], shape, x.open, pads=pads, mode=mode)
    if b.opset >= 18 and b.chance():
        axis = b.axis(x)
        shape = [s + (pads[0] + pads[1]) * (i == axis) for i, s in enumerate(x.shape)]
        inputs = [x.name, b.ints(pads[:2]), "", b.ints([b.signed(axis, x.rank)])]
        return b.emit("Pad", inputs, shape, x.open, mode=mode)
    more = [b.constant(0.5)] if mode == "constant" and b.chance() else []
    return b.emit("Pad", [x.name, b.ints(pads), *more], shape, x.open, mode=mode)


def tile(b: Builder, x: Value) -> Value | None:
    repeats = [b.integer(1, 2) for _ in x.shape]
    shape = [s * r for s, r in zip(x.shape, repeats, strict=True)]
    if math.prod(shape) > LARGEST:
        return None
    return b.emit("Tile", [x.name, b.ints(repeats)], shape, x.open)


def expand(b: Builder, x: Value) -> Value | None:
    rank = b.integer(1, min(5, x.rank + 1))
    target = [1] * rank
    grown = max(rank, x.rank)
    shape = [1] * (grown - x.rank) + list(x.shape)
    opened = [False] * (grown - x.rank) + list(x.open)
    for i in range(1, rank + 1):
        if shape[-i] == 1 and not opened[-i] and b.chance():
            target[-i] = shape[-i] = b.integer(1, 3)
    if math.prod(shape) > LARGEST:
        return None
    return b.emit("Expand", [x.name, b.ints(target)], shape, opened)


def gather(b: Builder, x: Value) -> Value | None:
    axis = b.axis(x)
    rank = b.integer(0, 2)
    if x.rank - 1 + rank > 5 or x.rank - 1 + rank < 1 or x.open[axis]:
        return None
    indices = b.rng.integers(0, x.shape[axis], [2, 3][:rank])
    shape = [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]]
    opened = [*x.open[:axis], *[False] * rank, *x.open[axis + 1 :]]
    if math.prod(shape) > LARGEST:
        return None
    return b.emit(
        "Gather",
        [x.name, b.constant(indices, np.int64)],
        shape,
        opened,
        axis=b.signed(axis, x.rank),
    )


def cumulative(b: Builder, x: Value) -> Value | None:
    if b.opset < 11:
        return None
    return b.like("CumSum", x, b.constant(b.signed(b.axis(x), x.rank), np.int64), reverse=b.integer(0, 1))


def top(b: Builder, x: Value) -> Value | None:
    axis = b.axis(x)
    if x.open[axis] or b.opset < 10:
        return None
    k = b.integer(1, x.shape[axis])
    shape = tuple(k if i == axis else s for i, s in enumerate(x.shape))
    names = b.node("TopK", [x.name, b.ints([k])], 2, axis=axis)
    return Value(names[0], shape, x.open)


def matmul(b: Builder, x: Value) -> Value | None:
    if x.open[-1] or x.rank < 2:
        return None
    width = b.integer(1, 4)
    weight = b.weight([x.shape[-1], width], x.shape[-1] ** -0.5)
    return b.emit("MatMul", [x.name, weight], [*x.shape[:-1], width], x.open)


def attention(b: Builder, x: Value) -> Value | None:
    """A value times itself, transposed."""
    if x.rank < 2 or x.rank > 4:
        return None
    perm = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    other = b.emit("Transpose", [x.name], [x.shape[a] for a in perm], [x.open[a] for a in perm], perm=perm)
    scaled = b.emit("Mul", [x.name, b.constant(x.shape[-1] ** -0.5)], x.shape, x.open)
    shape, opened = [*x.shape[:-1], x.shape[-2]], [*x.open[:-1], x.open[-2]]
    if math.prod(shape) > LARGEST:
        return None
    return b.emit("MatMul", [scaled.name, other.name], shape, opened)


def gemm(b: Builder, x: Value) -> Value | None:
    transposed = b.integer(0, 1)
    if x.rank != 2 or x.open[1 - transposed] or (x.open[0] and transposed):
        return None
    m, k = x.shape[::-1] if transposed else x.shape
    n, turned = b.integer(1, 4), b.integer(0, 1)
    weight = b.weight([n, k] if turned else [k, n], k**-0.5)
    bias = b.weight(b.pick([[n], [1, n], [1]]))
    opened = [x.open[1] if transposed else x.open[0], False]
    return b.emit("Gemm", [x.name, weight, bias], [m, n], opened, transA=transposed, transB=turned)


def conv(b: Builder, x: Value) -> Value | None:
    if x.rank < 3 or x.open[1]:
        return None
    image = x.rank - 2
    groups = b.pick([d for d in range(1, x.shape[1] + 1) if x.shape[1] % d == 0])
    out = groups * b.integer(1, 2)
    kernel = [b.integer(1, 3) for _ in range(image)]
    inputs = [x.name]
    stride = b.integer(1, 2)
    if b.integer(0, 3) == 0:
        inputs.append(b.weight([x.shape[1], out // groups, *kernel], 0.5))
        shape = [(s - 1) * stride + k for s, k in zip(x.shape[2:], kernel, strict=True)]
        op_type, pads = "ConvTranspose", [0] * 2 * image
    else:
        inputs.append(b.weight([out, x.shape[1] // groups, *kernel], 0.5))
        pads = [k // 2 for k in kernel] + [(k - 1) // 2 + b.integer(0, 1) for k in kernel]
        shape = [(s + pads[i] + pads[i + image] - kernel[i]) // stride + 1 for i, s in enumerate(x.shape[2:])]
        op_type = "Conv"
    if min(shape) < 1 or math.prod(shape) * out * x.shape[0] > LARGEST:
        return None
    if b.chance():
        inputs.append(b.weight([out]))
    return b.emit(
        op_type,
        inputs,
        [x.shape[0], out, *shape],
        [x.open[0], False, *x.open[2:]],
        group=groups,
        kernel_shape=kernel,
        strides=[stride] * image,
        pads=pads,
    )


def pool(b: Builder, x: Value) -> Value | None:
    if x.rank < 3:
        return None
    image = x.rank - 2
    if b.chance():
        shape = [*x.shape[:2], *[1] * image]
        op_type = b.pick(["GlobalAveragePool", "GlobalMaxPool"])
        return b.emit(op_type, [x.name], shape, [*x.open[:2], *[False] * image])
    kernel = [b.integer(1, 2) for _ in range(image)]
    if any(s < k for s, k in zip(x.shape[2:], kernel, strict=True)):
        return None
    stride = b.integer(1, 2)
    shape = [(s - k) // stride + 1 for s, k in zip(x.shape[2:], kernel, strict=True)]
    return b.emit(
        b.pick(["MaxPool", "AveragePool"]),
        [x.name],
        [*x.shape[:2], *shape],
        x.open,
        kernel_shape=kernel,
        strides=[stride] * image,
    )


def norm(b: Builder, x: Value) -> Value | None:
    names = ["LpNormalization"]
    if x.rank > 1 and not x.open[1]:
        names += ["BatchNormalization", "LRN"] if x.rank == 4 else ["BatchNormalization"]
        names += ["InstanceNormalization"] if x.rank > 2 else []
        names += ["GroupNormalization"] if x.rank > 2 and b.opset >= 21 else []
    if b.opset >= 17:
        names += ["LayerNormalization"]
    op_type = b.pick(names)
    if op_type == "LpNormalization":
        return b.like(op_type, x, axis=b.axis(x))
    if op_type == "LRN":
        return b.like(op_type, x, size=3)
    if op_type == "LayerNormalization":
        axis = b.axis(x)
        if any(x.open[axis:]):
            return None
        return b.like(
            op_type,
            x,
            b.weight(x.shape[axis:]),
            b.weight(x.shape[axis:]),
            axis=b.signed(axis, x.rank),
        )
    vectors = [b.weight([x.shape[1]]) for _ in range(2)]
    if op_type == "BatchNormalization":
        vectors += [b.weight([x.shape[1]]), b.constant(b.rng.uniform(0.5, 1.5, x.shape[1]))]
    more: dict[str, Any] = {}
    if op_type == "GroupNormalization":
        more["num_groups"] = b.pick([d for d in range(1, x.shape[1] + 1) if x.shape[1] % d == 0])
    return b.like(op_type, x, *vectors, **more)


def resize(b: Builder, x: Value) -> Value | None:
    if x.rank < 3 or x.size * 2 ** (x.rank - 2) > LARGEST:
        return None
    factors = [1, 1, *[b.integer(1, 2) for _ in range(x.rank - 2)]]
    shape = [s * f for s, f in zip(x.shape, factors, strict=True)]
    scales = b.constant(np.array(factors, np.float32))
    mode = b.pick(["nearest", "linear"]) if x.rank == 4 else "nearest"
    if b.opset < 10:
        return b.emit("Upsample", [x.name, scales], shape, x.open, mode=mode)
    if b.opset < 11:
        return b.emit("Resize", [x.name, scales], shape, x.open, mode=mode)
    roi = "" if b.opset >= 13 else b.constant(np.zeros(0, np.float32))
    if b.chance() and not any(x.open):
        return (
            b.emit("Resize", [x.name, roi, "", b.ints(shape)], shape, x.open, mode=mode)
            if b.opset >= 13
            else None
        )
    more = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return b.emit("Resize", [x.name, roi, scales], shape, x.open, mode=mode, **more)


def depth_to_space(b: Builder, x: Value) -> Value | None:
    if x.rank != 4 or x.open[1]:
        return None
    n, c, h, w = x.shape
    if c % 4 == 0:
        more = {"mode": b.pick(["DCR", "CRD"])} if b.opset >= 11 else {}
        return b.emit("DepthToSpace", [x.name], [n, c // 4, 2 * h, 2 * w], x.open, blocksize=2, **more)
    if h % 2 == 0 and w % 2 == 0 and not any(x.open[2:]):
        return b.emit("SpaceToDepth", [x.name], [n, 4 * c, h // 2, w // 2], x.open, blocksize=2)
    return None


def shuffle(b: Builder, x: Value) -> Value | None:
    """A channel shuffle."""
    if x.rank != 4 or x.open[1] or x.shape[1] % 2:
        return None
    n, c, h, w = x.shape
    sizes = b.sizes(x)

    def viewed(name: str, middle: list[int], shape: list[int]) -> Value:
        opened = [x.open[0], *[False] * len(middle), *x.open[2:]]
        parts = [sizes[0], b.ints(middle), sizes[2], sizes[3]]
        (target,) = b.node("Concat", parts, axis=0)
        return b.emit("Reshape", [name, target], shape, opened)

    five = viewed(x.name, [2, c // 2], [n, 2, c // 2, h, w])
    (turned,) = b.node("Transpose", [five.name], perm=[0, 2, 1, 3, 4])
    return viewed(turned, [c], [n, c, h, w])


def lstm(b: Builder, x: Value) -> Value | None:
    """Time first, or batch first as a function."""
    if x.rank != 3 or x.open[2] or min(x.shape) < 1:
        return None
    hidden = 2
    weights = [b.weight([1, 4 * hidden, x.shape[2]], 0.3), b.weight([1, 4 * hidden, hidden], 0.3)]
    shape = [x.shape[0], 1, x.shape[1], hidden]
    return b.emit("LSTM", [x.name, *weights], shape, [x.open[0], False, x.open[1], False], hidden_size=hidden)


def non_zero(b: Builder, x: Value) -> Value:
    """A barrier whose result has a size that nobody knows; all of it is summed up."""
    (found,) = b.node("NonZero", [x.name])
    (number,) = b.node("Cast", [found], to=FLOAT)
    inputs, more = ([number, b.ints([1])], {}) if b.opset >= 18 else ([number], {"axes": [1]})
    return b.emit("ReduceMax", inputs, [x.rank], [False], keepdims=0, **more)


def shape_of(b: Builder, x: Value) -> Value:
    """Sizes as data: they must speak of the source's axes."""
    (found,) = b.node("Shape", [x.name])
    if b.opset >= 15 and x.rank > 1 and b.chance():
        start = b.integer(1, x.rank - 1)
        b.nodes.pop()
        (found,) = b.node("Shape", [x.name], start=start)
        return b.emit("Cast", [found], [x.rank - start], [False], to=FLOAT)
    return b.emit("Cast", [found], [x.rank], [False], to=FLOAT)


def fill(b: Builder, x: Value) -> Value:
    """A constant of this shape, added."""
    (shape,) = b.node("Shape", [x.name])
    tensor = helper.make_tensor("value", FLOAT, [1], [0.75])
    (made,) = b.node("ConstantOfShape", [shape], value=tensor)
    return b.emit("Add", [x.name, made], x.shape, x.open)


def branch(b: Builder, x: Value) -> Value | None:
    """An If whose bodies capture the value and keep its shape."""
    if len(b.inputs) > 3:
        return None
    condition = Value(b.name("condition"), (), (), BOOL)
    b.inputs.append(condition)
    bodies = []
    for _ in range(2):
        inner = Builder(b.draw, b.opset, b.rng, constants=b.constants, values=[x], count=b.count)
        y = inner.pick([unary, clip, fill, softmax, compare])(inner, x)
        if x.rank > 2 and not x.open[1] and inner.chance():
            weight = inner.weight([x.shape[1], x.shape[1], *[1] * (x.rank - 2)], 0.5)
            y = inner.emit("Conv", [y.name, weight], x.shape, x.open)
        out = helper.make_tensor_value_info(y.name, FLOAT, None)
        bodies.append(helper.make_graph(inner.nodes, inner.name("body"), [], [out]))
    return b.emit("If", [condition.name], x.shape, x.open, then_branch=bodies[0], else_branch=bodies[1])


OPS: tuple[Op, ...] = (
    *(unary, clip, with_constant, with_constant, with_value, with_value, compare),
    *(transpose, transpose, transpose, reshape, reshape, reshape, flatten, squeeze, unsqueeze),
    *(reduction, reduction, extremum, softmax, concat, concat, split, slicing, pad, tile, expand),
    *(
        gather,
        cumulative,
        top,
        matmul,
        attention,
        gemm,
        conv,
        conv,
        conv,
        conv,
        conv,
        conv,
        pool,
        pool,
    ),
    *(norm, norm, resize, depth_to_space, shuffle, lstm, non_zero, shape_of, fill, branch),
)


@st.composite
def graphs(draw: Draw, largest: int = 14) -> Graph:
    """A random model and what it is run on."""
    rng = np.random.default_rng(draw(st.integers(0, 7)))
    b = Builder(draw, draw(st.sampled_from(OPSETS)), rng)
    equal = draw(st.booleans())
    for _ in range(b.integer(1, 2)):
        rank = b.pick([4, 4, 4, 4, 3, 3, 5, 2, 1])
        sizes = [2, 2, 2, 2, 2] if equal else [b.integer(1, 4) for _ in range(rank)]
        opened = [b.integer(0, 3) == 3 and (i != 1 or b.chance()) for i in range(rank)]
        value = Value(b.name("x"), tuple(sizes[:rank]), tuple(opened))
        b.inputs.append(value)
        b.values.append(value)
    wanted = draw(st.one_of(st.integers(1, largest), st.integers(largest // 2, largest)))
    for _ in range(3 * wanted):
        recent = b.values[-3:] if b.chance() else b.values
        kept = len(b.nodes)
        made = b.pick(OPS)(b, b.pick(recent))
        if made is None:  # the operator does not fit the value
            del b.nodes[kept:]
            continue
        wanted -= 1
        for value in made if isinstance(made, list) else [made]:
            if value.size <= LARGEST and value.rank <= 5:
                b.values.append(value)
        if not wanted:
            break
    return _finish(b)


def _finish(b: Builder) -> Graph:
    made = [v for v in b.values if v not in b.inputs]
    read = {name for node in b.nodes for name in node.input}
    outputs = [v for v in made if v.name not in read] or made[-1:]
    outputs += [v for v in made if v.name in read and b.integer(0, 7) == 0 and v not in outputs]
    if not outputs:
        outputs = [b.like("Relu", b.inputs[0])]
    used = set()
    for graph in _bodies(b.nodes):
        used |= {name for node in graph for name in node.input}
    graph = helper.make_graph(
        b.nodes,
        "fuzz",
        [_declared(b, v) for v in b.inputs],
        [helper.make_tensor_value_info(v.name, v.dtype, None) for v in outputs],
        [tensor for tensor in b.constants if tensor.name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", b.opset)], ir_version=8)
    known = onnx.shape_inference.infer_shapes(model)
    del model.graph.output[:]
    model.graph.output.extend(known.graph.output)
    feeds = {}
    for value in b.inputs:
        array = (
            b.rng.standard_normal(value.shape) if value.dtype == FLOAT else b.rng.random(value.shape) < 0.5
        )
        feeds[value.name] = np.asarray(array, DTYPES[value.dtype])
    return Graph(model, feeds)


def _bodies(nodes: Sequence[onnx.NodeProto]) -> list[Sequence[onnx.NodeProto]]:
    found: list[Sequence[onnx.NodeProto]] = [nodes]
    for node in nodes:
        for attribute in node.attribute:
            if attribute.g.node:
                found += _bodies(attribute.g.node)
    return found


def _declared(b: Builder, value: Value) -> onnx.ValueInfoProto:
    """Open axes get a symbol each; equal ones share it, as exporters write it."""
    dims = [f"d{i}_{s}" if o else s for i, (s, o) in enumerate(zip(value.shape, value.open, strict=True))]
    return helper.make_tensor_value_info(value.name, value.dtype, dims)
