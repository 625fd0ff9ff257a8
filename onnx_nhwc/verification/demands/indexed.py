"""Demands of what points at elements: permutations, indices, columns, boxes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from onnx_nhwc.verification.demands.demand import Demand, Row, Site, exactly

__all__ = ["boxes_of", "columns_of", "gathered", "permuted", "scattered", "unpooled", "unpooled_target"]


def permuted(site: Site) -> Demand | None:
    """Indices along an axis, none twice in a line: what is scattered twice has no one result."""
    data, indices, axis = site.sizes(0), site.sizes(1), site.axis(0)
    if data is None or indices is None or axis is None or indices[axis] > data[axis]:
        return None
    lines = list(indices)
    lines[axis] = data[axis]
    order = np.argsort(site.rng.random(lines), axis=axis)
    return exactly(np.take(order, range(indices[axis]), axis=axis))


def gathered(site: Site) -> Demand | None:
    data, indices = site.sizes(0), site.sizes(1)
    if data is None or indices is None or not indices:
        return None
    first = site.attribute("batch_dims", 0)
    sizes = data[first : first + indices[-1]]
    return Demand(np.zeros(len(sizes)), np.asarray(sizes, np.float64) - 1)


def scattered(site: Site) -> Demand | None:
    data, indices = site.sizes(0), site.sizes(1)
    if data is None or not indices:
        return None
    sizes = data[: indices[-1]]
    count, places = math.prod(indices[:-1]), math.prod(sizes)
    if not places:
        return None
    order = np.resize(site.rng.permutation(places), count)
    return exactly(np.stack(np.unravel_index(order, sizes), -1).reshape(indices))


def unpooled(site: Site) -> Demand | None:
    """Places of the elements in the larger image, flat, none twice."""
    shape, larger = site.sizes(0), _unpooled_sizes(site)
    if shape is None or larger is None or math.prod(larger) < math.prod(shape):
        return None
    places = site.rng.permutation(math.prod(larger))[: math.prod(shape)]
    return exactly(np.sort(places).reshape(shape))


def _unpooled_sizes(site: Site) -> list[int] | None:
    shape, result, stated = site.sizes(0), site.result(), site.constant(2)
    if stated is not None and stated.size:
        return [int(size) for size in stated.reshape(-1)]
    if result is not None and None not in result:
        return [size for size in result if size is not None]
    if shape is None:
        return None
    kernel = site.attribute("kernel_shape")
    strides = site.attribute("strides") or [1] * len(kernel)
    pads = site.attribute("pads") or [0] * 2 * len(kernel)
    n = len(kernel)
    return [*shape[:2], *((s - 1) * strides[i] - pads[i] - pads[i + n] + kernel[i]
                          for i, s in enumerate(shape[2:]))]  # fmt: skip


def unpooled_target(site: Site) -> Demand | None:
    sizes = _unpooled_sizes(site)
    return None if sizes is None else exactly(sizes)


def columns_of(number: int) -> Row:
    """The image's sizes (1) and the block's (2) of Col2Im, which the columns have to fit."""

    def row(site: Site) -> Demand | None:
        shape, result, count = site.sizes(), site.result(), site.count
        if shape is None or count is None:
            return None
        image, block = site.constant(1), site.constant(2)
        images = [[int(s) for s in image]] if image is not None else (
            [[int(s) for s in result[2:] if s is not None]] if result and None not in result[2:]
            else itertools.product(range(1, 12), repeat=count))  # fmt: skip
        for sizes in images:
            blocks = [block] if block is not None else itertools.product(range(1, 8), repeat=count)
            for kernel in blocks:
                if _columns_fit(site, shape, result, [int(s) for s in sizes], [int(k) for k in kernel]):
                    return exactly(sizes if number == 1 else kernel)
        return None

    return row


def _columns_fit(
    site: Site,
    shape: Sequence[int],
    result: Sequence[int | None] | None,
    image: Sequence[int],
    block: Sequence[int],
) -> bool:
    n = len(block)
    strides = site.attribute("strides") or [1] * n
    dilations = site.attribute("dilations") or [1] * n
    pads = site.attribute("pads") or [0] * 2 * n
    if shape[1] % math.prod(block) or len(image) != n:
        return False
    if result is not None and result[1] is not None and result[1] * math.prod(block) != shape[1]:
        return False
    moves = [
        (image[i] + pads[i] + pads[i + n] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
        for i in range(n)
    ]
    return bool(min(moves) > 0 and math.prod(moves) == shape[2])


def boxes_of(site: Site) -> Demand | None:
    """Regions within an image of RoiAlign (x1, y1, x2, y2) or MaxRoiPool (batch first)."""
    shape = site.shape(1)
    if shape is None or len(shape) != 2:
        return None
    low, high = [0.0, 0.0, 3.0, 3.0], [1.0, 1.0, 4.0, 4.0]
    if shape[1] == 5:
        low, high = [0.0, *low], [0.0, *high]
    return Demand(np.asarray(low), np.asarray(high))
