"""Sequences and optional values, which exist while a model is exported only.

A sequence is a tuple of tensors, and what is done with it happens now: Keras sees its elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import Constant, Fact, Items, UnsupportedError

__all__ = [
    "at",
    "concat_from",
    "construct",
    "empty",
    "erase",
    "get_element",
    "has_element",
    "insert",
    "length",
    "optional",
    "split_to",
]

_NOTHING = Items(())
"""An optional value without an element."""


def _items(call: Call, index: int = 0) -> tuple[Fact, ...]:
    found = call.walk.fact(call.value(index))
    if not isinstance(found, Items):
        raise UnsupportedError(f"the sequence '{call.value(index).name}' is known at run time only")
    return found.items


def _position(call: Call, index: int, count: int, default: int) -> int:
    if not call.has(index):
        return default
    position = int(call.array(index, "position").reshape(-1)[0])
    return position + count if position < 0 else position


def _tensor(fact: Fact) -> Any:
    return fact.array if isinstance(fact, Constant) else fact


def empty(call: Call) -> Any:
    return Items(())


def construct(call: Call) -> Any:
    return Items(tuple(call.walk.fact(call.value(i)) for i in range(call.count)))


def at(call: Call) -> Any:
    items = _items(call)
    return items[_position(call, 1, len(items), 0)]


def insert(call: Call) -> Any:
    items = _items(call)
    place = _position(call, 2, len(items), len(items))
    return Items((*items[:place], call.walk.fact(call.value(1)), *items[place:]))


def erase(call: Call) -> Any:
    items = _items(call)
    place = _position(call, 1, len(items), len(items) - 1)
    return Items(items[:place] + items[place + 1 :])


def length(call: Call) -> Any:
    return Constant.of(np.array(len(_items(call)), np.int64))


def concat_from(call: Call) -> Any:
    """ConcatFromSequence: along an axis, or a new one."""
    items, axis = _items(call), call.attribute("axis")
    join: Any = (np.stack, ops.stack) if call.attribute("new_axis", 0) else (np.concatenate, ops.concatenate)
    arrays = [_tensor(item) for item in items]
    if all(isinstance(item, Constant) for item in items):
        return Constant.of(join[0](arrays, axis=axis))
    return join[1](arrays, axis=axis)


def split_to(call: Call) -> Any:
    """SplitToSequence: by given sizes, by one size, or into single entries."""
    x = call.tensor(0)
    rank = len(x.shape)
    axis = call.attribute("axis", 0) % rank
    size = x.shape[axis]
    if size is None:
        raise UnsupportedError("the size of the axis that it splits is not known")
    if not call.has(1):
        keys: list[Any] = [slice(i, i + 1) if call.attribute("keepdims", 1) else i for i in range(size)]
    else:
        split = call.array(1, "split")
        ends = np.cumsum(split) if split.ndim else np.arange(int(split), size + int(split), int(split))
        keys = [slice(a, min(b, size)) for a, b in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]
    return Items(tuple(x[tuple(key if i == axis else slice(None) for i in range(rank))] for key in keys))


def optional(call: Call) -> Any:
    return call.walk.fact(call.value(0)) if call.has(0) else _NOTHING


def has_element(call: Call) -> Any:
    return Constant.of(np.array(call.has(0) and call.walk.fact(call.value(0)) is not _NOTHING))


def get_element(call: Call) -> Any:
    found = call.walk.fact(call.value(0))
    if found is _NOTHING:
        raise UnsupportedError("its optional value has no element")
    return found
