"""The solver's own form of a problem: a network of unary and pairwise integer costs.

A value's cost is ``weight * |wanted keys that differ from the produced one|``. Per key ``k`` that
is ``weight * [producer not in P] * [some use u in U_u]`` with the label sets ``P`` and ``U_u`` that
produce and want ``k``: a `Demand`. One with several uses becomes pairwise through a helper
variable ``a``, "a copy in order k exists":

    min over a of  weight * a * [producer not in P]  +  sum over u of weight * (1 - a) * [u in U_u]

which is 0 if no use wants ``k`` or the producer stores it, else ``weight``. With two labels
everywhere this is the exact two-helper fan-out gadget of a minimum cut, without infinite edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Demand:
    """One order that one value may be wanted in. Label sets are bit masks.

    ``supply`` is None if no label of the producer stores this order. ``wants`` is empty if some
    use wants it whatever its label.
    """

    weight: int
    supply: tuple[int, int] | None
    wants: tuple[tuple[int, int], ...]

    def variables(self) -> tuple[int, ...]:
        supply = () if self.supply is None else (self.supply[0],)
        return supply + tuple(variable for variable, _ in self.wants)

    def is_paid(self, labels: Mapping[int, int]) -> bool:
        """Whether a Transpose to this order is needed under ``labels``."""
        if self.supply is not None and self.supply[1] >> labels[self.supply[0]] & 1:
            return False
        return not self.wants or any(mask >> labels[v] & 1 for v, mask in self.wants)


@dataclass(frozen=True)
class Scale:
    """Packs (bytes, Transposes, preference) into one integer that sorts alike."""

    unit: int
    counts: int
    preferences: int

    def pack(self, weight: int) -> int:
        """The cost of one Transpose of ``weight`` bytes."""
        return (weight // self.unit * self.counts + 1) * self.preferences

    def bytes(self, packed: int) -> int:
        """The bytes in a packed cost; of a lower bound, the bytes it proves."""
        return packed // self.preferences // self.counts * self.unit


@dataclass
class Network:
    """sum_i unary[i][x_i] + sum_ij pairs[i, j][x_i * len(unary[j]) + x_j], with i < j."""

    unary: list[list[int]]
    pairs: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def add_pair(self, first: tuple[int, int], second: tuple[int, int], cost: int) -> None:
        """Add ``cost`` where both variables take a label of their masks."""
        if first[0] == second[0]:
            return self.add_unary(first[0], first[1] & second[1], cost)
        (i, rows), (j, columns) = sorted((first, second))
        height, width = len(self.unary[i]), len(self.unary[j])
        table = self.pairs.setdefault((i, j), [0] * (height * width))
        for row in range(height):
            if rows >> row & 1:
                for column in range(width):
                    if columns >> column & 1:
                        table[row * width + column] += cost
        return None

    def add_unary(self, variable: int, mask: int, cost: int) -> None:
        costs = self.unary[variable]
        for label in range(len(costs)):
            if mask >> label & 1:
                costs[label] += cost

    def add_demand(self, demand: Demand, cost: int) -> None:
        """Add one demand; several wants cost a helper variable. A constant one adds nothing."""
        wants = demand.wants
        missed = None
        if demand.supply is not None:
            producer, mask = demand.supply
            missed = (producer, mask ^ (1 << len(self.unary[producer])) - 1)
        if len(wants) > 1:
            self.unary.append([0, 0 if missed else cost])
            helper = len(self.unary) - 1
            for want in wants:
                self.add_pair(want, (helper, 0b01), cost)
            wants = ((helper, 0b10),)
            if not missed:
                return
        terms = [term for term in (missed, *wants) if term]
        if len(terms) == 2:
            self.add_pair(terms[0], terms[1], cost)
        elif terms:
            self.add_unary(*terms[0], cost)

    def cost(self, labels: Sequence[int]) -> int:
        total = sum(costs[label] for costs, label in zip(self.unary, labels, strict=True))
        for (i, j), table in self.pairs.items():
            total += table[labels[i] * len(self.unary[j]) + labels[j]]
        return total
