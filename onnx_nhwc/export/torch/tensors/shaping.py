"""Shapes: what is put where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx_nhwc.export.torch.call import Call
from onnx_nhwc.export.torch.tensor import Formed, Several
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = ["concat", "flatten", "reshape", "shape", "size", "slice_", "split", "transpose"]


def sizes_text(call: Call, dims: Sequence[Dim]) -> str:
    return ", ".join(call.size(dim) for dim in dims)


def reshape(call: Call) -> Any:
    """Reshape, Flatten, Squeeze and Unsqueeze, by the sizes that shape arithmetic tells."""
    x, dims = call.tensor(0), call.walk.shapes.shape(call.node.outputs[0])
    if dims is None:
        raise UnsupportedError("the rank of its result is unknown")
    if call.dims(0) == dims:
        return call.walk.fact(call.value(0))
    before = call.dims(0)
    if call.op_type in ("Reshape", "Flatten") and len(dims) == 2 and len(before) > 2 and before[0] == dims[0]:
        return Formed(f"{x}.flatten(1)", "nn.Flatten")
    unknown = [i for i, dim in enumerate(dims) if not dim.static]
    given = {i: f"{x}.shape[{i}]" for i in unknown if i < len(before) and before[i] == dims[i]}
    rest = [i for i in unknown if i not in given]
    texts = []
    for i, dim in enumerate(dims):
        if i in given:
            texts.append(given[i])
        elif len(rest) == 1 and i == rest[0] and not any(d.static and d.number == 0 for d in dims):
            texts.append("-1")
        else:
            texts.append(call.size(dim))
    return f"{x}.reshape({', '.join(texts)})" if texts else f"{x}.reshape(())"


def flatten(call: Call) -> Any:
    return reshape(call)


def transpose(call: Call) -> Any:
    rank = call.rank(0)
    perm = call.attribute("perm") or list(reversed(range(rank)))
    if list(perm) == list(range(rank)):
        return call.walk.fact(call.value(0))
    return f"{call.tensor(0)}.permute({', '.join(map(str, perm))})"


def concat(call: Call) -> str:
    parts = ", ".join(str(call.tensor(i)) for i in range(call.count))
    return f"torch.cat([{parts}], dim={call.attribute('axis')})"


def split(call: Call) -> Any:
    axis = call.attribute("axis", 0) % call.rank(0)
    sizes = call.integers("split", 1)
    x, count = call.tensor(0), len(call.node.outputs)
    if sizes is None:
        size = call.dims(0)[axis]
        if not size.static:
            raise UnsupportedError("it needs to know the size of the axis that it splits")
        part = -(-size.number // count)
        sizes = [min(part, size.number - i * part) for i in range(count)]
    if len(set(sizes)) == 1:
        text = f"{x}.chunk({count}, dim={axis})"
        return Several(text) if count > 1 else call.walk.fact(call.value(0))
    return Several(f"{x}.split({sizes}, dim={axis})")


def slice_(call: Call) -> Any:
    """Slice as an index; steps below 0 are turned around first."""
    rank, dims = call.rank(0), call.dims(0)
    starts, ends = call.integers("starts", 1), call.integers("ends", 2)
    axes, steps = call.integers("axes", 3), call.integers("steps", 4)
    if starts is None or ends is None:
        raise UnsupportedError("its bounds are computed at run time")
    axes = [a % rank for a in axes] if axes is not None else list(range(len(starts)))
    steps = steps or [1] * len(starts)
    keys = [":"] * rank
    flips, after = [], {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 0:
            flips.append(axis)
            if not dims[axis].static:
                raise UnsupportedError("it needs to know the size of the axis that it turns around")
            size = dims[axis].number
            start = min(start if start >= 0 else start + size, size - 1)
            end = -1 if end < -size else (end if end >= 0 else end + size)
            start, end, step = size - 1 - start, size - 1 - end, -step
        first = str(start) if start else ""
        last = "" if end >= 2**31 - 1 else str(end)
        keys[axis] = f"{first}:{last}" + (f":{step}" if step != 1 else "")
        after[axis] = step
    while keys and keys[-1] == ":":
        keys.pop()
    x = str(call.tensor(0))
    if flips:
        x = f"{x}.flip({', '.join(map(str, flips))})"
    return f"{x}[{', '.join(keys)}]" if keys else (x if flips else call.walk.fact(call.value(0)))


def shape(call: Call) -> str:
    """Shape, where it is more than arithmetic."""
    dims = call.dims(0)
    part = slice(call.attribute("start", 0), call.attribute("end"))
    return f"torch.tensor([{sizes_text(call, dims[part])}])"


def size(call: Call) -> str:
    return f"torch.tensor({call.tensor(0)}.numel())"
