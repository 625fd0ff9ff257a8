"""Choose one label per variable so that the fewest bytes are transposed.

Pure optimisation: knows neither operators nor layouts. Minimises, in this order,

1. bytes: the sum over values of ``weight * |wanted keys that differ from the produced key|``
   (one materialised Transpose serves all uses that want the same key),
2. the number of those Transposes,
3. the sum of the preferences' penalties.

Components in which every variable has two labels, and which can be oriented, are one minimum cut.
The others are solved by variable elimination while their tables stay small, else by an integer
program and local search between bounds. All but the integer program calculates in integers, with
the three levels packed into one number, so that no tolerance can confuse them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np

from .cut import components, minimum_cut, orient
from .network import Demand, Network, Scale
from .search import search


@dataclass(frozen=True)
class Tap:
    """Where a variable touches a value: ``keys[l]`` is the order its label l produces or wants."""

    variable: int
    keys: tuple[Hashable, ...]


@dataclass(frozen=True)
class Value:
    """A tensor, with the bytes that one Transpose of it moves."""

    weight: int
    producer: Tap
    uses: tuple[Tap, ...]


@dataclass(frozen=True)
class Problem:
    """``labels[v]`` is how many labels variable v has; ``preference[v][l]`` breaks ties, >= 0."""

    labels: tuple[int, ...]
    values: tuple[Value, ...]
    preference: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Solution:
    """The chosen label of each variable, with what it costs.

    ``cost`` and ``lower_bound`` are bytes: no labelling costs less than ``lower_bound``.
    ``transposes`` counts also those that move no bytes. ``exact``: the labelling is proven to be
    optimal in bytes, Transposes and preference.
    """

    labels: tuple[int, ...]
    cost: int
    transposes: int
    lower_bound: int
    exact: bool


def solve(problem: Problem) -> Solution:
    """Minimise bytes, then Transposes, then preference; the same problem has one answer.

    Raises ValueError if the problem is malformed.

    >>> fixed = Value(10, Tap(0, ("first",)), (Tap(1, ("first", "last")),))
    >>> solve(Problem((1, 2), (fixed,), ((0,), (1, 0)))).labels   # bytes before preference
    (0, 0)
    """
    _check(problem)
    demands = [demand for value in problem.values for demand in _demands(problem, value)]
    scale = Scale(
        unit=gcd(*(demand.weight for demand in demands)) or 1,
        counts=len(demands) + 1,
        preferences=sum(max(row) for row in problem.preference) + 1,
    )
    network = Network([list(row) for row in problem.preference])
    for demand in demands:
        network.add_demand(demand, scale.pack(demand.weight))

    labels = dict(enumerate(costs.index(min(costs)) for costs in network.unary))
    flips, is_cut = orient(network)
    labels.update(minimum_cut(network, flips, is_cut))
    gap = 0
    for part, costs, touching in _hard_parts(network, is_cut, demands):
        found, part_gap = search(costs, part, touching, scale)
        labels.update(zip(part, found, strict=True))
        gap += part_gap

    paid = [demand.weight for demand in demands if demand.is_paid(labels)]
    packed = sum(map(scale.pack, paid))
    packed += sum(row[labels[v]] for v, row in enumerate(problem.preference))
    chosen = tuple(labels[v] for v in range(len(problem.labels)))
    return Solution(chosen, sum(paid), len(paid), scale.bytes(packed - gap), gap == 0)


def _check(problem: Problem) -> None:
    sizes = problem.labels
    if min(sizes, default=1) < 1 or tuple(map(len, problem.preference)) != sizes:
        raise ValueError("every variable needs at least one label, and a preference for each")
    if any(min(row) < 0 for row in problem.preference):
        raise ValueError("a preference is a penalty, not negative")
    for value in problem.values:
        if value.weight < 0:
            raise ValueError(f"the weight of a value is {value.weight}, less than 0")
        for tap in (value.producer, *value.uses):
            if len(tap.keys) != sizes[tap.variable]:
                raise ValueError(f"variable {tap.variable}: a tap needs a key for every label")


def _demands(problem: Problem, value: Value) -> Iterator[Demand]:
    """The orders that ``value`` may have to be transposed to."""
    sizes, producer = problem.labels, value.producer
    wanted: dict[Hashable, dict[int, int]] = {}
    for use in value.uses:
        for label, key in enumerate(use.keys):
            masks = wanted.setdefault(key, {})
            masks[use.variable] = masks.get(use.variable, 0) | 1 << label
    for key, masks in wanted.items():
        stored = sum(1 << label for label, made in enumerate(producer.keys) if made == key)
        if stored == (1 << sizes[producer.variable]) - 1:
            continue
        is_certain = any(mask == (1 << sizes[v]) - 1 for v, mask in masks.items())
        supply = (producer.variable, stored) if stored else None
        yield Demand(value.weight, supply, () if is_certain else tuple(masks.items()))


def _hard_parts(
    network: Network, is_cut: list[bool], demands: list[Demand]
) -> Iterator[tuple[list[int], Network, list[Demand]]]:
    """The connected components that are no cut: variables, costs, and the demands on them.

    The component's network numbers the variables by their index in the list.
    """
    if all(is_cut):
        return
    pairs = np.array(list(network.pairs), np.int64).reshape(-1, 2)
    group = components(len(network.unary), pairs).tolist()
    members: dict[int, list[int]] = defaultdict(list)
    tables: dict[int, list[tuple[int, int]]] = defaultdict(list)
    touching: dict[int, list[Demand]] = defaultdict(list)
    for variable, good in enumerate(is_cut):
        if not good:
            members[group[variable]].append(variable)
    for pair in network.pairs:
        tables[group[pair[0]]].append(pair)
    for demand in demands:
        for variable in demand.variables()[:1]:
            touching[group[variable]].append(demand)
    for number, part in members.items():
        place = {variable: index for index, variable in enumerate(part)}
        costs = Network([network.unary[variable] for variable in part])
        costs.pairs = {(place[i], place[j]): network.pairs[i, j] for i, j in tables[number]}
        yield part, costs, touching[number]
