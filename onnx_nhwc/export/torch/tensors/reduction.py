"""Reductions, extrema, running sums, sorting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx_nhwc.export.torch.call import Call, is_float, torch_dtype
from onnx_nhwc.export.torch.tensor import Formed
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["REDUCTIONS", "argument", "cumulative", "hardmax", "softmax", "top_k"]

Mapping = Callable[[Call], Any]


def axes_of(call: Call) -> tuple[int, ...]:
    """The axes that are reduced; none are all of them, or none."""
    rank = call.rank(0)
    if call.has(1) and call.constant(1) is None and call.sizes(1) is None:
        choice = call.reduced()
        if len(choice) != 1:
            raise UnsupportedError("its axes are computed at run time")
        return choice[0]
    axes = call.integers("axes", 1)
    if not axes:
        return () if call.attribute("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted(axis % rank for axis in axes))


def _along(axes: tuple[int, ...]) -> str:
    return str(axes[0]) if len(axes) == 1 else str(axes)


def reduce(form: str, before: str = "{x}", after: str = "{y}") -> Mapping:
    """A reduction: ``form`` with the data, the axes, and what keeps them."""

    def mapped(call: Call) -> Any:
        axes, x = axes_of(call), str(call.tensor(0))
        dtype = call.dtype(0)
        if dtype == "bool":
            x = f"{x}.int()"
        elif not is_float(dtype) and ("mean" in form or "sqrt" in after or "log" in form + after):
            x = f"{x}.double()"
        value = before.format(x=x)
        keep = ", keepdim=True" if call.attribute("keepdims", 1) else ""
        if axes:
            value = form.format(x=value, axes=_along(axes), keep=keep)
        value = after.format(y=value)
        if call.out_dtype() != "float32" or dtype != "float32":
            value = f"{_bracketed(value)}.to({torch_dtype(call.out_dtype())})"
        return value if value != x else call.walk.fact(call.value(0))

    return mapped


def _bracketed(text: str) -> str:
    return f"({text})" if " " in text and not text.endswith(")") else text


def product(call: Call) -> str:
    """torch multiplies along one axis at a time."""
    text = str(call.tensor(0))
    keep = bool(call.attribute("keepdims", 1))
    for axis in sorted(axes_of(call), reverse=True):
        text = f"{text}.prod({axis}{', keepdim=True' if keep else ''})"
    return f"{text}.to({torch_dtype(call.out_dtype())})"


REDUCTIONS: dict[str, Mapping] = {
    "ReduceSum": reduce("{x}.sum({axes}{keep})"),
    "ReduceMean": reduce("{x}.mean({axes}{keep})"),
    "ReduceMax": reduce("{x}.amax({axes}{keep})"),
    "ReduceMin": reduce("{x}.amin({axes}{keep})"),
    "ReduceProd": product,
    "ReduceL1": reduce("{x}.sum({axes}{keep})", "torch.abs({x})"),
    "ReduceL2": reduce("{x}.sum({axes}{keep})", "torch.square({x})", "torch.sqrt({y})"),
    "ReduceLogSum": reduce("{x}.sum({axes}{keep})", after="torch.log({y})"),
    "ReduceLogSumExp": reduce("torch.logsumexp({x}, {axes}{keep})"),
    "ReduceSumSquare": reduce("{x}.sum({axes}{keep})", "torch.square({x})"),
}


def argument(name: str) -> Mapping:
    """ArgMax, ArgMin; the last of equal ones is the first from behind."""

    def mapped(call: Call) -> str:
        x = call.tensor(0)
        axis = call.attribute("axis", 0) % call.rank(0)
        keep = ", keepdim=True" if call.attribute("keepdims", 1) else ""
        if not call.attribute("select_last_index", 0):
            return f"{x}.{name}({axis}{keep})"
        return f"{x}.shape[{axis}] - 1 - {x}.flip({axis}).{name}({axis}{keep})"

    return mapped


def top_k(call: Call) -> Any:
    k = (call.integers("k", 1) or [call.attribute("k", 0)])[0]
    axis = call.attribute("axis", -1) % call.rank(0)
    largest, ordered = bool(call.attribute("largest", 1)), bool(call.attribute("sorted", 1))
    if not is_float(call.dtype(0)) and call.dtype(0).startswith("u") and call.dtype(0) != "uint8":
        raise UnsupportedError(f"PyTorch sorts no numbers of type {call.dtype(0)}")
    x = call.tensor(0)
    del ordered  # sorted is one of the orders that any will do for
    # a stable sort breaks ties as ONNX does, which torch.topk does not promise
    pair = call.step(f"torch.sort({x}, dim={axis}, descending={largest}, stable=True)", "pair", ())
    key = ", ".join([":"] * axis + [f":{k}"])
    return [f"{pair}.values[{key}]", f"{pair}.indices[{key}]"]


def cumulative(name: str, neutral: int) -> Mapping:
    """CumSum, CumProd: exclusive of the element itself, or from behind."""

    def mapped(call: Call) -> str:
        x, rank = str(call.tensor(0)), call.rank(0)
        axis = (call.integers("axis", 1) or [0])[0] % rank
        if call.attribute("reverse", 0):
            x = f"{x}.flip({axis})"
        dtype = torch_dtype(call.dtype(0))
        if call.attribute("exclusive", 0):
            pads = [0, 0] * (rank - axis - 1) + [1, -1]
            x = f"F.pad({x}, {tuple(pads)}, value={neutral})"
        y = f"torch.{name}({x}, dim={axis}, dtype={dtype})"
        return f"{y}.flip({axis})" if call.attribute("reverse", 0) else y

    return mapped


def softmax(function: str, kind: str) -> Mapping:
    """Softmax and LogSoftmax; before opset 13 they run over all axes from ``axis`` on."""

    def mapped(call: Call) -> Any:
        x, rank = call.tensor(0), call.rank(0)
        axis = call.attribute("axis", -1 if call.opset >= 13 else 1) % max(rank, 1)
        if call.opset >= 13 or axis == rank - 1 or all(size == 1 for size in call.shape(0)[axis + 1 :]):
            dim = -1 if axis == rank - 1 else axis
            return Formed(f"{function}({x}, dim={dim})", kind, (("dim", dim),))
        return f"{function}({x}.flatten({axis}), dim=-1).reshape({x}.shape)"

    return mapped


def hardmax(call: Call) -> str:
    x, rank = str(call.tensor(0)), call.rank(0)
    axis = call.attribute("axis", -1 if call.opset >= 13 else 1) % max(rank, 1)
    dtype = torch_dtype(call.dtype(0))
    if call.opset >= 13 or axis == rank - 1:
        places = f"{x}.argmax({axis}, keepdim=True)"
        return f"torch.zeros_like({x}).scatter({axis}, {places}, 1.0).to({dtype})"
    flat = f"{x}.flatten({axis})"
    places = f"{flat}.argmax(-1, keepdim=True)"
    return f"torch.zeros_like({flat}).scatter(-1, {places}, 1.0).reshape({x}.shape)"
