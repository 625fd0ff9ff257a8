"""What files of many origins hold: quantisers, run-time sizes, bodies, declarations that are wrong."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import onnx
from onnx import helper

from tests.graphs.builder import BOOL, FLOAT, INT, LARGEST, Builder, Value
from tests.graphs.computing import clip, compare, conv, gemm, matmul, pool, softmax, unary
from tests.graphs.moving import concat, fill, flatten, reshape, transpose

# ------------------------------------------------------------------------------------------ quantisers


def _rounded(b: Builder, x: Value, per_channel: bool = True) -> Value:
    """QuantizeLinear and DequantizeLinear. No scale is a round number, so that nothing lies on an edge."""
    dtype = b.pick([np.int8, np.uint8, *([np.int16, np.uint16] if b.opset >= 21 else [])])
    more: dict[str, Any] = {}
    sizes: list[int] = []
    if per_channel and b.opset >= 13 and x.rank > 1 and not x.open[1] and b.integer(0, 7) == 0:
        more["axis"], sizes = 1, [x.shape[1]]
    limits = np.iinfo(dtype)
    scale = b.constant(b.rng.uniform(3, 5, sizes) / limits.max)
    zero = b.constant(np.full(sizes, (limits.max + limits.min + 1) // 2), dtype)
    (quantised,) = b.node("QuantizeLinear", [x.name, scale, zero], **more)
    return b.emit("DequantizeLinear", [quantised, scale, zero], x.shape, x.open, **more)


QUANTISED = (conv, conv, conv, matmul, gemm, pool, concat, transpose, reshape, flatten, unary)
FUSED = (conv, matmul, gemm)
"""onnxruntime computes these on integers, and refuses images with a scale for each channel only then."""


def quantised(b: Builder, x: Value) -> Value | None:
    """An operator between quantisers, its weights stored as integers."""
    operator = b.pick(QUANTISED)
    inputs = _rounded(b, x, operator not in FUSED)
    b.stored = [np.int8, np.uint8, *([np.int16, ml_dtypes.int4, ml_dtypes.uint4] if b.opset >= 21 else [])]
    try:
        y = operator(b, inputs)
    finally:
        b.stored = None
    if y is None or b.integer(0, 3) == 0:
        return y
    if b.chance():
        y = b.like("Relu", y)
    return _rounded(b, y)


# -------------------------------------------------------------------------------------- run-time sizes


def resize_at_run_time(b: Builder, x: Value) -> Value | None:
    """Resize or Upsample whose scales or sizes are fed, from opset 9 on, whole or the image's part."""
    if x.rank != 4 or len(b.inputs) > 3 or b.opset < 9:
        return None
    factors = [1, 1, b.integer(1, 2), b.integer(1, 2)]
    shape = [s * f for s, f in zip(x.shape, factors, strict=True)]
    if math.prod(shape) > LARGEST:
        return None
    by_sizes = b.opset >= 13 and b.chance()
    numbers, dtype = (shape, np.int64) if by_sizes else (factors, np.float32)
    opened = [True] * 4
    if b.chance():
        told = b.feed(numbers, dtype)
    else:
        opened[:2] = x.open[:2]
        first = b.node("Concat", b.sizes(x)[:2], axis=0)[0] if by_sizes else b.constant([1, 1])
        (told,) = b.node("Concat", [first, b.feed(numbers[2:], dtype)], axis=0)
    mode = b.pick(["nearest", "linear"])
    if b.opset < 11:
        return b.emit("Upsample" if b.opset < 10 else "Resize", [x.name, told], shape, opened, mode=mode)
    roi = "" if b.opset >= 13 else b.constant(np.zeros(0, np.float32))
    more = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if b.chance() else {}
    inputs = [x.name, roi, "", told] if by_sizes else [x.name, roi, told]
    return b.emit("Resize", inputs, shape, opened, mode=mode, **more)


# ---------------------------------------------------------------------------------------------- bodies


def there_and_back(b: Builder, x: Value) -> Value:
    """Something computed in another order of the axes."""
    y = transpose(b, x)
    perm = list(b.nodes[-1].attribute[0].ints)
    z = b.pick([unary, softmax, clip])(b, y)
    return b.emit("Transpose", [z.name], x.shape, x.open, perm=[perm.index(i) for i in range(x.rank)])


def pointwise(b: Builder, x: Value) -> Value:
    """A convolution that keeps the shape."""
    if x.rank < 3 or x.open[1]:
        return unary(b, x)
    weight = b.weight([x.shape[1], x.shape[1], *[1] * (x.rank - 2)], 0.5)
    return b.emit("Conv", [x.name, weight], x.shape, x.open)


STEADY = (unary, clip, fill, softmax, compare, there_and_back, pointwise, pointwise)
"""Operators that keep the shape."""


def branch(b: Builder, x: Value) -> Value | None:
    """An If whose bodies capture the value and turn it alike; Ifs stand in Ifs."""
    if len(b.inputs) > 3:
        return None
    condition = b.feed(b.chance(), np.bool_)
    perm = b.draw(st.permutations(range(x.rank))) if b.chance() else list(range(x.rank))
    shape, opened = [x.shape[a] for a in perm], [x.open[a] for a in perm]
    bodies = []
    for _ in range(2):
        inner = b.body(x)
        y = x
        for _ in range(b.integer(1, 2)):
            z = inner.pick([*STEADY, branch])(inner, y)
            y = z if z is not None and (z.shape, z.open) == (x.shape, x.open) else y
        y = inner.emit("Transpose", [y.name], shape, opened, perm=perm)
        bodies.append(_graph(inner, [], [y.name]))
    return b.emit("If", [condition], shape, opened, then_branch=bodies[0], else_branch=bodies[1])


def loop(b: Builder, x: Value) -> list[Value] | None:
    """A Loop that carries a value, adds one from outside, and may collect what a body computes."""
    if x.rank > 4:
        return None
    turns = b.integer(1, 3)
    fed = len(b.inputs) < 4 and b.chance()
    limit = b.feed(turns, np.int64) if fed else b.constant(turns, np.int64)
    state = Value(b.name("state"), x.shape, x.open)
    inner = b.body(state)
    y = inner.pick(STEADY)(inner, state)
    if b.chance():
        y = inner.emit(b.pick(["Add", "Max"]), [y.name, x.name], x.shape, x.open)
    turn, going = b.name("turn"), b.name("going")
    results = [inner.node("Identity", [going])[0], y.name]
    collected = inner.pick([transpose, flatten, unary])(inner, y) if b.chance() else None
    if collected is not None:
        results.append(collected.name)
    sizes = [f"{state.name}_{i}" if o else s for i, (s, o) in enumerate(zip(x.shape, x.open, strict=True))]
    inputs = [
        helper.make_tensor_value_info(turn, INT, []),
        helper.make_tensor_value_info(going, BOOL, []),
        helper.make_tensor_value_info(state.name, FLOAT, b.pick([sizes, None])),
    ]
    body = _graph(inner, inputs, results)
    condition = b.constant(True, np.bool_) if b.chance() else ""
    names = b.node("Loop", [limit, condition, x.name], len(results) - 1, body=body)
    found = [Value(names[0], x.shape, x.open)]
    if collected is not None:
        found.append(Value(names[1], (turns, *collected.shape), (fed, *collected.open)))
    return found


def _graph(b: Builder, inputs: list[onnx.ValueInfoProto], results: list[str]) -> onnx.GraphProto:
    outputs = [helper.make_tensor_value_info(name, FLOAT, None) for name in results]
    if inputs:
        outputs[0].type.tensor_type.elem_type = BOOL
    return helper.make_graph(b.nodes, b.name("body"), inputs, outputs)


# ---------------------------------------------------------------------------------------- declarations


def misdeclared(b: Builder, model: onnx.ModelProto) -> None:
    """Declare some values as what they are not: a size, the number of axes, or less than nothing."""
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    for value in known:
        dims = value.type.tensor_type.shape.dim
        if not len(dims) or b.integer(0, 2):
            continue
        axis = b.integer(0, len(dims) - 1)
        way = b.pick(["size", "negative", "symbol", "rank"])
        if way == "size":
            dims[axis].dim_value = dims[axis].dim_value + b.integer(1, 2)
        elif way == "negative":
            dims[axis].dim_value = -1
        elif way == "symbol":
            dims[axis].dim_param = "anything"
        else:
            del dims[axis]
        model.graph.value_info.append(value)
