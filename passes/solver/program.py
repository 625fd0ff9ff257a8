"""An integer program for components too tangled for elimination."""

from __future__ import annotations

from math import ceil
from typing import Any, Final

import numpy as np
from scipy.optimize import (
    Bounds,
    LinearConstraint,
    OptimizeResult,
    milp,
)
from scipy.sparse import csr_array

from .network import Demand, Network, Scale

# A limit on nodes, not on time, so that the answer does not depend on the machine.
_OPTIONS: Final = {"node_limit": 100, "mip_rel_gap": 0.0}
Array = np.ndarray[Any, np.dtype[Any]]

# Branching on a relaxation further than this from the best known cost does not end in useful time,
# unless the program has few binaries.
_TIGHT = 0.8
_SMALL = 60
# What HiGHS lets a variable be off, relative to the largest sum that this could shift.
_TOLERANCE = 1e-6


def integer_program(
    network: Network, part: list[int], demands: list[Demand], scale: Scale, best: int
) -> tuple[list[dict[int, int]], int]:
    """Labellings of the variables of ``demands``, and a lower bound of their packed cost.

    ``network`` numbers its variables by their index in ``part``, ``demands`` as in ``part``;
    ``best`` is the packed cost of the best known labelling.

    Binaries x[v, l] with sum_l x[v, l] = 1, and for every demand the share y in [0, 1] paid:
    y >= sum over the labels l in U of x[u, l] - sum over the labels l in P of x[p, l], per use u.
    Bytes, Transposes and preference are minimised one after another, each with those before it
    held at their optimum, and each only if the one before is proven. The bounds concede the
    tolerance of floating point: what it leaves open counts as unproven.
    """
    named = {variable for demand in demands for variable in demand.variables()}
    unary = {v: network.unary[index] for index, v in enumerate(part) if v in named}
    columns: dict[int, int] = {}
    binaries = 0
    for variable, costs in unary.items():
        columns[variable] = binaries
        binaries += len(costs)
    # The objectives: bytes and Transposes of the demands, penalties of the labels.
    weights, counts, penalties = np.zeros((3, binaries + len(demands)))
    weights[binaries:] = [demand.weight // scale.unit for demand in demands]
    counts[binaries:] = 1
    for variable, costs in unary.items():
        # Packed costs of demands are multiples of `preferences`; what remains is the penalty.
        where = slice(columns[variable], columns[variable] + len(costs))
        penalties[where] = [cost % scale.preferences for cost in costs]
    rules = _rules(unary, columns, demands, binaries)

    def value(labels: dict[int, int]) -> list[int]:
        paid = [demand.weight for demand in demands if demand.is_paid(labels)]
        preference = sum(costs[labels[v]] % scale.preferences for v, costs in unary.items())
        return [sum(paid) // scale.unit, len(paid), preference]

    relaxed = _run(weights, 0, rules)
    bounds = [_proven(relaxed, weights), 0, 0]
    found = _labels(relaxed, unary, columns)
    known = min([scale.bytes(best) // scale.unit, *(value(labels)[0] for labels in found)])
    is_hopeless = bounds[0] < _TIGHT * known and binaries > _SMALL
    for level, objective in enumerate(() if is_hopeless else (weights, counts, penalties)):
        result = _run(objective, binaries, rules)
        bounds[level] = max(bounds[level], _proven(result, objective))
        labels = _labels(result, unary, columns)
        found += labels
        if not labels or value(labels[0])[: level + 1] != bounds[: level + 1]:
            break
        rules.append(LinearConstraint(csr_array(objective[None]), -np.inf, bounds[level] + 0.5))
    return found, (bounds[0] * scale.counts + bounds[1]) * scale.preferences + bounds[2]


def _rules(
    unary: dict[int, list[int]], columns: dict[int, int], demands: list[Demand], binaries: int
) -> list[LinearConstraint]:
    """One label per variable; and a demand is paid if it is wanted and not supplied."""
    rows: list[list[tuple[int, int]]] = []
    least, most = [], []

    def entries(term: tuple[int, int], factor: int) -> list[tuple[int, int]]:
        variable, mask = term
        labels = range(len(unary[variable]))
        return [(columns[variable] + label, factor) for label in labels if mask >> label & 1]

    for variable, costs in unary.items():
        rows.append(entries((variable, (1 << len(costs)) - 1), 1))
        least.append(1.0)
        most.append(1.0)
    for index, demand in enumerate(demands):
        paid = [(binaries + index, 1)]
        paid += entries(demand.supply, 1) if demand.supply else []
        for want in demand.wants:
            rows.append(paid + entries(want, -1))
            least.append(0.0)
            most.append(np.inf)
        if not demand.wants:
            rows.append(paid)
            least.append(1.0)
            most.append(np.inf)
    where = [index for index, row in enumerate(rows) for _ in row]
    data = [factor for row in rows for _, factor in row]
    indices = [column for row in rows for column, _ in row]
    shape = (len(rows), binaries + len(demands))
    return [LinearConstraint(csr_array((data, (where, indices)), shape), least, most)]


def _run(costs: Array, binaries: int, rules: list[LinearConstraint]) -> OptimizeResult:
    is_integer = np.arange(len(costs)) < binaries
    return milp(costs, integrality=is_integer, bounds=Bounds(0, 1), constraints=rules, options=_OPTIONS)


def _proven(result: OptimizeResult, costs: Array) -> int:
    """The integer that the objective is proven to reach at least."""
    bound = result.mip_dual_bound
    if bound is None:  # a relaxation: its optimum is the bound
        bound = result.fun if result.status == 0 else None
    if bound is None or not np.isfinite(bound):
        return 0
    return max(0, ceil(float(bound) - _TOLERANCE * max(1.0, float(costs.sum()))))


def _labels(
    result: OptimizeResult, unary: dict[int, list[int]], columns: dict[int, int]
) -> list[dict[int, int]]:
    """The labelling that was found, rounded if it is a relaxation's; empty if there is none."""
    if result.x is None:
        return []
    shares = {v: result.x[columns[v] : columns[v] + len(costs)] for v, costs in unary.items()}
    return [{variable: int(np.argmax(share)) for variable, share in shares.items()}]
