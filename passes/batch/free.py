"""Frees a batch that an export fixed at 1: proves that it only passes through, then unfixes it.

An exporter that traces one sample writes its 1 into Reshape targets. Where every value holds the
samples one behind the other (the batch is the outermost factor of one axis, all axes before it being
whole), and every operator treats them alike, that 1 may be any number:

    x: [1, 3, 8, 8] - Conv - [1, 6, 8, 8] - Reshape[1, 384]     becomes
    x: [N, 3, 8, 8] - Conv - [N, 6, 8, 8] - Reshape[-1, 384]

What fails the proof stays as it is, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from .. import graph as g
from ..forms.normalize import normalize
from ..shapes.infer import infer
from .changes import Bench
from .proof import BoundError, Proof

NAME = "batch"


@dataclass(frozen=True)
class Freed:
    """What came of it: the inputs whose batch is free now, or why it is not."""

    inputs: tuple[str, ...] = ()
    outputs: dict[str, int] = field(default_factory=dict)
    """The axis that the batch is in."""
    reason: str = ""

    def describe(self) -> str:
        """For people; empty if no input has a batch of the fixed size 1."""
        if self.inputs:
            return "free, although the source fixes it at 1"
        return f"fixed at 1, as {self.reason}" if self.reason else ""


def free_batch(model: ir.Model) -> tuple[ir.Model, Freed]:
    """Return a copy of a model whose batch is free, or the model itself and the reason.

    Concerned are inputs whose first axis has the fixed size 1; models that have none are as they are.
    """
    fixed = [v for v in model.graph.inputs if _is_one(v) and g.constant(v) is None]
    if not fixed:
        return model, Freed()
    work = model.clone()
    normalize(work)
    inputs = [v for v in work.graph.inputs if _is_one(v)]
    try:
        proof = Proof(work.graph, infer(work), inputs)
        outputs = {v.name or "": proof.places[v] for v in work.graph.outputs}
        bench = Bench(g.Edits(work), inputs[0])
        for change in proof.changes:
            change.make(bench)
        _unfix(work, inputs)
        _check(work, outputs)
    except BoundError as error:
        return model, Freed(reason=str(error))
    return work, Freed(tuple(v.name or "" for v in inputs), outputs)


def _is_one(value: ir.Value) -> bool:
    return value.shape is not None and len(value.shape) > 0 and value.shape[0] == 1


def _unfix(model: ir.Model, inputs: Sequence[ir.Value]) -> None:
    """Give the batch a name in the inputs, and forget what was inferred from its size."""
    taken = {str(d) for v in inputs for d in v.shape or ()}
    name = NAME
    while name in taken:
        name += "_"
    for value in inputs:
        assert value.shape is not None
        value.shape = ir.Shape([name, *list(value.shape)[1:]])
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.shape = None


def _check(model: ir.Model, places: Mapping[str, int]) -> None:
    """Infer anew, and find the batch wherever the proof says that it is."""
    shapes = infer(model)
    for value in model.graph.outputs:
        dims = shapes.shape(value)
        if dims is None or dims[places[value.name or ""]].static:
            raise BoundError(f"the batch of output '{value.name}' does not follow from the input's")
