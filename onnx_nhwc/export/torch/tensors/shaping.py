"""Shapes: what is put where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx_nhwc.export.torch.call import Call, is_float, literal, torch_dtype
from onnx_nhwc.export.torch.tensor import Formed, Several
from onnx_nhwc.export.values import UnsupportedError
from onnx_nhwc.passes.algebra.layout import Dim

__all__ = [
    "center_crop_pad",
    "concat",
    "constant_of_shape",
    "depth_to_space",
    "expand",
    "flatten",
    "pad",
    "range_",
    "reshape",
    "shape",
    "size",
    "slice_",
    "space_to_depth",
    "split",
    "tile",
    "transpose",
]


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


def _numbers(call: Call, name: str, index: int) -> list[str] | None:
    """Integers, an attribute or an input, as source code: numbers, or formulas; None if not given."""
    if name not in call.node.attributes and call.has(index):
        dims = call.sizes(index)
        if dims is not None:
            return [call.size(dim) for dim in dims]
    found = call.integers(name, index)
    return None if found is None else list(map(str, found))


def _number(text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise UnsupportedError("it needs to know its bounds to turn an axis around")
    return int(text)


def split(call: Call) -> Any:
    axis = call.attribute("axis", 0) % call.rank(0)
    sizes = _numbers(call, "split", 1)
    x, count = call.tensor(0), len(call.node.outputs)
    if count == 1:
        return call.walk.fact(call.value(0))
    if sizes is None:
        size = call.dims(0)[axis]
        if not size.static:
            raise UnsupportedError("it needs to know the size of the axis that it splits")
        part = -(-size.number // count)
        sizes = [str(max(min(part, size.number - i * part), 0)) for i in range(count)]
    if len(set(sizes)) == 1 and sizes[0] not in ("0", "-0"):
        return Several(f"{x}.chunk({count}, dim={axis})")
    return Several(f"{x}.split([{', '.join(sizes)}], dim={axis})")


def slice_(call: Call) -> Any:
    """Slice as an index; steps below 0 are turned around first."""
    rank, dims = call.rank(0), call.dims(0)
    starts, ends = _numbers(call, "starts", 1), _numbers(call, "ends", 2)
    axes, steps = call.integers("axes", 3), call.integers("steps", 4)
    if starts is None or ends is None:
        raise UnsupportedError("its bounds are computed at run time")
    axes = [a % rank for a in axes] if axes is not None else list(range(len(starts)))
    steps = steps or [1] * len(starts)
    keys = [":"] * rank
    flips = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 0:
            flips.append(axis)
            keys[axis] = _turned(dims[axis], _number(start), _number(end), -step)
            continue
        far = end.isdecimal() and int(end) >= 2**31 - 1
        keys[axis] = f"{'' if start == '0' else start}:{'' if far else end}" + (
            f":{step}" if step != 1 else ""
        )
    while keys and keys[-1] == ":":
        keys.pop()
    x = str(call.tensor(0))
    if flips:
        x = f"{x}.flip({', '.join(map(str, flips))})"
    return f"{x}[{', '.join(keys)}]" if keys else (x if flips else call.walk.fact(call.value(0)))


def _turned(dim: Dim, start: int, end: int, step: int) -> str:
    """The key of an axis that is turned around."""
    if not dim.static:
        raise UnsupportedError("it needs to know the size of the axis that it turns around")
    size = dim.number
    first = min(start if start >= 0 else start + size, size - 1)
    last = -1 if end < -size else (end if end >= 0 else end + size)
    begin = f"{size - 1 - first}" if first != size - 1 else ""
    return f"{begin}:{size - 1 - last}" + (f":{step}" if step != 1 else "")


def shape(call: Call) -> str:
    """Shape, where it is more than arithmetic."""
    dims = call.dims(0)
    part = slice(call.attribute("start", 0), call.attribute("end"))
    return f"torch.tensor([{sizes_text(call, dims[part])}])"


def size(call: Call) -> str:
    return f"torch.tensor({call.tensor(0)}.numel())"


def expand(call: Call) -> Any:
    """Expand: both shapes broadcast against each other."""
    dims = call.walk.shapes.shape(call.node.outputs[0])
    if dims is None:
        raise UnsupportedError("the rank of its result is unknown")
    before = call.dims(0)
    if before == dims:
        return call.walk.fact(call.value(0))
    own = (Dim(1),) * (len(dims) - len(before)) + tuple(before)
    texts = ["-1" if a == b and i >= len(dims) - len(before) else call.size(b)
             for i, (a, b) in enumerate(zip(own, dims, strict=True))]  # fmt: skip
    return f"{call.tensor(0)}.expand({', '.join(texts)})"


def tile(call: Call) -> Any:
    dims = call.sizes(1)
    known = call.integers("repeats", 1) if dims is None else None
    if dims is None and known is None:
        raise UnsupportedError("its repeats are computed at run time")
    texts = [call.size(dim) for dim in dims] if dims is not None else list(map(str, known or ()))
    return f"{call.tensor(0)}.repeat({', '.join(texts)})"


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(call: Call) -> Any:
    """Pad; torch pads from the last axis on, and other modes than constant along few axes."""
    rank = call.rank(0)
    flat = _numbers(call, "pads", 1)
    if flat is None:
        raise UnsupportedError("its pads are computed at run time")
    axes = call.integers("axes", 3) if call.has(3) else None
    named = [a % rank for a in axes] if axes is not None else list(range(rank))
    half = len(flat) // 2
    pairs = [("0", "0")] * rank
    for i, axis in enumerate(named):
        pairs[axis] = (flat[i], flat[i + half])
    mode = call.attribute("mode", "constant")
    value = "0"
    if call.has(2):
        known = call.constant(2)
        value = str(call.tensor(2)) if known is None else literal(known.array.reshape(()).item())
    elif "value" in call.node.attributes:
        value = literal(call.attribute("value"))
    first = next((i for i, pair in enumerate(pairs) if pair != ("0", "0")), rank)
    if first == rank:
        return call.walk.fact(call.value(0))
    return _padded(call, pairs, first, mode, value)


def _padded(call: Call, pairs: list[tuple[str, str]], first: int, mode: str, value: str) -> Any:
    x, rank = str(call.tensor(0)), call.rank(0)
    listed = ", ".join(n for pair in reversed(pairs[first:]) for n in pair)
    if mode == "constant":
        if value.startswith("§"):
            value = f"{value}.item()"
        more = "" if value in ("0", "0.0") else f", value={value}"
        if call.dtype(0) == "bool":
            return f"F.pad({x}.int(), ({listed}){more}).bool()"
        return f"F.pad({x}, ({listed}){more})"
    if (
        any(n.startswith("-") for pair in pairs for n in pair)
        or rank - first > 3
        or not is_float(call.dtype(0))
    ):
        raise UnsupportedError(f"PyTorch pads in the mode '{mode}' along three axes of floats, and cuts none")
    spatial = max(rank - first, 1)
    pairs = pairs[-spatial:]
    listed = ", ".join(n for pair in reversed(pairs) for n in pair)
    text = f'F.pad({{}}, ({listed}), mode="{_MODES[mode]}")'
    if rank - spatial in (1, 2):
        return text.format(x)
    lead = f"{x}.flatten(0, {rank - spatial - 1})" if rank > spatial else f"{x}.unsqueeze(0)"
    padded = call.step(text.format(lead), call.dtype(0), ())
    if rank == spatial:
        return f"{padded}.squeeze(0)"
    return f"{padded}.unflatten(0, {x}.shape[:{rank - spatial}])"


def center_crop_pad(call: Call) -> Any:
    rank, dims = call.rank(0), call.dims(0)
    sizes, axes = call.integers("shape", 1), call.attribute("axes")
    if sizes is None:
        raise UnsupportedError("its sizes are computed at run time")
    named = [a % rank for a in axes] if axes is not None else list(range(rank))
    pairs = [(0, 0)] * rank
    for axis, target in zip(named, sizes, strict=True):
        if not dims[axis].static:
            raise UnsupportedError("it needs to know the sizes that it crops")
        more = target - dims[axis].number
        before = more // 2 if more > 0 else -(-more // 2)
        pairs[axis] = (before, more - before)
    listed = ", ".join(str(n) for pair in reversed(pairs) for n in pair)
    return f"F.pad({call.tensor(0)}, ({listed}))"


def constant_of_shape(call: Call) -> str:
    dims = call.sizes(0)
    if dims is None:
        raise UnsupportedError("its shape is computed at run time")
    given = call.attribute("value")
    number = given.numpy().reshape(()).item() if given is not None else 0.0
    dtype = torch_dtype(call.out_dtype())
    shape = f"({sizes_text(call, dims)}{',' if len(dims) == 1 else ''})"
    return f"torch.full({shape}, {literal(number)}, dtype={dtype})"


def range_(call: Call) -> str:
    start, limit, step = (operand_text(call, i) for i in range(3))
    return f"torch.arange({start}, {limit}, {step}, dtype={torch_dtype(call.out_dtype())})"


def operand_text(call: Call, index: int) -> str:
    """A scalar as a number of Python."""
    known, dims = call.constant(index), call.sizes(index)
    if known is not None:
        return literal(known.array.reshape(()).item())
    if dims is not None and len(dims) == 1:
        return call.size(dims[0])
    return f"{call.tensor(index)}.item()"


def depth_to_space(call: Call) -> Any:
    """DepthToSpace: channels before blocks are a PixelShuffle."""
    block, x = call.attribute("blocksize"), call.tensor(0)
    if call.attribute("mode", "DCR") == "CRD":
        return Formed(f"F.pixel_shuffle({x}, {block})", "nn.PixelShuffle", (("upscale_factor", block),), 1)
    parts = f"{x}.unflatten(1, ({block}, {block}, -1))"
    return f"{parts}.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)"


def space_to_depth(call: Call) -> str:
    block, x = call.attribute("blocksize"), call.tensor(0)
    parts = f"{x}.unflatten(3, (-1, {block})).unflatten(2, (-1, {block}))"
    return f"{parts}.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)"
