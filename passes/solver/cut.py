"""Two-label components as one minimum cut, exact on integers of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import (
    breadth_first_order,
    connected_components,
    maximum_flow,
)

from .network import Network

Array = np.ndarray[Any, np.dtype[Any]]

# Per variable its two costs, and per neighbour the table f(0,0), f(0,1), f(1,0), f(1,1) as it
# sees it, its own label first. Every table is there twice.
Core = dict[int, tuple[list[int], dict[int, tuple[int, int, int, int]]]]
Fold = tuple[int, tuple[int, ...], list[int]]

# maximum_flow computes in int32, and a residual may hold a capacity and its reverse's flow.
_CAPACITY_BITS = 30


def components(size: int, pairs: Array) -> Array:
    """The number of the connected component of each of ``size`` vertices; ``pairs``: (m, 2)."""
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (size, size))
    return np.asarray(connected_components(graph, directed=False)[1])


def orient(network: Network) -> tuple[list[int], list[bool]]:
    """Which variables to flip so that every table is submodular, and which ones that serves.

    A two-label table f is submodular, an edge of a cut, iff f(0,0) + f(1,1) <= f(0,1) + f(1,0)
    (Kolmogorov and Zabih, "What energy functions can be minimized via graph cuts?", 2004);
    flipping the labels of one end reverses the sign. The signs are consistent iff no variable
    meets its own flip in the double cover, vertices 2v and 2v + 1. Variables with more than two
    labels count as inconsistent, and so does everything connected to them.
    """
    size = len(network.unary)
    edges = [(2 * v, 2 * v + 1) for v, costs in enumerate(network.unary) if len(costs) > 2]
    for (i, j), table in network.pairs.items():
        if len(table) == 4:
            bend = table[1] + table[2] - table[0] - table[3]
            if bend:
                flip = int(bend < 0)
                edges += [(2 * i, 2 * j + flip), (2 * i + 1, 2 * j + 1 - flip)]
    cover = components(2 * size, np.array(edges, np.int64).reshape(-1, 2))
    flips = cover[::2] > cover[1::2]
    bad = cover[::2] == cover[1::2]
    group = components(size, np.array(list(network.pairs), np.int64).reshape(-1, 2))
    hard = np.zeros(size, bool)
    hard[group[bad]] = True
    return flips.astype(int).tolist(), (~hard[group]).tolist()


def minimum_cut(network: Network, flips: list[int], members: list[bool]) -> dict[int, int]:
    """The optimal label of each of the ``members``, which `orient` found to be consistent.

    With x the flipped labels, 0 on the source's side:
    f(x,y) = f(0,0) + (f(1,0) - f(0,0)) x + (f(1,1) - f(1,0)) y + bend (1 - x) y,
    whose last term is an edge x -> y of capacity bend.
    """
    core, folds = _fold(network, members)
    place = {v: index for index, v in enumerate(core)}
    lean = []
    tails: list[int] = []
    heads: list[int] = []
    capacities: list[int] = []
    for x, (costs, tables) in core.items():
        slope = costs[1 - flips[x]] - costs[flips[x]]
        for y, table in tables.items():
            a, b = flips[x], flips[y]
            f00, f01 = table[2 * a + b], table[2 * a + 1 - b]
            f10, f11 = table[2 - 2 * a + b], table[3 - 2 * a - b]
            if x < y:
                slope += f10 - f00
                if bend := f01 + f10 - f00 - f11:
                    tails.append(place[x])
                    heads.append(place[y])
                    capacities.append(bend)
            else:  # x is the y of the formula
                slope += f11 - f01
        lean.append(slope)
    source, sink = len(core), len(core) + 1
    for index, cost in enumerate(lean):
        if cost:
            tails.append(source if cost > 0 else index)
            heads.append(index if cost > 0 else sink)
            capacities.append(abs(cost))
    kept = _source_side(np.array(tails, np.int64), np.array(heads, np.int64), capacities, sink + 1)
    labels = {v: int(not kept[index]) ^ flips[v] for v, index in place.items()}
    for variable, others, choice in reversed(folds):
        labels[variable] = choice[sum(labels[v] << shift for shift, v in enumerate(others))]
    return labels


def _fold(network: Network, members: list[bool]) -> tuple[Core, list[Fold]]:
    """Minimise out, again and again, every variable with at most two neighbours.

    Exact, and keeps a network submodular. Chains and their diamonds vanish, whose long paths
    would cost a maximum flow many rounds. Returns what is left and, in the order of folding,
    (variable, its neighbours, its best label for each of their labels, the first one's fastest).
    """
    core: Core = {
        v: ([costs[0], costs[1]], {})
        for v, costs in enumerate(network.unary)
        if members[v] and len(costs) == 2
    }
    for (i, j), table in network.pairs.items():
        if i in core:
            f00, f01, f10, f11 = table
            core[i][1][j] = (f00, f01, f10, f11)
            core[j][1][i] = (f00, f10, f01, f11)
    folds: list[Fold] = []
    waiting = list(core)
    while waiting:
        variable = waiting.pop()
        if variable not in core or len(core[variable][1]) > 2:
            continue
        (low, high), tables = core.pop(variable)
        others = tuple(tables)
        lows, highs = [low], [high]
        for f00, f01, f10, f11 in tables.values():
            lows = [cost + f00 for cost in lows] + [cost + f01 for cost in lows]
            highs = [cost + f10 for cost in highs] + [cost + f11 for cost in highs]
        folds.append((variable, others, [int(h < low) for low, h in zip(lows, highs, strict=True)]))
        least = [min(pair) for pair in zip(lows, highs, strict=True)]
        for other in others:
            del core[other][1][variable]
        waiting += others
        if len(others) == 1:
            costs, _ = core[others[0]]
            costs[0] += least[0]
            costs[1] += least[1]
        elif others:
            first, second = others
            f00, f10, f01, f11 = least
            g00, g01, g10, g11 = core[first][1].get(second, (0, 0, 0, 0))
            f00, f01, f10, f11 = f00 + g00, f01 + g01, f10 + g10, f11 + g11
            core[first][1][second] = (f00, f01, f10, f11)
            core[second][1][first] = (f00, f10, f01, f11)
    return core, folds


def _source_side(tails: Array, heads: Array, capacities: list[int], size: int) -> Array:
    """The smallest source side of a minimum cut, from ``size - 2`` to ``size - 1``, as a mask.

    Capacity scaling (Ahuja, Magnanti and Orlin, "Network Flows", 7.3) with a whole maximum flow
    per scale: flows over the leading bits of the residual capacities, until the cut that one
    finds is saturated exactly. The residual capacity of that cut bounds what is left to flow.
    """
    source, sink = size - 2, size - 1
    wide = sum(capacities) >= 1 << 62
    # Every edge is stored with its reverse, so that the flow's sparsity is the residual's.
    keys = np.concatenate((tails * size + heads, heads * size + tails))
    keys, where = np.unique(keys, return_inverse=True)
    rows, columns = keys // size, keys % size
    residual = np.zeros(len(keys), object if wide else np.int64)
    np.add.at(residual, where[: len(tails)], np.array(capacities, residual.dtype))
    starts = np.searchsorted(rows, np.arange(size + 1))
    bound = min(int(residual[rows == source].sum()), int(residual[columns == sink].sum()))
    while bound:
        shift = max(0, bound.bit_length() - _CAPACITY_BITS)
        top = np.minimum(residual >> shift, (1 << _CAPACITY_BITS) - 1).astype(np.int32)
        graph = csr_array((top, columns.astype(np.int32), starts.astype(np.int32)), (size, size))
        flow = maximum_flow(graph, source, sink).flow
        if not np.array_equal(flow.indices, columns):
            raise AssertionError("maximum_flow changed the sparsity of its graph")
        residual = residual - (flow.data.astype(residual.dtype) << shift)
        side = _reachable(rows, columns, residual >> shift > 0, size)
        bound = int(residual[side[rows] & ~side[columns]].sum())
    return _reachable(rows, columns, residual > 0, size)


def _reachable(rows: Array, columns: Array, is_open: Array, size: int) -> Array:
    """The vertices that open edges lead to from the source, vertex ``size - 2``, as a mask."""
    is_open = is_open.astype(bool)
    edges = (rows[is_open], columns[is_open])
    graph = coo_array((np.ones(len(edges[0]), np.int8), edges), (size, size)).tocsr()
    side = np.zeros(size, bool)
    side[breadth_first_order(graph, size - 2, return_predecessors=False)] = True
    return side
