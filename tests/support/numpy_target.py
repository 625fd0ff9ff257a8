"""NumPy as a target of the walk: enough of it for image classifiers, to show that the walk is general.

It computes as it goes: its tensors are arrays, its inputs are what it is fed, and its model is what
comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_nhwc.export import control, loops
from onnx_nhwc.export.call import Call
from onnx_nhwc.export.images import Images
from onnx_nhwc.export.values import Constant, UnsupportedError, Values, dtype_name

Array = np.ndarray[Any, Any]


def _windows(call: Call, x: Array, size: Sequence[int], outside: float) -> Array:
    """The elements of each window of an image, along new last axes."""
    n = len(size)
    strides, dilations = (call.attribute(name) or [1] * n for name in ("strides", "dilations"))
    pads = call.attribute("pads") or [0] * (2 * n)
    around = [(0, 0), *zip(pads[:n], pads[n:], strict=True), (0, 0)]
    extents = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
    if call.attribute("ceil_mode", 0):
        for axis, (extent, stride) in enumerate(zip(extents, strides, strict=True), 1):
            before, behind = around[axis]
            around[axis] = (before, behind + -(x.shape[axis] + before + behind - extent) % stride)
    x = np.pad(x, around, constant_values=outside)
    view = np.lib.stride_tricks.sliding_window_view(x, extents, axis=tuple(range(1, n + 1)))
    every = (slice(None), *(slice(None, None, s) for s in strides), slice(None))
    return np.asarray(view[(*every, *(slice(None, None, d) for d in dilations))])


def conv(call: Call) -> Array:
    """A convolution channels last, with a kernel (spatial, channels of a group, filters)."""
    kernel, group = call.tensor(1), call.attribute("group", 1)
    *size, channels, filters = kernel.shape
    windows = _windows(call, call.tensor(0), size, 0.0)
    windows = windows.reshape(*windows.shape[: len(size) + 1], group, channels, -1)
    own = kernel.reshape(-1, channels, group, filters // group)
    y = np.einsum("...gck,kcgf->...gf", windows, own, optimize=True)
    y = y.reshape(*y.shape[:-2], filters)
    return y + call.tensor(2) if call.has(2) else y


def concat(call: Call) -> Array:
    return np.concatenate([call.tensor(i) for i in range(call.count)], call.attribute("axis"))


def max_pool(call: Call) -> Array:
    size = call.attribute("kernel_shape")
    windows = _windows(call, call.tensor(0), size, -np.inf)
    return np.asarray(windows.max(axis=tuple(range(-len(size), 0))))


def average_pool(call: Call) -> Array:
    size, x = call.attribute("kernel_shape"), call.tensor(0)
    axes = tuple(range(-len(size), 0))
    total = _windows(call, x, size, 0.0).sum(axis=axes)
    ones = np.ones_like(x) if not call.attribute("count_include_pad", 0) else None
    count = np.prod(size) if ones is None else _windows(call, ones, size, 0.0).sum(axis=axes)
    return np.asarray(total / count)


def batch_normalization(call: Call) -> Array:
    x, scale, bias, mean, variance = (call.tensor(i) for i in range(5))
    y = (x - mean) / np.sqrt(variance + call.attribute("epsilon", 1e-5)) * scale + bias
    return np.asarray(y)


def local_response(call: Call) -> Array:
    x, size = call.tensor(0), call.attribute("size")
    before = (size - 1) // 2
    squares = np.pad(np.square(x), [(0, 0)] * (x.ndim - 1) + [(before, size - 1 - before)])
    sums = np.lib.stride_tricks.sliding_window_view(squares, size, axis=-1).sum(axis=-1)
    alpha, beta = call.attribute("alpha", 1e-4), call.attribute("beta", 0.75)
    return np.asarray(x / (call.attribute("bias", 1.0) + alpha / size * sums) ** beta)


def softmax(call: Call) -> Array:
    """Over one axis, or before opset 13 over all from an axis on."""
    x = call.tensor(0)
    axis = call.attribute("axis", -1 if call.opset >= 13 else 1) % x.ndim
    axes = axis if call.opset >= 13 else tuple(range(axis, x.ndim))
    y = np.exp(x - x.max(axis=axes, keepdims=True))
    return np.asarray(y / y.sum(axis=axes, keepdims=True))


def gemm(call: Call) -> Array:
    a = call.tensor(0).T if call.attribute("transA", 0) else call.tensor(0)
    b = call.tensor(1).T if call.attribute("transB", 0) else call.tensor(1)
    y = call.attribute("alpha", 1.0) * (a @ b)
    return np.asarray(y + call.attribute("beta", 1.0) * call.tensor(2) if call.has(2) else y)


def reshape(call: Call) -> Array:
    shape = call.walk.shapes.shape(call.node.outputs[0])
    assert shape is not None
    return np.asarray(call.tensor(0).reshape([dim.number if dim.static else -1 for dim in shape]))


TABLE: Mapping[str, Callable[[Any], Any]] = {
    "Add": lambda call: call.tensor(0) + call.tensor(1),
    "Mul": lambda call: call.tensor(0) * call.tensor(1),
    "Sum": lambda call: sum(call.tensor(i) for i in range(call.count)),
    "Relu": lambda call: np.maximum(call.tensor(0), 0),
    "Min": lambda call: np.minimum(call.tensor(0), call.tensor(1)),
    "Concat": lambda call: np.concatenate(
        [call.tensor(i) for i in range(call.count)], call.attribute("axis")
    ),
    "Transpose": lambda call: call.tensor(0).transpose(call.attribute("perm")),
    "Identity": lambda call: call.walk.fact(call.value(0)),
    "Dropout": lambda call: [call.tensor(0), None],
    "GlobalAveragePool": lambda call: call.tensor(0).mean(axis=call.images.axes, keepdims=True),
    **dict.fromkeys(("Reshape", "Flatten", "Unsqueeze", "Squeeze"), reshape),
    "Conv": conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "LRN": local_response,
    "Softmax": softmax,
    "Gemm": gemm,
    "If": control.if_,
    "Loop": loops.loop,
}


class NumPy:
    """See :class:`onnx_nhwc.export.target.Target` for what the methods do."""

    name = "NumPy"
    channels_first = False

    def __init__(self, feeds: Sequence[Array]) -> None:
        self._feeds = iter(feeds)

    def begin(self, walk: Values) -> None:
        self._walk = walk

    def dtype(self, dtype: ir.DataType | None) -> str:
        return dtype_name(dtype, self.name)

    def input(self, name: str, shape: Sequence[int | None], dtype: str) -> Array:
        return next(self._feeds).astype(dtype)

    def call(
        self, node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], images: Images | None
    ) -> Call:
        return Call(self._walk, node, op_type, inputs, images)

    def mapping(self, call: Call) -> Callable[[Any], Any]:
        if call.op_type not in TABLE:
            raise UnsupportedError("there is no mapping for this operator")
        return TABLE[call.op_type]

    def finished(self, call: Call, results: list[Any]) -> list[Any]:
        return results

    def constant(self, value: ir.Value, constant: Constant) -> Array:
        return constant.array

    def tensor(self, operand: Any, dtype: str) -> Array:
        return np.asarray(operand, dtype)

    def stand_in(self, shape: Sequence[int | None], dtype: str) -> Array:
        return np.zeros([size or 1 for size in shape], dtype)

    def output(self, name: str, tensor: Any) -> Any:
        return tensor

    def model(self, outputs: Sequence[tuple[str, Any]], name: str) -> list[Array]:
        return [array for _, array in outputs]

    def scalar(self, x: Any) -> Any:
        return np.reshape(x, ())

    def choose(self, condition: Any, new: Any, old: Any) -> Any:
        return np.where(condition, new, old)

    def both(self, a: Any, b: Any) -> Any:
        return np.logical_and(a, b)

    def above(self, number: Any, limit: int) -> Any:
        return number > limit

    def stack(self, tensors: Sequence[Any], axis: int) -> Any:
        return np.stack(tensors, axis)

    def part(self, x: Any, axis: int, index: int) -> Any:
        return np.take(x, index, axis)

    def places(self, flags: Sequence[Any]) -> Any:
        return np.flatnonzero([bool(flag) for flag in flags])

    def entries(self, x: Any, places: Any) -> Any:
        return x[places]
