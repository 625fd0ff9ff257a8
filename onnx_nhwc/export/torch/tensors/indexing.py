"""Picking elements, and writing them."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_nhwc.export.torch.call import Call, torch_dtype
from onnx_nhwc.export.values import UnsupportedError

__all__ = [
    "compress",
    "det",
    "eye_like",
    "gather",
    "gather_elements",
    "gather_nd",
    "non_zero",
    "one_hot",
    "reverse_sequence",
    "scatter_elements",
    "scatter_nd",
    "trilu",
    "unique",
]


def gather(call: Call) -> Any:
    """Gather: one place is a selection, a table of floats an Embedding."""
    rank = call.rank(0)
    axis = call.attribute("axis", 0) % rank
    known, table = call.constant(1), call.constant(0)
    if known is not None and not known.shape:
        return f"{call.tensor(0)}.select({axis}, {int(known.array)})"
    if table is not None and table.trainable and len(table.shape) == 2 and axis == 0 and known is None:
        rows, columns = table.shape
        arguments = [("num_embeddings", rows), ("embedding_dim", columns)]
        module = call.module("nn.Embedding", arguments, 2, {"weight": call.loader(0)}, 0)
        return f"{module}({call.tensor(1)})"
    x, prefix = call.tensor(0), ":, " * axis
    if known is not None:
        places = known.array
        if places.ndim == 1 and places.size <= 16:
            return f"{x}[{prefix}{places.tolist()}]"
        return f"{x}[{prefix}{call.tensor(1)}]"
    index = call.tensor(1)
    return f"{x}[{prefix}{index}]"


def _places(call: Call, index: int, size: str) -> str:
    """Indices counted from the front."""
    known = call.constant(index)
    places = str(call.tensor(index))
    if call.dtype(index) != "int64":
        places = f"{places}.long()"
    if known is not None and known.size and int(known.array.min()) >= 0:
        return places
    return f"{places} % {size}"


def gather_elements(call: Call) -> str:
    axis = call.attribute("axis", 0) % call.rank(0)
    x = call.tensor(0)
    return f"torch.gather({x}, {axis}, {_places(call, 1, f'{x}.shape[{axis}]')})"


def gather_nd(call: Call) -> str:
    """GatherND: the last axis of the indices names axes of the data, behind those of the batch."""
    batch = call.attribute("batch_dims", 0)
    x, index = call.tensor(0), call.tensor(1)
    depth, rank = call.shape(1)[-1], call.rank(1)
    if depth is None:
        raise UnsupportedError("how many axes it picks along is known at run time only")
    keys = []
    for axis in range(batch):
        wide = ["1"] * (rank - 1)
        wide[axis] = "-1"
        keys.append(f"torch.arange({x}.shape[{axis}]).reshape({', '.join(wide)})")
    keys += [f"{index}[..., {i}]" for i in range(depth)]
    return f"{x}[{', '.join(keys)}]"


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def scatter_elements(call: Call) -> str:
    axis = call.attribute("axis", 0) % call.rank(0)
    x, values = call.tensor(0), call.tensor(2)
    places = _places(call, 1, f"{x}.shape[{axis}]")
    reduction = call.attribute("reduction", "none")
    if reduction == "none":
        return f"torch.scatter({x}, {axis}, {places}, {values})"
    return f'torch.scatter_reduce({x}, {axis}, {places}, {values}, "{_REDUCTIONS[reduction]}")'


def scatter_nd(call: Call) -> str:
    """ScatterND: what is written at each place; sums are what torch accumulates."""
    x, index, values = call.tensor(0), call.tensor(1), call.tensor(2)
    depth = call.shape(1)[-1]
    if depth is None:
        raise UnsupportedError("how many axes it writes along is known at run time only")
    keys = ", ".join(f"{index}[..., {i}]" for i in range(depth))
    reduction = call.attribute("reduction", "none")
    if reduction not in ("none", "add"):
        return _scattered_flat(call, depth, reduction)
    more = ", accumulate=True" if reduction == "add" else ""
    return f"torch.index_put({x}, ({keys},), {values}{more})"


def _scattered_flat(call: Call, depth: int, reduction: str) -> str:
    x, index, values = call.tensor(0), call.tensor(1), call.tensor(2)
    flat = " + ".join(
        f"{index}[..., {i}] % {x}.shape[{i}] * {x}.shape[{i + 1}:{depth}].numel()" for i in range(depth)
    )
    rest = f"{x}.reshape(-1, {x}.shape[{depth}:].numel())"
    places = f"({flat}).reshape(-1, 1).expand(-1, {x}.shape[{depth}:].numel())"
    rows = f"{values}.reshape({places}.shape)"
    name = _REDUCTIONS[reduction]
    return f'{rest}.scatter_reduce(0, {places}, {rows}, "{name}").reshape({x}.shape)'


def one_hot(call: Call) -> str:
    """OneHot; numbers outside of the range give no hot element."""
    depth = (call.integers("depth", 1) or [0])[0]
    rank = call.rank(0)
    axis = call.attribute("axis", -1) % (rank + 1)
    x = f"{call.tensor(0)}.long()" if call.dtype(0) != "int64" else str(call.tensor(0))
    wide = ["1"] * (rank + 1)
    wide[axis] = "-1"
    steps = f"torch.arange({depth}).reshape({', '.join(wide)})"
    values = call.tensor(2)
    places = call.step(f"torch.where({x} < 0, {x} + {depth}, {x}).unsqueeze({axis})", "int64", ())
    return f"torch.where({places} == {steps}, {values}[1], {values}[0])"


def trilu(call: Call) -> str:
    name = "triu" if call.attribute("upper", 1) else "tril"
    known = call.constant(1)
    if call.has(1) and known is None:
        raise UnsupportedError("its diagonal is computed at run time")
    k = int(known.array.reshape(-1)[0]) if known is not None else 0
    return f"torch.{name}({call.tensor(0)}, {k})" if k else f"torch.{name}({call.tensor(0)})"


def eye_like(call: Call) -> str:
    rows, columns = call.static(0)
    k, dtype = call.attribute("k", 0), torch_dtype(call.out_dtype())
    ones = f"torch.ones({rows}, {columns})"
    return f"(torch.triu({ones}, {k}) * torch.tril({ones}, {k})).to({dtype})"


def compress(call: Call) -> str:
    """Compress: the entries along an axis, or all elements, for which the condition is true."""
    x, axis = call.tensor(0), call.attribute("axis")
    known = call.constant(1)
    if known is not None:
        kept = str(np.flatnonzero(known.array).tolist())
    else:
        kept = f"torch.nonzero({call.tensor(1)}).flatten()"
    if axis is None:
        return f"{x}.flatten()[{kept}]"
    return f"{x}[{':, ' * (axis % call.rank(0))}{kept}]"


def non_zero(call: Call) -> str:
    if not call.rank(0):
        raise UnsupportedError("its input is a scalar")
    return f"torch.nonzero({call.tensor(0)}).T"


def unique(call: Call) -> Any:
    """Unique, sorted; of where each value is first, only what can be computed from it."""
    if any(call.wants(i) for i in (1, 2, 3)) or not call.attribute("sorted", 1):
        raise UnsupportedError("PyTorch does not tell where a value is first")
    axis = call.attribute("axis")
    more = "" if axis is None else f", dim={axis}"
    return [f"torch.unique({call.tensor(0)}{more})", None, None, None]


def reverse_sequence(call: Call) -> str:
    time, batch = call.attribute("time_axis", 0), call.attribute("batch_axis", 1)
    x, lengths = call.tensor(0), call.tensor(1)
    rank = call.rank(0)
    wide = ["1"] * rank
    wide[batch] = "-1"
    steps = ["1"] * rank
    steps[time] = "-1"
    step = call.step(f"torch.arange({x}.shape[{time}]).reshape({', '.join(steps)})", "int64", ())
    size = call.step(f"{lengths}.reshape({', '.join(wide)})", "int64", ())
    places = f"torch.where({step} < {size}, {size} - 1 - {step}, {step})"
    return f"torch.gather({x}, {time}, {places}.expand({x}.shape))"


def det(call: Call) -> str:
    return f"torch.linalg.det({call.tensor(0)})"
