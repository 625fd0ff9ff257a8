"""Reshape, also where several sizes are known at run time only.

``keras.ops.reshape`` takes one unknown size, ``layers.Reshape`` the batch and one more. Beyond
that, a merge or split of known sizes is a Concatenate or Stack, and what is left is a Gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes.algebra.layout import ONE, Dim, product
from onnx_nhwc.passes.rules.views import resolve

__all__ = ["expand", "reshape", "reshape_to", "squeeze", "unsqueeze"]

Dims = tuple[Dim, ...]


def reshape(call: Call) -> Any:
    """Reshape, Flatten, and whatever else regroups axes."""
    x = call.tensor(0)
    known = _resolved(call) or call.walk.shapes.shape(call.node.outputs[0])
    if _computed(call, known):
        known = _merged(_target(call), known)
    regrouped = call.parts.regrouped.get(call.value(0))
    if known is not None and regrouped is not None and regrouped[0] == known:
        return regrouped[1]
    target = _stated(call, x)
    if target is not None and sum(size is None for size in target) <= 1:
        sizes = tuple(-1 if size is None else size for size in target)
        if known is None or sum(not dim.static for dim in known) <= 1:
            return _plain(x, sizes)
    if target and _copies_batch(call) and sum(size is None for size in target[1:]) <= 1:
        return _layer(call, x, tuple(-1 if size is None else size for size in target[1:]))
    if known is None:
        raise UnsupportedError("its result's sizes are not known")
    return reshape_to(call, x, call.dims(0), known)


def _computed(call: Call, known: Dims | None) -> bool:
    """Does only run time tell the target, and no declared sizes?"""
    unclear = known is None or not all(dim.static for dim in known)
    return unclear and call.has(1) and call.sizes(1) is None and call.constant(1) is None


def _target(call: Call) -> Dims:
    """The target, computed: 0 and -1 replaced by what they stand for."""
    sizes, before = call.parts.sizes, call.dims(0)
    found = [sizes.length(dim) for dim in sizes.integers(call.value(1))]
    if not call.attribute("allowzero", 0):
        own = [sizes.length(dim) for dim in before]
        found = [ops.where(ops.equal(n, 0), own[i], n) if i < len(own) else n for i, n in enumerate(found)]
    stated = ops.prod(ops.stack([ops.where(ops.less(n, 0), 1, n) for n in found]))
    rest = ops.floor_divide(sizes.length(product(before)), ops.maximum(stated, 1))
    return tuple(sizes.name(ops.where(ops.less(n, 0), rest, n)) for n in found)


def _merged(computed: Dims, declared: Dims | None) -> Dims:
    """Numbers where they are declared."""
    if declared is None:
        return computed
    return tuple(b if b.static else a for a, b in zip(computed, declared, strict=True))


def _copies_batch(call: Call) -> bool:
    """Does the target begin with the size that the input begins with?"""
    found, before = call.sizes(1), call.dims(0)
    if not found or not before:
        return False
    return found[0] == before[0] or (found[0] == Dim(0) and not call.attribute("allowzero", 0))


def _layer(call: Call, x: Any, target: tuple[int, ...]) -> Any:
    name = call.walk.names.unique(f"{call.name()}_reshape")
    return call.parts.keep(layers.Reshape(target, name=name, dtype=x.dtype))(x)


def _resolved(call: Call) -> Dims | None:
    """The target as shape arithmetic tells it, with 0 and -1 replaced by what they stand for."""
    found = call.sizes(1) if call.op_type == "Reshape" else None
    if found is None:
        return None
    before = call.dims(0)
    copies = not call.attribute("allowzero", 0)
    copied = [
        before[i] if dim.number == 0 and copies and i < len(before) else dim for i, dim in enumerate(found)
    ]
    if all(dim.number > 0 for dim in copied):
        return tuple(copied)
    return resolve(product(before), copied)


def _stated(call: Call, x: Any) -> list[int | None] | None:
    """The target as it is written down; None for a size that is not."""
    if call.op_type != "Reshape":
        return None
    found = call.sizes(1)
    if found is None:
        constant = call.constant(1)
        if constant is None:
            return None
        found = tuple(Dim(int(v)) for v in constant.array.reshape(-1))
    target: list[int | None] = []
    for axis, dim in enumerate(found):
        number: int | None = dim.number if dim.static else None
        if number == 0 and not call.attribute("allowzero", 0):
            number = x.shape[axis]
        target.append(None if number == -1 else number)
    return target


def _plain(x: Any, sizes: tuple[int, ...]) -> Any:
    if -1 not in sizes and None in x.shape:
        total = [s for s in sizes if s > 1]
        if total:  # a size that is not known stays so
            return ops.reshape(x, sizes)
    return x if tuple(x.shape) == sizes else ops.reshape(x, sizes)


def reshape_to(call: Call, x: Any, before: Dims, after: Dims) -> Any:
    """Regroup the axes of ``x`` from sizes ``before`` to sizes ``after``."""
    if before == after:
        return x
    if sum(not dim.static for dim in after) <= 1:
        return ops.reshape(x, tuple(dim.number if dim.static else -1 for dim in after))
    rest = sum(not dim.static for dim in after[1:])
    if before and before[0] == after[0] and rest <= 1:
        target = tuple(dim.number if dim.static else -1 for dim in after[1:])
        return _layer(call, x, target)
    plain = [dim for dim in before if dim != ONE]
    if plain == [dim for dim in after if dim != ONE]:
        old, new = ([i for i, dim in enumerate(dims) if dim == ONE] for dims in (before, after))
        x = ops.squeeze(x, axis=tuple(old)) if old else x  # no axes would be all of them
        return ops.expand_dims(x, axis=tuple(new)) if new else x
    return _middle(call, x, before, after)


def _middle(call: Call, x: Any, before: Dims, after: Dims) -> Any:
    """Leave the axes in front and behind that stay as they are alone."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if all(dim.static for dim in (*old, *new)) and product(old) == product(new):
        return _regroup(x, start, [d.number for d in old], [d.number for d in new])
    if len(old) == 1 and old[0] == product(new):
        return ops.take(x, index(call, new), axis=start)
    flat = ops.reshape(x, (-1,))
    return ops.take(flat, index(call, after), axis=0)


def _regroup(x: Any, start: int, old: Sequence[int], new: Sequence[int]) -> Any:
    """Merge known axes by Concatenate, then split them by Stack."""
    for _ in range(len(old) - 1):
        parts = ops.unstack(x, axis=start)
        x = ops.concatenate(parts, axis=start)
    for size in new[:-1]:
        parts = ops.split(x, size, axis=start)
        x = ops.stack(parts, axis=start)
        start += 1
    return x


def index(call: Call, dims: Sequence[Dim]) -> Any:
    """The row-major index of every element of a shape, int32."""
    total: Any = None
    stride: Any = 1
    for axis in reversed(range(len(dims))):
        shape = tuple(-1 if i == axis else 1 for i in range(len(dims)))
        places = call.parts.sizes.range(dims[axis])
        if isinstance(places, keras.KerasTensor):
            places = ops.reshape(places, shape)
        else:
            places = places.reshape(shape)
        step = stride if isinstance(stride, int) and stride == 1 else None
        term = places if step is not None else ops.multiply(places, stride)
        total = term if total is None else plus(term, total)
        length = call.parts.sizes.length(dims[axis])
        both = isinstance(stride, int) and isinstance(length, int)
        stride = stride * length if both else ops.multiply(length, stride)
    return total


def squeeze(call: Call) -> Any:
    known = call.walk.shapes.shape(call.node.outputs[0])
    x = call.tensor(0)
    if known is not None and None not in x.shape:
        return reshape(call)
    axes = call.integers("axes", 1)
    if axes is None and None in x.shape:
        raise UnsupportedError("which axes it drops is known at run time only")
    return ops.squeeze(x, axis=tuple(axes) if axes else None)


def unsqueeze(call: Call) -> Any:
    x, after = call.tensor(0), call.result()
    if "axes" not in call.node.attributes and call.constant(1) is None and after is not None:
        return ops.reshape(x, after)
    axes = call.integers("axes", 1) or []
    rank = len(x.shape) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = ops.expand_dims(x, axis=axis)
    return x


def expand(call: Call) -> Any:
    """Expand to sizes that may be known at run time only."""
    known = call.walk.shapes.shape(call.node.outputs[0])
    x = call.x(0)
    target = call.sizes(1)
    constant = call.constant(1)
    if constant is not None:
        target = tuple(Dim(int(v)) for v in constant.array.reshape(-1))
    if _computed(call, known):
        target = call.parts.sizes.integers(call.value(1))
        target = (ONE,) * (call.rank(0) - len(target)) + target
        return add_zeros(x, call.parts.sizes.grid(_merged(target, known)), call.out_dtype())
    if target is not None:
        known = _broadcast(call.dims(0), target)
    if known is None:
        raise UnsupportedError("its result's sizes are not known")
    shape = tuple(dim.number if dim.static else None for dim in known)
    sizes = tuple(np.shape(x)) if not isinstance(x, keras.KerasTensor) else tuple(x.shape)
    if sizes == shape and isinstance(x, keras.KerasTensor):
        return x
    if None not in shape:
        return ops.broadcast_to(call.tensor(0), shape)
    padded = (*[1] * (len(shape) - len(sizes)), *sizes)
    wanted = [d if p == 1 else ONE for d, p in zip(known, padded, strict=True)]
    dtype = call.out_dtype()
    return add_zeros(x, call.parts.sizes.grid(wanted), dtype)


def _broadcast(a: Dims, b: Dims) -> Dims:
    rank = max(len(a), len(b))
    a, b = ((ONE,) * (rank - len(d)) + d for d in (a, b))
    return tuple(q if p == ONE else p for p, q in zip(a, b, strict=True))


def add_zeros(x: Any, zeros: Any, dtype: str) -> Any:
    """Broadcast ``x`` to the shape of ``zeros`` as well."""
    if dtype == "bool":
        return ops.logical_or(ops.cast(zeros, "bool"), x)
    return plus(ops.cast(zeros, dtype), x)
