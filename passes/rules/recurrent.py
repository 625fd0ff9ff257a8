"""LSTM, GRU, RNN: time first in the standard, batch first as a function of the domain ``onnx_nhwc``.

    LSTM:            x: s n i  ->  y: s d n h        s sequence, n batch, d directions
    LSTMBatchFirst:  x: n s i  ->  y: n s d h        i input and h hidden features

States are ``d n h`` in both, as in PyTorch, whose ``batch_first`` does not apply to them either. The
standard's own form, ``layout=1``, is one that onnxruntime does not run.
"""

from __future__ import annotations

from dataclasses import dataclass

from .relation import Move, Relation, Rule, Site, barrier
from .spatial import call_function

SEQUENCE, DIRECTIONS, BATCH, INPUT, HIDDEN = range(5)


@dataclass(frozen=True)
class RecurrentRule(Rule):
    """A row for a recurrent operator."""

    @staticmethod
    def relation(inputs: int, outputs: int) -> Relation:
        """For a node with so many inputs and outputs; weights, lengths and states keep their order."""
        return Relation(
            ((SEQUENCE, BATCH, INPUT), *[None] * (inputs - 1)),
            ((SEQUENCE, DIRECTIONS, BATCH, HIDDEN), None, None)[:outputs],
            whole=frozenset((SEQUENCE, DIRECTIONS, BATCH, INPUT, HIDDEN)),
            native=(BATCH, SEQUENCE, DIRECTIONS, INPUT, HIDDEN),
            optional=True,
        )


def recurrent() -> RecurrentRule:
    """A row."""
    return RecurrentRule(_relate, _rewrite)


def _relate(site: Site) -> Relation:
    if site.attribute("layout", 0):
        return barrier(site.node, "it has layout 1, which already is batch first")
    if site.rank != 3:
        return barrier(site.node, f"rank {site.rank} is not a sequence's")
    return RecurrentRule.relation(len(site.node.inputs), len(site.node.outputs))


def _rewrite(move: Move) -> None:
    if move.native:
        call_function(move, "BatchFirst")
