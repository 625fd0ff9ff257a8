"""Gather, Scatter, and what picks elements by number."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call, is_float
from onnx_nhwc.export.keras.tensors.reshaping import reshape_to
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes.algebra.layout import product


def positive(call: Call, index: int, size: int | None) -> Any:
    """Indices, those that count from behind made to count from the front."""
    known = call.constant(index)
    if known is not None:
        array = known.array
        if (array < 0).any() and size is None:
            if array.ndim == 0:
                return int(array)
            raise UnsupportedError("a negative index needs to know the axis' size")
        if (array < 0).any():
            array = np.where(array < 0, array + size, array)
        return array.item() if array.ndim == 0 else array.astype(np.int32)
    x = call.tensor(index)
    if size is None:
        return x
    return ops.where(ops.less(x, 0), plus(x, size), x)


def gather(call: Call) -> Any:
    """Gather; of a weight by numbers that are computed, it is an Embedding."""
    table = call.constant(0)
    rank = len(table.shape) if table is not None else call.rank(0)
    axis = call.attribute("axis", 0) % rank
    if table is not None and len(table.shape) == 2 and axis == 0 and is_float(table.dtype):
        rows, columns = table.shape
        layer = call.layer(
            layers.Embedding, 0, input_dim=rows, output_dim=columns,
            embeddings_initializer="zeros", trainable=table.trainable, dtype=table.dtype,
        )  # fmt: skip
        y = layer(positive(call, 1, rows))
        call.assign(layer.embeddings, call.loader(0))
        return y
    size = call.shape(0)[axis]
    indices = positive(call, 1, size)
    if isinstance(indices, int) and call.constant(0) is None:
        key = [slice(None)] * rank + [indices]
        key[axis] = key.pop()
        return call.tensor(0)[tuple(key)]
    if rank == 3 and axis == 1 and size and np.ndim(indices) == 1 and call.constant(1) is not None:
        factor = len(indices) // size
        if factor > 1 and np.array_equal(indices, np.repeat(np.arange(size), factor)):
            return call.layer(layers.UpSampling1D, size=factor)(call.tensor(0))
    return ops.take(call.x(0), indices, axis=axis)


def gather_elements(call: Call) -> Any:
    """GatherElements; indices may be smaller than the data along the other axes."""
    x = call.tensor(0)
    axis = call.attribute("axis", 0) % len(x.shape)
    indices = positive(call, 1, x.shape[axis])
    if not isinstance(indices, keras.KerasTensor):
        indices = np.asarray(indices)
    key = tuple(
        slice(None) if i == axis or size == indices.shape[i] else slice(0, indices.shape[i])
        for i, size in enumerate(x.shape)
    )
    x = x if all(part == slice(None) for part in key) else x[key]
    return ops.take_along_axis(x, indices, axis=axis)


def gather_nd(call: Call) -> Any:
    """GatherND: the indices become one, into data with the indexed axes merged."""
    dims = call.dims(0)
    batch = call.attribute("batch_dims", 0)
    indices = ops.cast(call.tensor(1), "int32")
    depth = indices.shape[-1]
    if depth is None:
        raise UnsupportedError("the number of axes that it indexes is not known")
    read = call.parts.sizes.length
    flat: Any = None
    for i in range(depth):
        size = read(dims[batch + i])
        part = indices[..., i]
        part = ops.where(ops.less(part, 0), plus(part, size), part)
        flat = part if flat is None else plus(ops.multiply(flat, size), part)
    if batch:
        shape = call.static(0)
        lead = np.arange(int(np.prod(shape[:batch])), dtype=np.int32).reshape(shape[:batch])
        lead = lead * int(np.prod(shape[batch : batch + depth]))
        flat = plus(flat, lead.reshape(*shape[:batch], *[1] * (len(flat.shape) - batch)))
    merged = (product(dims[: batch + depth]), *dims[batch + depth :])
    return ops.take(reshape_to(call, call.tensor(0), dims, merged), flat, axis=0)


def scatter_nd(call: Call) -> Any:
    """ScatterND with every reduction."""
    x, indices, updates = (call.tensor(i) for i in range(3))
    shape = call.static(0)
    depth = indices.shape[-1]
    indices = ops.cast(indices, "int64")
    sizes = np.array(shape[:depth], np.int64)
    indices = ops.where(ops.less(indices, 0), plus(indices, sizes), indices)
    tail = shape[depth:]
    places = ops.reshape(indices, (-1, depth))
    values = ops.reshape(updates, (-1, *tail))
    return _scattered(call, x, places, values)


def _scattered(call: Call, x: Any, places: Any, values: Any) -> Any:
    reduction = call.attribute("reduction", "none")
    names = {"none": None, "add": "add", "mul": "mul", "max": "max", "min": "min"}
    if x.dtype == "bool":
        done = ops.scatter_update(ops.cast(x, "int32"), places, ops.cast(values, "int32"), names[reduction])
        return ops.not_equal(done, 0)
    return ops.scatter_update(x, places, values, names[reduction])


def scatter_elements(call: Call) -> Any:
    """ScatterElements: one update for every element of the indices."""
    x, updates = call.tensor(0), call.tensor(2)
    shape = call.static(0)
    axis = call.attribute("axis", 0) % len(shape)
    if call.op_type == "Scatter":
        axis = call.attribute("axis", 0) % len(shape)
    indices = ops.cast(call.tensor(1), "int64")
    indices = ops.where(ops.less(indices, 0), plus(indices, shape[axis]), indices)
    if None in indices.shape:
        raise UnsupportedError("the size of its indices is not known")
    grids = np.indices(indices.shape).astype(np.int64)
    columns = []
    for i in range(len(shape)):
        if i == axis:
            columns.append(ops.reshape(indices, (-1, 1)))
        else:
            columns.append(grids[i].reshape(-1, 1))
    places = ops.concatenate(columns, axis=-1) if len(columns) > 1 else columns[0]
    return _scattered(call, x, places, ops.reshape(updates, (-1,)))


def tensor_scatter(call: Call) -> Any:
    """TensorScatter: a cache, with an update from a place of each sample's own on."""
    past, update = call.tensor(0), call.tensor(1)
    rank = len(past.shape)
    axis = call.attribute("axis", -2) % rank
    size, length = past.shape[axis], update.shape[axis]
    if size is None or length is None:
        raise UnsupportedError("it needs to know the sizes of the axis that it writes along")
    along = tuple(-1 if i == axis else 1 for i in range(rank))
    places: Any = np.arange(size, dtype=np.int32).reshape(along)
    if call.has(2):
        starts = ops.reshape(ops.cast(call.tensor(2), "int32"), (-1, *[1] * (rank - 1)))
        places = ops.subtract(places, starts)
    else:
        places = plus(ops.cast(call.parts.zero(), "int32"), places)
    if call.attribute("mode", "linear") == "circular":
        places = ops.mod(places, size)
    inside = ops.logical_and(ops.greater_equal(places, 0), ops.less(places, length))
    written = ops.take_along_axis(update, ops.clip(places, 0, length - 1), axis=axis)
    return ops.where(inside, written, past)


def one_hot(call: Call) -> Any:
    """OneHot; numbers outside of the range give no hot element."""
    x = call.tensor(0)
    depth = (call.integers("depth", 1) or [0])[0]
    axis = call.attribute("axis", -1) % (len(x.shape) + 1)
    x = x if not is_float(x.dtype) else ops.cast(x, "int64")
    x = ops.where(ops.less(x, 0), plus(x, depth), x)
    shape = [1] * (len(x.shape) + 1)
    shape[axis] = depth
    steps = np.arange(depth, dtype=x.dtype).reshape(shape)
    hot = ops.equal(ops.expand_dims(x, axis), steps)
    values = call.tensor(2)
    off, on = values[0], values[1]
    return ops.where(hot, on, off)


def trilu(call: Call) -> Any:
    x = call.tensor(0)
    upper = call.attribute("upper", 1)
    *_, rows, columns = call.walk.dims(call.value(0)) or ()
    if rows.static and columns.static:
        diagonal: Any = np.arange(columns.number)[None, :] - np.arange(rows.number)[:, None]
    else:
        row, column = (call.parts.sizes.range(dim) for dim in (rows, columns))
        diagonal = ops.subtract(ops.expand_dims(column, 0), ops.expand_dims(row, 1))
    if call.has(1) and call.constant(1) is None:
        k = ops.reshape(call.tensor(1), (1, 1))
        mask: Any = (ops.less_equal if upper else ops.greater_equal)(k, diagonal)
    else:
        first = int(call.array(1, "k").reshape(-1)[0]) if call.has(1) else 0
        mask = diagonal >= first if upper else diagonal <= first
    return ops.where(mask, x, ops.zeros_like(x))


def eye_like(call: Call) -> Any:
    rows, columns = call.static(0)
    k = call.attribute("k", 0)
    eye = np.eye(rows, columns, k).astype(call.out_dtype())
    zero = ops.cast(call.parts.zero(), call.out_dtype())
    return ops.logical_or(zero, eye) if eye.dtype == bool else plus(zero, eye)


def reverse_sequence(call: Call) -> Any:
    """ReverseSequence: each sequence's own places, counted backwards as far as it goes."""
    x = call.tensor(0)
    time, batch = call.attribute("time_axis", 0), call.attribute("batch_axis", 1)
    rank = len(x.shape)
    steps = x.shape[time]
    if steps is None or x.shape[batch] is None:
        raise UnsupportedError("it needs to know the sizes of time and batch")

    def along(axis: int) -> tuple[int, ...]:
        return tuple(-1 if i == axis else 1 for i in range(rank))

    lengths = ops.reshape(ops.cast(call.tensor(1), "int32"), along(batch))
    places = np.arange(steps, dtype=np.int32).reshape(along(time))
    turned = ops.subtract(ops.subtract(lengths, 1), places)
    places = ops.where(ops.less(places, lengths), turned, places)
    return ops.take_along_axis(x, ops.broadcast_to(places, x.shape), axis=time)


def det(call: Call) -> Any:
    return ops.det(call.tensor(0))
