"""Reductions, extrema, running sums, sorting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call, is_float
from onnx_nhwc.export.keras.tensors.normal_pieces import formed
from onnx_nhwc.export.keras.tensors.reshaping import reshape_to
from onnx_nhwc.passes.algebra.layout import product

Mapping = Callable[[Call], Any]
Reduce = Callable[..., Any]


def reduce(function: Reduce, before: Callable[[Any], Any] | None = None,
           after: Callable[[Any], Any] | None = None) -> Mapping:  # fmt: skip
    """A reduction: ``after(function(before(x)))``; no axes are all of them, or none."""

    def along(call: Call, axes: tuple[int, ...]) -> Any:
        x = call.tensor(0)
        keepdims = bool(call.attribute("keepdims", 1))
        value = before(x) if before is not None else x
        if axes != ():
            value = function(value, axis=axes, keepdims=keepdims)
        return after(value) if after is not None else value

    def mapped(call: Call) -> Any:
        choice = _choice(call)
        if not choice:
            return along(call, _axes(call))
        wanted = ops.mod(ops.cast(call.tensor(1), "int32"), call.rank(0)) if len(choice) > 1 else None
        y = along(call, choice[0])
        for axes in choice[1:]:
            named = [ops.any(ops.equal(wanted, axis)) for axis in axes]
            y = ops.where(ops.all(ops.stack(named)), along(call, axes), y)
        return y

    return mapped


def _choice(call: Call) -> list[tuple[int, ...]]:
    """The axes that are possible, if they are computed at run time."""
    if not call.has(1) or call.constant(1) is not None or call.sizes(1) is not None:
        return []
    return call.reduced()


def _axes(call: Call) -> tuple[int, ...]:
    rank = call.rank(0)
    axes = call.integers("axes", 1)
    if not axes:
        return () if call.attribute("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted(axis % rank for axis in axes))


def _exact(function: Reduce) -> Reduce:
    """Reduce integers in their own type, booleans as integers."""

    def reduced(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        if x.dtype == "bool":
            return function(ops.cast(x, "int32"), axis=axis, keepdims=keepdims)
        return function(x, axis=axis, keepdims=keepdims)

    return reduced


def _mean(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    if is_float(x.dtype):
        return ops.mean(x, axis=axis, keepdims=keepdims)
    total = ops.sum(ops.cast(x, "float64"), axis=axis, keepdims=keepdims)
    count = np.prod([x.shape[a] for a in axis])
    return ops.divide(total, float(count))


def _prod(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return ops.prod(x, axis=axis, keepdims=keepdims)


def _logsumexp(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    work = x if is_float(x.dtype) else ops.cast(x, "float64")
    return ops.logsumexp(work, axis=axis, keepdims=keepdims)


def _float(x: Any) -> Any:
    return x if is_float(x.dtype) else ops.cast(x, "float64")


def mean(call: Call) -> Any:
    """ReduceMean, or the LayerNormalization that it is a piece of."""
    found = formed(call)
    return reduce(_mean)(call) if found is None else found


REDUCTIONS: dict[str, Mapping] = {
    "ReduceSum": reduce(_exact(ops.sum)),
    "ReduceMean": mean,
    "ReduceMax": reduce(_exact(ops.max)),
    "ReduceMin": reduce(_exact(ops.min)),
    "ReduceProd": reduce(_prod),
    "ReduceL1": reduce(ops.sum, before=ops.abs),
    "ReduceL2": reduce(ops.sum, before=lambda x: ops.square(_float(x)), after=ops.sqrt),
    "ReduceLogSum": reduce(ops.sum, before=_float, after=ops.log),
    "ReduceLogSumExp": reduce(_logsumexp),
    "ReduceSumSquare": reduce(ops.sum, before=ops.square),
}


def argument(function: Reduce) -> Mapping:
    """ArgMax, ArgMin; the last of equal ones is the first from behind."""
    worst = -float("inf") if function is ops.argmax else float("inf")

    def mapped(call: Call) -> Any:
        x = call.tensor(0)
        axis = call.attribute("axis", 0) % len(x.shape)
        keepdims = bool(call.attribute("keepdims", 1))
        last = bool(call.attribute("select_last_index", 0))
        key = comparable(x, worst) if is_float(x.dtype) else x
        found = function(ops.flip(key, axis=axis) if last else key, axis=axis, keepdims=keepdims)
        if last:
            size = call.parts.sizes.length(call.dims(0)[axis])
            found = ops.subtract(ops.subtract(size, 1), found)
        if not is_float(x.dtype):
            return found
        first = x[tuple(slice(0, 1) if i == axis and keepdims else 0 if i == axis else slice(None)
                        for i in range(len(x.shape)))]  # fmt: skip
        return ops.where(ops.not_equal(first, first), ops.zeros_like(found), found)

    return mapped


def comparable(x: Any, worst: float) -> Any:
    """Numbers that Keras compares as onnxruntime does: it takes -0.0 for less than 0.0, and NaN for anything.

    To onnxruntime -0.0 and 0.0 are a tie, and NaN is never more, nor less, than what came before it; so that
    the first element, if it is NaN, stays the best.
    """
    number = ops.where(ops.equal(x, 0), ops.zeros_like(x), x)
    return ops.where(ops.equal(x, x), number, ops.full_like(x, worst))


def softmax(layer: Any, function: Reduce) -> Mapping:
    """Softmax and its kin; before opset 13 they run over all axes from ``axis`` on."""

    def mapped(call: Call) -> Any:
        x = call.tensor(0)
        rank = len(x.shape)
        default = -1 if call.opset >= 13 else 1
        axis = call.attribute("axis", default) % rank if rank else 0
        if rank and x.shape[axis] == 1 and all(s == 1 for s in x.shape[axis + 1 :]):
            return _alone(call.op_type, x)
        if call.opset >= 13 or axis == rank - 1 or all(s == 1 for s in x.shape[axis + 1 :]):
            if layer is not None and rank > 1 and axis > 0:
                made = call.layer(layer, axis=-1 if axis == rank - 1 else axis)
                return made(x)
            return function(x, axis=-1 if axis == rank - 1 else axis)
        dims = call.dims(0)
        flat = (product(dims[:axis]), product(dims[axis:]))
        return reshape_to(call, function(reshape_to(call, x, dims, flat), axis=-1), flat, dims)

    return mapped


def _alone(op_type: str, x: Any) -> Any:
    """Softmax over one element, which Keras warns of."""
    return plus(ops.subtract(x, x), 0.0 if op_type == "LogSoftmax" else 1.0)


def hardmax(x: Any, axis: int) -> Any:
    """1 at the first of the largest elements."""
    top = ops.equal(x, ops.max(x, axis=axis, keepdims=True))
    count = ops.cumsum(ops.cast(top, "int32"), axis=axis)
    return ops.cast(ops.logical_and(top, ops.equal(count, 1)), x.dtype)


def log_softmax(x: Any, axis: int) -> Any:
    return ops.log_softmax(x, axis=axis)


def top_k(call: Call) -> Any:
    """TopK along any axis, of the largest or the smallest."""
    x = call.tensor(0)
    rank = len(x.shape)
    axis = call.attribute("axis", -1) % rank
    k = call.integers("k", 1)
    assert k is not None
    perm = [a for a in range(rank) if a != axis] + [axis]
    turned = call.transpose(x, perm)
    largest = call.attribute("largest", 1)
    key = turned if largest else _reversed(turned)
    values, indices = ops.top_k(key, k[0], sorted=True)
    if not largest:
        values = _reversed(values)
    back = [perm.index(a) for a in range(rank)]
    return [call.transpose(v, back) for v in (values, indices)]


def _reversed(x: Any) -> Any:
    if is_float(x.dtype):
        return ops.negative(x)
    if x.dtype.startswith("uint"):
        return ops.subtract(int(np.iinfo(x.dtype).max), x)
    return ops.bitwise_not(x)


def cumulative(function: Reduce, neutral: float) -> Mapping:
    """CumSum, CumProd: from either end, with or without the element itself."""

    def along(call: Call, axis: int) -> Any:
        x = call.tensor(0)
        reverse = call.attribute("reverse", 0)
        x = ops.flip(x, axis=axis) if reverse else x
        if call.attribute("exclusive", 0):
            pads = [(0, 0)] * len(x.shape)
            pads[axis] = (1, 0)
            key = [slice(None)] * len(x.shape)
            key[axis] = slice(0, -1)
            value = neutral if is_float(x.dtype) else int(neutral)
            x = ops.pad(x[tuple(key)], pads, constant_values=value)
        y = function(x, axis=axis)
        return ops.flip(y, axis=axis) if reverse else y

    def mapped(call: Call) -> Any:
        rank = call.rank(0)
        if call.constant(1) is not None or rank == 1:
            return along(call, (call.integers("axis", 1) or [0])[0] % rank)
        wanted = ops.mod(ops.reshape(call.tensor(1), ()), rank)
        y = along(call, 0)
        for axis in range(1, rank):
            y = ops.where(ops.equal(wanted, axis), along(call, axis), y)
        return y

    return mapped


SOFTMAX = {
    "Softmax": softmax(layers.Softmax, ops.softmax),
    "LogSoftmax": softmax(None, log_softmax),
    "Hardmax": softmax(None, hardmax),
}
