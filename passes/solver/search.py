"""Components that are no cut: exact elimination, else bounds and local search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import prod
from typing import Any

import numpy as np

from .network import Demand, Network, Scale

Array = np.ndarray[Any, np.dtype[Any]]

_TABLE_LIMIT = 1 << 16  # entries of one table
_TABLES_LIMIT = 1 << 22  # entries, roughly, of all tables of a component
_ROUNDS = 12
# Labels, beyond which not even the relaxed integer program is tried: it would take minutes.
_PROGRAM_LIMIT = 3000


def search(network: Network, part: list[int], demands: list[Demand], scale: Scale) -> tuple[list[int], int]:
    """Labels of one connected component, and by how much a better one could be cheaper.

    ``network`` numbers its variables by their index in ``part``, ``demands`` as in ``part``.
    """
    size = len(network.unary)
    limit = max(_TABLE_LIMIT >> 4, min(_TABLE_LIMIT, _TABLES_LIMIT // size))
    times_held = [0] * size
    order, held = _plan(network, times_held, limit)
    if not held:
        return _eliminate(network, order, {})[1], 0

    bound, labels = _eliminate(_relax(network, held), order + held, {})
    best = network.cost(labels)
    if sum(map(len, network.unary)) <= _PROGRAM_LIMIT:
        from .program import integer_program  # takes a while, and few models come here

        candidates, proven = integer_program(network, part, demands, scale, best)
        bound = max(bound, proven)
        for candidate in candidates:
            known = {index: candidate[v] for index, v in enumerate(part) if v in candidate}
            helpers = [index for index in range(size) if index not in known]
            best, labels = min((best, labels), _eliminate(network, helpers, known))
    for _ in range(_ROUNDS):
        if best == bound or not held:
            break
        for variable in held:
            times_held[variable] += 1
        best, labels = _eliminate(network, order, {v: labels[v] for v in held})
        order, held = _plan(network, times_held, limit)
    return labels, best - bound


def _plan(network: Network, times_held: Sequence[int], limit: int) -> tuple[list[int], list[int]]:
    """A minimum-degree elimination order, and the variables to hold to keep tables in ``limit``.

    Where a table would be too large, the variable held is the one of its scope that has been
    held least often, then the one with the most neighbours.
    """
    sizes = [len(costs) for costs in network.unary]
    near: list[set[int]] = [set() for _ in sizes]
    for i, j in network.pairs:
        near[i].add(j)
        near[j].add(i)
    heap = [(len(others), variable) for variable, others in enumerate(near)]
    heapify(heap)
    order: list[int] = []
    held: list[int] = []
    is_done = [False] * len(sizes)
    while heap:
        degree, variable = heappop(heap)
        if is_done[variable] or degree != len(near[variable]):
            continue
        others = near[variable]
        if others and sizes[variable] * prod(sizes[other] for other in others) > limit:
            scope = (variable, *others)
            gone = min(scope, key=lambda v: (times_held[v], -len(near[v]), v))
            held.append(gone)
            joined: set[int] = set()
            heappush(heap, (degree, variable))
        else:
            gone, joined = variable, others
            order.append(variable)
        is_done[gone] = True
        for other in near[gone]:
            near[other] |= joined
            near[other] -= {other, gone}
            heappush(heap, (len(near[other]), other))
    return order, held


def _relax(network: Network, held: list[int]) -> Network:
    """A lower bound of ``network``: each of its tables chooses the labels of ``held`` for itself.

    Node splitting (Choi, Chavira and Darwiche, "Node splitting: a scheme for generating upper
    bounds in Bayesian networks", 2007).
    """
    relaxed = Network([list(costs) for costs in network.unary])
    split = set(held)
    for (i, j), table in network.pairs.items():
        width = len(network.unary[j])
        if i not in split and j not in split:
            relaxed.pairs[i, j] = table
        elif j in split and i not in split:
            for row, costs in enumerate(relaxed.unary[i]):
                relaxed.unary[i][row] = costs + min(table[row * width : (row + 1) * width])
        elif i in split and j not in split:
            for column, costs in enumerate(relaxed.unary[j]):
                relaxed.unary[j][column] = costs + min(table[column::width])
        else:
            least = min(table)
            relaxed.unary[i] = [costs + least for costs in relaxed.unary[i]]
    return relaxed


def _eliminate(network: Network, order: Sequence[int], fixed: Mapping[int, int]) -> tuple[int, list[int]]:
    """The least cost given the ``fixed`` labels, and labels that reach it.

    Bucket elimination (Dechter, "Bucket elimination: a unifying framework for reasoning", 1999):
    variables are minimised out in ``order``; a table stays with the first of its scope.
    """
    sizes = [len(costs) for costs in network.unary]
    place = {variable: index for index, variable in enumerate(order)}
    total = sum(map(max, network.unary)) + sum(map(max, network.pairs.values()))
    dtype = np.int64 if total < 1 << 62 else object
    buckets: list[list[tuple[list[int], Array]]] = [[] for _ in order]
    for variable, index in place.items():
        buckets[index].append(([index], np.array(network.unary[variable], dtype)))
    cost = sum(network.unary[variable][label] for variable, label in fixed.items())
    for (i, j), entries in network.pairs.items():
        table = np.array(entries, dtype).reshape(sizes[i], sizes[j])
        if i in fixed and j in fixed:
            cost += int(table[fixed[i], fixed[j]])
        elif i in fixed:
            buckets[place[j]].append(([place[j]], table[fixed[i]]))
        elif j in fixed:
            buckets[place[i]].append(([place[i]], table[:, fixed[j]]))
        elif place[i] < place[j]:
            buckets[place[i]].append(([place[i], place[j]], table))
        else:
            buckets[place[j]].append(([place[j], place[i]], table.T))

    choices: list[tuple[list[int], Array]] = []
    for bucket in buckets:
        scope = sorted({index for indices, _ in bucket for index in indices})
        # Small tables first: the sum grows to its full size as late as possible.
        bucket.sort(key=lambda entry: len(entry[0]))
        table = sum((_spread(indices, part, scope) for indices, part in bucket), np.array(0, dtype))
        choice = np.argmin(table, axis=0)
        least = np.min(table, axis=0)
        choices.append((scope[1:], np.asarray(choice)))
        bucket.clear()
        if len(scope) > 1:
            buckets[scope[1]].append((scope[1:], least))
        else:
            cost += int(least)

    chosen = [0] * len(order)
    for index in range(len(order) - 1, -1, -1):
        rest, choice = choices[index]
        chosen[index] = int(choice[tuple(chosen[other] for other in rest)])
    labels = [fixed.get(variable, 0) for variable in range(len(sizes))]
    for variable, label in zip(order, chosen, strict=True):
        labels[variable] = label
    return cost, labels


def _spread(indices: list[int], table: Array, scope: list[int]) -> Array:
    """``table`` over ``indices``, ready to be broadcast over the ascending ``scope``."""
    extent = dict(zip(indices, table.shape, strict=True))
    return table.reshape([extent.get(index, 1) for index in scope])
