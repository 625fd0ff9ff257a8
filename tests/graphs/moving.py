"""Operators that move, cut and repeat elements, and those that ask for sizes."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
from onnx import helper

from tests.graphs.builder import FLOAT, LARGEST, Builder, Value


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
