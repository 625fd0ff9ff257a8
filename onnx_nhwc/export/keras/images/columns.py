"""Col2Im: columns, each a window of an image, are added up to the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.keras.tensors.reshaping import reshape_to
from onnx_nhwc.passes.algebra.layout import Dim, product

__all__ = ["col_to_image"]


def col_to_image(call: Call) -> Any:
    """Col2Im: every column is added where it came from, shifted copy by shifted copy."""
    block = call.integers("block_shape", 2)
    assert block is not None
    if call.constant(1) is None and call.sizes(1) is None and call.determined("image_shape") is None:
        return _at_run_time(call, block)
    sizes = call.integers("image_shape", 1)
    assert sizes is not None
    n = len(sizes)
    strides = call.attribute("strides") or [1] * n
    dilations = call.attribute("dilations") or [1] * n
    pads = call.attribute("pads") or [0] * (2 * n)
    full = [s + pads[i] + pads[i + n] for i, s in enumerate(sizes)]
    counts = [(full[i] - (block[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(n)]
    x = call.tensor(0)
    channels = x.shape[1] // int(np.prod(block))
    # Each element of a column is a pixel of the padded image, or several are the same one.
    places = np.zeros([*block, *counts], np.int32)
    for axis in range(n):
        steps = np.add.outer(np.arange(block[axis]) * dilations[axis],
                             np.arange(counts[axis]) * strides[axis])  # fmt: skip
        shape = [1] * (2 * n)
        shape[axis], shape[n + axis] = steps.shape
        places = places * full[axis] + steps.reshape(shape)
    one_hot = np.zeros((places.size, int(np.prod(full))), np.float32)
    one_hot[np.arange(places.size), places.reshape(-1)] = 1.0
    inside = one_hot.reshape(-1, *full)[
        (slice(None), *[slice(pads[i], pads[i] + sizes[i]) for i in range(n)])
    ].reshape(places.size, -1)
    flat = ops.reshape(x, (-1, channels, places.size))
    image = ops.matmul(flat, inside.astype(x.dtype))
    return ops.reshape(image, (-1, channels, *sizes))


def _at_run_time(call: Call, block: list[int]) -> Any:
    """The same of an image whose size is computed: a matrix says which element goes to which pixel."""
    sizes, n = call.parts.sizes, len(block)
    strides = call.attribute("strides") or [1] * n
    dilations = call.attribute("dilations") or [1] * n
    pads = call.attribute("pads") or [0] * (2 * n)
    image = sizes.integers(call.value(1))
    place: Any = 0
    inside: Any = True
    for axis, size in enumerate(image):
        length = sizes.length(size)
        reach = pads[axis] + pads[axis + n] - (block[axis] - 1) * dilations[axis] - 1
        count = sizes.name(plus(ops.floor_divide(plus(length, reach), strides[axis]), 1))
        own = np.arange(block[axis], dtype=np.int32).reshape(-1, *[1] * (2 * n - 1 - axis))
        turns = ops.reshape(sizes.range(count), (-1, *[1] * (n - 1 - axis)))
        step = plus(ops.multiply(turns, strides[axis]), own * dilations[axis] - pads[axis])
        inside = ops.logical_and(inside, ops.logical_and(ops.greater_equal(step, 0), ops.less(step, length)))
        place = plus(ops.multiply(place, length), step)
    pixels = sizes.range(product(image))
    places = ops.reshape(ops.where(inside, place, -1), (-1, 1))
    x, (batch, columns, windows) = call.tensor(0), call.dims(0)
    channels = Dim(columns.number // int(np.prod(block)))
    before, after = (batch, columns, windows), (batch, channels, Dim(int(np.prod(block))) * windows)
    flat = reshape_to(call, x, before, after)
    matrix = ops.cast(ops.equal(places, ops.reshape(pixels, (1, -1))), x.dtype)
    y = ops.matmul(flat, matrix)
    return reshape_to(call, y, (batch, channels, product(image)), (batch, channels, *image))
