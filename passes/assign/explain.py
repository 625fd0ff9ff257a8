"""Why a Transpose is there: which operators insist on the two layouts that it leads between."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import onnx_ir as ir

from .. import graph as g
from ..rules.relation import Relation
from .flow import Flow, Operation

MAX_STEPS = 2000


@dataclass(frozen=True)
class Force:
    """An operator, input or output, and what it insists on."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} {self.why}"


class Explainer:
    """Finds what insists on a layout; to be made before the graph is rewritten."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.names = {operation: g.describe(operation) for operation in flow.nodes}
        self.roots: dict[Operation, list[ir.Value]] = {}
        for root, uses in flow.uses.items():
            for use in uses:
                if use.node is not None:
                    self.roots.setdefault(use.node, []).append(root)

    def producer(self, root: ir.Value) -> Force:
        """What insists on how a root is stored: its producer, or the next one upstream that does."""
        pending, seen = deque([root]), {root}
        while pending and len(seen) < MAX_STEPS:
            value = pending.popleft()
            maker = self.flow.producer(value)
            if maker is None:
                return Force(f"input '{value.name}'", "has this layout at the model's door")
            why = insists(self.flow.relation(maker[0]))
            if why:
                return Force(self.names[maker[0]], why)
            for source in self.roots.get(maker[0], ()):
                if source not in seen and g.constant(source) is None:
                    seen.add(source)
                    pending.append(source)
        return Force(f"'{root.name}'", "could be stored in either layout at the same cost")

    def reader(self, start: Operation | str) -> Force:
        """What insists on how a reader wants its input: itself, or the next one downstream that does."""
        if isinstance(start, str):
            return Force(start, "keeps the layout that the model's callers know")
        pending, seen = deque([start]), {start}
        while pending and len(seen) < MAX_STEPS:
            operation = pending.popleft()
            why = insists(self.flow.relation(operation))
            if why:
                return Force(self.names[operation], why)
            for value in operation.outputs:
                for use in self.flow.uses.get(value, ()):
                    if use.node is None:
                        return Force(
                            f"output '{use.value.name}'",
                            "keeps the layout that the model's callers know",
                        )
                    if use.node not in seen:
                        seen.add(use.node)
                        pending.append(use.node)
        return Force(self.names[start], "could run in either layout at the same cost")


def insists(relation: Relation) -> str:
    """What an operator insists on; empty if any layout serves."""
    if relation.barrier:
        return f"keeps the source's order: {relation.barrier}"
    if relation.optional:
        return "reads sequences time first or batch first"
    if relation.native is not None:
        return "has a fixed place for the channels"
    if relation.allows is not None:
        return "speaks of its innermost or outermost axes"
    return ""


__all__ = ["Explainer", "Force", "insists"]
