"""Sizes of results that integers tell: targets, amounts and numbers that are attributes, inputs, or computed.

onnx's own inference needs numbers where these rules can do with symbols. Each gives the sizes of one
output, ``UNKNOWN`` for those that it does not tell, or None.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy

from .. import graph as g
from ..algebra.layout import ONE, UNKNOWN, Dim, Shape
from ..algebra.symbols import difference, expression, named, nonnegative, total, window_count
from .relation import Site

__all__ = ["Sizes", "concatenated", "convolved", "cut", "expanded", "padded", "ranged", "sliced", "stated"]
__all__ += ["tiled", "transposed_convolved", "upsampled"]

Sizes = Callable[[Site, int], Shape | None]
"""The sizes of one of a node's outputs."""

_END = 2**31 - 1
"""An end from here on means the end of the axis."""


def expanded(site: Site, output: int = 0) -> Shape | None:
    """Sizes of an Expand: the target's, but where that is 1."""
    target = site.values(site.node.inputs[1])
    if target is None:
        return None
    rank = max(site.rank, len(target))
    own = (ONE,) * (rank - site.rank) + site.shape(0)
    wanted = (ONE,) * (rank - len(target)) + target
    return tuple(a if b == ONE else b for a, b in zip(own, wanted, strict=True))


def stated(index: int) -> Sizes:
    """Sizes that an input spells out."""

    def sizes(site: Site, output: int = 0) -> Shape | None:
        found = site.values(g.input_at(site.node, index))
        return found if found and all(dim.number > 0 for dim in found) else None

    return sizes


def tiled(site: Site, output: int = 0) -> Shape | None:
    repeats = site.values(site.node.inputs[1])
    if repeats is None:
        return None
    return tuple(dim * times for dim, times in zip(site.shape(0), repeats, strict=True))


def concatenated(site: Site, output: int = 0) -> Shape | None:
    axis = site.axis(1)
    found = total(*(site.shape(index)[axis] for index in range(len(site.inputs))))
    return _with(site, axis, found, others=False)


def cut(site: Site, output: int = 0) -> Shape | None:
    """Sizes of one part of a Split."""
    parts = _integers(site, "split", 1)
    return None if parts is None else _with(site, site.axis(0), parts[output])


def padded(site: Site, output: int = 0) -> Shape | None:
    pads = _integers(site, "pads", 1)
    axes = site.parameter("axes", 3)
    if pads is None or (axes is None and site.has(3)):
        return None
    shape = list(site.shape(0))
    axes = list(range(site.rank)) if axes is None else axes
    for i, axis in enumerate(axes):
        shape[axis] = total(shape[axis], pads[i], pads[i + len(axes)])
    return tuple(dim if dim.number > 0 else UNKNOWN for dim in shape)


def ranged(site: Site, output: int = 0) -> Shape | None:
    """The size of a Range that counts by 1."""
    start, limit, step = (site.values(value) for value in site.node.inputs)
    if start is None or limit is None or step != (ONE,):
        return None
    size = difference(limit[0], start[0])
    return (size,) if size.number > 0 and nonnegative(expression(size)) else None


def sliced(site: Site, output: int = 0) -> Shape | None:
    """Sizes of a Slice by steps of 1, as far as its bounds certainly lie within the axes."""
    starts, ends = _integers(site, "starts", 1), _integers(site, "ends", 2)
    if starts is None or ends is None:
        return None
    axes = site.parameter("axes", 3) or (list(range(len(starts))) if not site.has(3) else None)
    steps = site.parameter("steps", 4) or ([1] * len(starts) if not site.has(4) else None)
    if axes is None or steps is None:
        return None
    shape = list(site.shape(0))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        shape[axis] = (_between(shape[axis], start, end) if step == 1 else None) or UNKNOWN
    return tuple(shape)


def _between(dim: Dim, start: Dim, end: Dim) -> Dim | None:
    """How many elements lie between two bounds, which count from behind if they are negative."""
    size = expression(dim)
    first, last = (_place(bound, size) for bound in (start, end))
    if not nonnegative(first) or not nonnegative(last - first, size) or not nonnegative(size - last, size):
        return None
    found = named(last - first)
    return found if found.number > 0 else None


def _place(bound: Dim, size: sympy.Expr) -> sympy.Expr:
    if not bound.static:
        return expression(bound)
    if abs(bound.number) >= _END:
        return size if bound.number > 0 else sympy.Integer(0)
    return sympy.Integer(bound.number) + (size if bound.number < 0 else 0)


def convolved(site: Site, output: int = 0) -> Shape | None:
    """Sizes of a Conv's or a pool's result: floor((x + pads - dilation (k - 1) - 1) / stride) + 1."""
    kernel = site.shape(1)[2:] if site.node.op_type == "Conv" else None
    rank = site.rank - 2
    ones = [1] * rank
    lengths = site.attribute("kernel_shape") or [k.number for k in kernel or ()]
    if kernel is not None and not all(k.static for k in kernel):
        return None
    if site.attribute("ceil_mode", 0) or site.attribute("auto_pad", "NOTSET") != "NOTSET":
        return None
    strides, dilations = (site.attribute(name) or ones for name in ("strides", "dilations"))
    pads = site.attribute("pads") or [0] * (2 * rank)
    image = tuple(
        window_count(dim, pads[i] + pads[i + rank] - dilations[i] * (lengths[i] - 1) - 1, strides[i])
        for i, dim in enumerate(site.shape(0)[2:])
    )
    channels = site.shape(1)[0] if kernel is not None else site.shape(0)[1]
    return (site.shape(0)[0], channels, *image)


def transposed_convolved(site: Site, output: int = 0) -> Shape | None:
    """Sizes of a ConvTranspose's result: stride (x - 1) + output_padding + dilation (k - 1) + 1 - pads."""
    weight, rank = site.shape(1), site.rank - 2
    stated_or_same = site.attribute("output_shape") or site.attribute("auto_pad", "NOTSET") != "NOTSET"
    if stated_or_same or not all(k.static for k in weight[2:]):
        return None
    ones, zeros = [1] * rank, [0] * rank
    strides, dilations = (site.attribute(name) or ones for name in ("strides", "dilations"))
    more, pads = site.attribute("output_padding") or zeros, site.attribute("pads") or zeros + zeros
    image = []
    for i, dim in enumerate(site.shape(0)[2:]):
        extent = dilations[i] * (weight[2 + i].number - 1) + 1
        size = strides[i] * (expression(dim) - 1) + more[i] + extent - pads[i] - pads[i + rank]
        image.append(named(size))
    return (site.shape(0)[0], weight[1] * Dim(site.attribute("group", 1)), *image)


def upsampled(site: Site, output: int = 0) -> Shape | None:
    """Sizes of a Resize: stated, or by scales that are whole."""
    index = 1 if site.opset < 11 or site.node.op_type == "Upsample" else 2
    tensor = g.constant(g.input_at(site.node, index))
    scales = [] if tensor is None else [float(v) for v in tensor.numpy().reshape(-1)]
    if site.attribute("axes") or site.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    if len(scales) != site.rank:
        return stated(3)(site, output)
    sizes = zip(site.shape(0), scales, strict=True)
    return tuple(dim * Dim(int(s)) if s >= 1 and s == int(s) else UNKNOWN for dim, s in sizes)


def _integers(site: Site, name: str, index: int) -> Shape | None:
    """A list of integers: an attribute, or an input as far as shape arithmetic tells."""
    given = site.parameter(name, index)
    return site.values(g.input_at(site.node, index)) if given is None else tuple(map(Dim, given))


def _with(site: Site, axis: int, size: Dim | None, others: bool = True) -> Shape:
    """The first input's sizes, one of them replaced."""
    return tuple(
        (size or UNKNOWN) if i == axis else dim if others else UNKNOWN for i, dim in enumerate(site.shape(0))
    )
