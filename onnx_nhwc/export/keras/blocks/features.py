"""Features that pipelines compute before a network: mel filters, counts of n-grams."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from keras import ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = ["mel_weight_matrix", "tf_idf"]


def mel_weight_matrix(call: Call) -> Any:
    """Triangles over a spectrum's bins, (bins, mels); its five settings may be computed.

    The edges of the triangles are whole bins, evenly spaced in mel(f) = 2595 log10(1 + f / 700).
    """
    mels, length, rate, low, high = (ops.cast(ops.reshape(call.tensor(i), ()), "float32") for i in range(5))
    after, sizes = call.result(), call.parts.sizes
    if after is None:
        bins = sizes.name(ops.cast(plus(ops.floor_divide(length, 2.0), 1.0), "int32"))
        rows, columns = bins, sizes.name(ops.cast(mels, "int32"))
    else:
        rows, columns = (Dim(size) for size in after)
    first, last = (ops.multiply(ops.log10(plus(ops.multiply(f, 1 / 700), 1.0)), 2595.0) for f in (low, high))
    step = ops.divide(ops.subtract(last, first), plus(mels, 2.0))
    column = ops.cast(sizes.range(columns), "float32")

    def edge(shift: float) -> Any:
        mel = plus(ops.multiply(plus(column, shift), step), first)
        hertz = ops.multiply(ops.subtract(ops.power(10.0, ops.multiply(mel, 1 / 2595)), 1.0), 700.0)
        return ops.expand_dims(ops.floor_divide(ops.multiply(plus(length, 1.0), hertz), rate), 0)

    lower, center, higher = (edge(shift) for shift in (0.0, 1.0, 2.0))
    row = ops.expand_dims(ops.cast(sizes.range(rows), "float32"), 1)
    width = ops.subtract(center, lower)
    rising = ops.divide(ops.subtract(row, lower), ops.maximum(width, 1.0))
    rising = ops.where(ops.equal(width, 0.0), ops.ones_like(rising), rising)
    falling = ops.divide(ops.subtract(higher, row), ops.maximum(ops.subtract(higher, center), 1.0))
    up = ops.logical_and(ops.greater_equal(row, lower), ops.less_equal(row, center))
    down = ops.logical_and(ops.greater_equal(row, center), ops.less(row, higher))
    zero = ops.zeros_like(rising)
    return call.cast(ops.where(down, falling, ops.where(up, rising, zero)), call.out_dtype())


def tf_idf(call: Call) -> Any:
    """TfIdfVectorizer of whole numbers: how often each n-gram of a pool stands in each row."""
    pool = call.attribute("pool_int64s")
    if pool is None:
        raise UnsupportedError("Keras has no tensors of strings")
    x = call.tensor(0)
    if x.shape[-1] is None:
        raise UnsupportedError("how many tokens it reads is known at run time only")
    rank, rows = len(x.shape), ops.cast(ops.reshape(x, (-1, x.shape[-1])), call.dtype(0))
    shortest, longest, skips = (
        call.attribute(name) for name in ("min_gram_length", "max_gram_length", "max_skip_count")
    )
    places = np.array(call.attribute("ngram_indexes"))
    starts = [*call.attribute("ngram_counts"), len(pool)]
    total: Any = ops.zeros_like(rows[:, :1], dtype="float32")
    seen = 0
    for length, (start, end) in enumerate(itertools.pairwise(starts), 1):
        grams = np.array(pool[start:end], call.dtype(0)).reshape(-1, length)
        mine = places[seen : seen + len(grams)]
        seen += len(grams)
        if not len(grams) or not shortest <= length <= longest:
            continue
        counts = _counted(rows, grams, range(skips + 1 if length > 1 else 1))
        if counts is not None:
            total = plus(ops.matmul(counts, np.eye(places.max() + 1, dtype=np.float32)[mine]), total)
    total = _weighed(call, total, places)
    return ops.reshape(total, (-1,)) if rank == 1 else total


def _counted(rows: Any, grams: Any, skips: range) -> Any:
    """How often each of ``grams`` (number, length) stands in each of ``rows``: (rows, number)."""
    found: Any = None
    for skip in skips:
        windows = rows.shape[1] - (grams.shape[1] - 1) * (skip + 1)
        if windows <= 0:
            break
        equal: Any = None
        for k in range(grams.shape[1]):
            first = k * (skip + 1)
            token = ops.expand_dims(rows[:, first : first + windows], 2)
            same = ops.equal(token, grams[:, k].reshape(1, 1, -1))
            equal = same if equal is None else ops.logical_and(equal, same)
        counted = ops.sum(ops.cast(equal, "float32"), axis=1)
        found = counted if found is None else plus(found, counted)
    return found


def _weighed(call: Call, counts: Any, places: Any) -> Any:
    mode = call.attribute("mode")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    columns = int(places.max()) + 1
    counts = plus(counts, np.zeros((1, columns), np.float32))
    if mode == "TF":
        return counts
    weights = np.ones(columns, np.float32)
    weights[places] = call.attribute("weights") or 1.0
    return ops.multiply(ops.minimum(counts, 1.0) if mode == "IDF" else counts, weights)
