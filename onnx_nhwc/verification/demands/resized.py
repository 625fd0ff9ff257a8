"""Demands of what makes images larger or smaller: scales, sizes, regions, grids."""

from __future__ import annotations

import math

from onnx_nhwc.verification.demands.demand import Demand, Site, exactly

__all__ = ["grid_size", "new_sizes", "region_of", "scaled"]


def scaled(site: Site) -> Demand | None:
    wanted = _resized(site, 2.0)
    if wanted is None:
        return None
    axes, shape, sizes = wanted
    return exactly([sizes[axis] / shape[axis] if shape[axis] else 1 for axis in axes])


def new_sizes(site: Site) -> Demand | None:
    wanted = _resized(site, 2.0)
    if wanted is None:
        return None
    axes, _, sizes = wanted
    return exactly([math.floor(sizes[axis]) for axis in axes])


def _resized(site: Site, factor: float) -> tuple[list[int], tuple[int, ...], list[float]] | None:
    """The axes that are resized, the sizes, and the sizes that they are to become."""
    shape, result = site.sizes(), site.result()
    if shape is None or site.count == 0:
        return None
    axes = [axis % len(shape) for axis in (site.attribute("axes") or range(len(shape)))]
    sizes: list[float] = [s if i < 2 < len(shape) else s * factor for i, s in enumerate(shape)]
    if result is not None and len(result) == len(shape):
        sizes = [a if b is None else b for a, b in zip(sizes, result, strict=True)]
    return axes, shape, sizes


def region_of(site: Site) -> Demand | None:
    """Starts, then ends, of each axis; some of the image in."""
    shape = site.shape(0)
    if shape is None or site.count == 0 or site.shape(site.index) == (0,):
        return None
    axes = [axis % len(shape) for axis in (site.attribute("axes") or range(len(shape)))]
    inner = [axis > 1 or len(shape) < 3 for axis in axes]
    return exactly([*(0.125 * i for i in inner), *(1 - 0.125 * i for i in inner)])


def grid_size(site: Site) -> Demand | None:
    result, theta = site.result(), site.sizes()
    count = site.count or 4
    known = [s or 3 for s in result[1:-1]] if result else [3] * (count - 2)
    return exactly([theta[0] if theta else 1, 3, *known])
