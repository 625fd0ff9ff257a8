"""Operators that compute: elementwise, along axes, and over windows."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np

from tests.graphs.builder import BOOL, FLOAT, INT, LARGEST, Builder, Value


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
    weight = b.weight([x.shape[-1], width], x.shape[-1] ** -0.5, axis=1)
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
    weight = b.weight([n, k] if turned else [k, n], k**-0.5, axis=1 - turned)
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
        inputs.append(b.weight([x.shape[1], out // groups, *kernel], 0.5, axis=1))
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
    mode = b.pick(["nearest", "linear"]) if x.rank == 4 else "nearest"
    if b.opset < 9:
        return b.emit("Upsample", [x.name], shape, x.open, mode=mode, scales=list(map(float, factors)))
    scales = b.constant(np.array(factors, np.float32))
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
