"""How many faults of a layout compiler the comparison sees: faults put into converted models, counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.models.catalogue import CASES, Case
from tests.support.mutations import KINDS, Tally, tally
from tests.support.running import converted

Row = dict[str, Any]
MOST = 3
"""Faults of a kind in one network."""


def mutations(wanted: Callable[[str], object], say: Callable[[str], None]) -> list[Row]:
    """One row a kind of fault, over all networks of the catalogue whose results depend on their inputs."""
    totals = {kind: Tally() for kind in KINDS}
    networks = [case for case in CASES if _counts(case) and wanted(case.name)]
    for case in networks:
        say(case.name)
        source = case.load()
        result, _ = converted(source)
        for kind, found in tally(source, result, case.inputs(), list(KINDS), MOST).items():
            total = totals[kind]
            total.faults += found.faults
            total.caught += found.caught
            total.without_effect += found.without_effect
            total.missed += [f"{case.name}: {missed}" for missed in found.missed]
            total.only_roundings += [f"{case.name}: {name}" for name in found.only_roundings]
    return [{"kind": kind, "networks": len(networks), **vars(total)} for kind, total in totals.items()]


def _counts(case: Case) -> bool:
    return case.family != "pitfalls" and not (case.heavy or case.degenerate)
