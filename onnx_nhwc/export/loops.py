"""Loop and Scan, turn by turn: the body is written out as often as it runs.

Layers of the body are made once and called at every turn, so that their weights are shared. A Loop
that may end early runs as often as it can, and keeps its states once its condition is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_nhwc.export.call import Call
from onnx_nhwc.export.values import Constant, Fact, Steps, UnsupportedError

__all__ = ["loop", "scan"]

_NODES = 20_000
"""A model of more nodes than this takes minutes to build."""

_UNBOUNDED = (
    "how often it runs is known at run time only, and it is written out turn by turn: "
    "give it a constant trip count, declare the length of an output, or end its condition by a constant"
)


def loop(call: Call) -> Any:
    """Loop; how often it runs at most has to be known, or to follow from its condition or its outputs."""
    body: ir.Graph = call.attribute("body")
    count = len(call.values) - 2
    limit, exact = _limit(call, count)
    _affordable(body, limit)
    conditions = _conjuncts(body.outputs[0])
    turns = _Turns(call, body, [call.walk.fact(call.value(2 + i)) for i in range(count)])
    go: Fact = call.walk.fact(call.value(1)) if call.has(1) else Constant.of(np.array(True))
    steps = call.walk.steps
    for turn in range(limit if limit is not None else _NODES):
        if not exact:
            go = _both(steps, go, steps.above(steps.scalar(call.tensor(0)), turn))
        if isinstance(go, Constant) and not go.array.reshape(-1)[0]:
            break
        go = turns.run(turn, go)
        if limit is None and not isinstance(go, Constant):
            _affordable(body, turn)
            known = [fact for fact in map(call.walk.fact, conditions) if isinstance(fact, Constant)]
            if not known:
                raise UnsupportedError(_UNBOUNDED)
            if not all(fact.array.reshape(-1)[0] for fact in known):
                break
    else:
        if limit is None:
            raise UnsupportedError(f"it has no limit, and does not end within {_NODES} turns")
    return turns.finished()


def _limit(call: Call, count: int) -> tuple[int | None, bool]:
    """How often a Loop runs at most, and whether no more is to be known of it."""
    if not call.has(0):
        return None, True
    known = call.constant(0)
    if known is not None:
        turns = int(known.array.reshape(-1)[0])
        return (None if turns >= 2**31 - 1 else turns), True
    for output in call.node.outputs[count:]:
        for value in _alike(output):
            shape = call.walk.shapes.declared(value)
            if shape is not None and shape[0].static:
                return shape[0].number, False
    node = call.value(0).producer()
    if node is not None and node.op_type == "Min":
        facts = [call.walk.fact(value) for value in node.inputs if value is not None]
        bounds = [fact for fact in facts if isinstance(fact, Constant)]
        if bounds:
            return min(int(fact.array.reshape(-1)[0]) for fact in bounds), False
    return None, False


def _alike(value: ir.Value) -> list[ir.Value]:
    """The value and its casts, all of one shape: any of them may be the one that is declared."""
    casts = [node.outputs[0] for node in value.consumers() if node.op_type in {"Cast", "Identity"}]
    return [value, *(same for cast in casts for same in _alike(cast))]


def _conjuncts(condition: ir.Value) -> list[ir.Value]:
    """Values all of which have to be true for a condition to be true; the condition is one of them."""
    node = condition.producer()
    parts = [condition]
    if node is not None and node.op_type in {"And", "Cast", "Identity"}:
        for value in node.inputs:
            if value is not None:
                parts += _conjuncts(value)
    return parts


def _affordable(body: ir.Graph, turns: int | None) -> None:
    nodes = len(list(body.all_nodes()))
    if turns is not None and turns * nodes > _NODES:
        raise UnsupportedError(f"it runs {turns} times over {nodes} nodes, which would all be written out")


def _both(steps: Steps, a: Fact, b: Any) -> Any:
    if isinstance(a, Constant):
        return b if a.array.reshape(-1)[0] else a
    return steps.both(steps.scalar(a), b)


@dataclass
class _Turns:
    """The states of a Loop, and what it has given out so far."""

    call: Call
    body: ir.Graph
    states: list[Fact]
    given: list[list[Fact]] = field(default_factory=list)
    ran: list[Any] = field(default_factory=list)

    def run(self, turn: int, go: Fact) -> Fact:
        """Run the body, and say whether to go on."""
        number, steps = self.body.inputs[0], self.call.walk.steps
        one = Constant.of(np.array(turn, number.dtype.numpy() if number.dtype is not None else np.int64))
        results = replay(self.call, self.body, [one, go, *self.states])
        new = results[1 : 1 + len(self.states)]
        steady(self.call, self.states, self.body.inputs[2:], self.body.outputs[1:])
        if isinstance(go, Constant):
            self.states = new
        else:
            self.states = [_kept(steps, go, a, b) for a, b in zip(new, self.states, strict=True)]
        self.given.append(results[1 + len(self.states) :])
        self.ran.append(go)
        going: Fact = results[0]
        if isinstance(going, Constant):
            return go if going.array.reshape(-1)[0] else going
        return _both(steps, go, steps.scalar(going))

    def finished(self) -> list[Fact]:
        """The last states, and what all turns have given out, one behind the other."""
        outputs, steps = self.body.outputs[1 + len(self.states) :], self.call.walk.steps
        if outputs and not self.given:
            raise UnsupportedError("it does not run at all")
        columns = [_stacked(steps, [turn[i] for turn in self.given], 0) for i in range(len(outputs))]
        if columns and not all(isinstance(go, Constant) for go in self.ran):
            flags = [go.array.reshape(()) if isinstance(go, Constant) else go for go in self.ran]
            kept = steps.places(flags)
            columns = [steps.entries(_argument(column), kept) for column in columns]
        return [*self.states, *columns]


def _kept(steps: Steps, go: Any, new: Fact, old: Fact) -> Any:
    a, b = _argument(new), _argument(old)
    if tuple(np.shape(a)) != tuple(np.shape(b)):
        raise UnsupportedError("it may end early, and its states change their sizes")
    return steps.choose(steps.scalar(go), a, b)


def _argument(fact: Fact) -> Any:
    return fact.array if isinstance(fact, Constant) else fact


def _stacked(steps: Steps, facts: list[Fact], axis: int) -> Fact:
    if all(isinstance(fact, Constant) for fact in facts):
        return Constant.of(np.stack([fact.array for fact in facts], axis=axis))
    return steps.stack([_argument(fact) for fact in facts], axis)


def replay(call: Call, body: ir.Graph, inputs: list[Fact]) -> list[Fact]:
    """What a body computes from these inputs, whatever it has computed before."""
    walk = call.walk
    before = len(walk.errors)
    results = walk.replay(body, inputs)
    if len(walk.errors) > before:
        raise UnsupportedError("its body cannot be expressed")
    return results


def steady(call: Call, states: Sequence[Fact], before: Sequence[ir.Value], after: Sequence[ir.Value]) -> None:
    """Sizes that are known at run time only are looked up by name: a state has to keep them."""
    for state, a, b in zip(states, before, after, strict=False):
        unknown = [axis for axis, size in enumerate(state.shape) if size is None]
        old, new = (call.walk.shapes.shape(value) for value in (a, b))
        known = old is not None and new is not None and len(old) == len(new) == len(state.shape)
        if unknown and not (known and all(p == q for p, q in _at(unknown, old, new))):
            raise UnsupportedError(f"the sizes of its state '{a.name}' change, and are not known")


def _at(axes: list[int], old: Any, new: Any) -> list[tuple[Any, Any]]:
    return [(old[axis], new[axis]) for axis in axes]


def scan(call: Call) -> Any:
    """Scan: the body's turns are as many as the axis that it runs along is long."""
    body: ir.Graph = call.attribute("body")
    count, steps = call.attribute("num_scan_inputs"), call.walk.steps
    if call.opset < 9:
        return _scan_of_samples(call, body, count)
    first = call.count - count
    axes = call.attribute("scan_input_axes") or [0] * count
    back = call.attribute("scan_input_directions") or [0] * count
    facts = [call.walk.fact(call.value(i)) for i in range(call.count)]
    states, rows = facts[:first], facts[first:]
    turns = rows[0].shape[axes[0] % len(rows[0].shape)]
    if turns is None:
        raise UnsupportedError(_UNBOUNDED)
    _affordable(body, turns)
    given: list[list[Fact]] = []
    for turn in range(turns):
        parts = [
            _part(steps, row, axis % len(row.shape), turns - 1 - turn if reverse else turn)
            for row, axis, reverse in zip(rows, axes, back, strict=True)
        ]
        results = replay(call, body, [*states, *parts])
        steady(call, states, body.inputs, body.outputs)
        states = results[:first]
        given.append(results[first:])
    outputs = len(body.outputs) - first
    axes = call.attribute("scan_output_axes") or [0] * outputs
    back = call.attribute("scan_output_directions") or [0] * outputs
    columns = []
    for i, (axis, reverse) in enumerate(zip(axes, back, strict=True)):
        column = [results[i] for results in (reversed(given) if reverse else given)]
        columns.append(_stacked(steps, column, axis % (len(column[0].shape) + 1)))
    return [*states, *columns]


def _scan_of_samples(call: Call, body: ir.Graph, count: int) -> list[Fact]:
    """Scan as it was before opset 9: it runs for every sample of a batch, which is axis 0, apart."""
    if call.has(0):
        raise UnsupportedError("its samples have lengths of their own")
    steps = call.walk.steps
    back = call.attribute("directions") or [0] * count
    facts = [call.walk.fact(call.value(i)) for i in range(1, call.count)]
    samples, turns = facts[-1].shape[:2]
    if samples is None or turns is None:
        raise UnsupportedError(_UNBOUNDED)
    _affordable(body, samples * turns)
    first = len(facts) - count
    results = []
    for sample in range(samples):
        mine = [_part(steps, fact, 0, sample) for fact in facts]
        states, given = mine[:first], []
        for turn in range(turns):
            parts = [
                _part(steps, row, 0, turns - 1 - turn if reverse else turn)
                for row, reverse in zip(mine[first:], back, strict=True)
            ]
            found = replay(call, body, [*states, *parts])
            steady(call, states, body.inputs, body.outputs)
            states = found[:first]
            given.append(found[first:])
        results.append([*states, *(_stacked(steps, list(column), 0) for column in zip(*given, strict=True))])
    return [_stacked(steps, list(column), 0) for column in zip(*results, strict=True)]


def _part(steps: Steps, row: Fact, axis: int, index: int) -> Fact:
    if isinstance(row, Constant):
        return Constant.of(np.take(row.array, index, axis=axis))
    return steps.part(row, axis, index)
