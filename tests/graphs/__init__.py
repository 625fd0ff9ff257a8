"""Random ONNX graphs for the fuzz test: valid, small, and as mixed as a strategy can make them.

A graph is grown node by node. Every value's sizes are known while it grows; an axis may also be
*open*: declared as a symbol, so that only the run tells its size. What a node needs of an open size
it computes from a Shape, as an exporter would write it.
"""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis.strategies as st
import numpy as np
import onnx
from onnx import helper

from tests.graphs import computing, foreign, moving
from tests.graphs.builder import DTYPES, LARGEST, Builder, Draw, Graph, Op, TooNewError, Value

__all__ = ["Graph", "graphs"]

OPSETS = (6, 7, 8, 9, 11, 12, 13, 16, 17, 18, 20, 21, 23)

OPS: tuple[tuple[Op, int], ...] = (
    (computing.unary, 1),
    (computing.clip, 1),
    (computing.with_constant, 2),
    (computing.with_value, 2),
    (computing.compare, 1),
    (moving.transpose, 3),
    (moving.reshape, 3),
    (moving.flatten, 1),
    (moving.squeeze, 1),
    (moving.unsqueeze, 1),
    (computing.reduction, 2),
    (computing.extremum, 1),
    (computing.softmax, 1),
    (moving.concat, 2),
    (moving.split, 1),
    (moving.slicing, 1),
    (moving.pad, 1),
    (moving.tile, 1),
    (moving.expand, 1),
    (moving.gather, 1),
    (computing.cumulative, 1),
    (computing.top, 1),
    (computing.matmul, 1),
    (computing.attention, 1),
    (computing.gemm, 1),
    (computing.conv, 6),
    (computing.pool, 2),
    (computing.norm, 2),
    (computing.resize, 1),
    (moving.depth_to_space, 1),
    (moving.shuffle, 1),
    (computing.lstm, 1),
    (computing.non_zero, 1),
    (moving.shape_of, 1),
    (moving.fill, 1),
    (foreign.branch, 1),
    (foreign.loop, 1),
    (foreign.quantised, 3),
    (foreign.resize_at_run_time, 1),
)
"""Operators, and how often each is drawn."""

DRAWN = [op for op, weight in OPS for _ in range(weight)]


@st.composite
def graphs(draw: Draw, largest: int = 14) -> Graph:
    """A random model and what it is run on."""
    rng = np.random.default_rng(draw(st.integers(0, 7)))
    b = Builder(draw, draw(st.sampled_from(OPSETS)), rng)
    equal = draw(st.booleans())
    for _ in range(b.integer(1, 2)):
        rank = b.pick([4, 4, 4, 4, 3, 3, 5, 2, 1])
        sizes = [2, 2, 2, 2, 2] if equal else [b.integer(1, 4) for _ in range(rank)]
        opened = [b.integer(0, 3) == 3 and (i != 1 or b.chance()) for i in range(rank)]
        value = Value(b.name("x"), tuple(sizes[:rank]), tuple(opened))
        b.inputs.append(value)
        b.values.append(value)
    wanted = draw(st.one_of(st.integers(1, largest), st.integers(largest // 2, largest)))
    for _ in range(3 * wanted):
        recent = b.values[-3:] if b.chance() else b.values
        made = _made(b, b.pick(DRAWN), b.pick(recent))
        wanted -= bool(made)
        for value in made:
            if value.size <= LARGEST and value.rank <= 5:
                b.values.append(value)
        if not wanted:
            break
    return _finish(b)


def _made(b: Builder, op: Op, x: Value) -> list[Value]:
    """What the operator makes of the value; nothing, and no trace, if it does not fit."""
    nodes, inputs = len(b.nodes), len(b.inputs)
    try:
        made = op(b, x)
    except TooNewError:
        made = None
    if made is None:
        del b.nodes[nodes:], b.inputs[inputs:]
        return []
    return made if isinstance(made, list) else [made]


def _finish(b: Builder) -> Graph:
    made = [v for v in b.values if v not in b.inputs]
    read = {name for node in b.nodes for name in node.input}
    outputs = [v for v in made if v.name not in read] or made[-1:]
    outputs += [v for v in made if v.name in read and b.integer(0, 7) == 0 and v not in outputs]
    if not outputs:
        outputs = [b.like("Relu", b.inputs[0])]
    used = set()
    for graph in _bodies(b.nodes):
        used |= {name for node in graph for name in node.input}
    graph = helper.make_graph(
        b.nodes,
        "fuzz",
        [_declared(b, v) for v in b.inputs],
        [helper.make_tensor_value_info(v.name, v.dtype, None) for v in outputs],
        [tensor for tensor in b.constants if tensor.name in used],
    )
    version = 10 if b.opset >= 21 else 3 if b.opset < 9 and b.chance() else 8
    if version == 3:  # where every constant is an input, too
        graph.input.extend(
            helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in graph.initializer
        )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", b.opset)], ir_version=version)
    known = onnx.shape_inference.infer_shapes(model)
    del model.graph.output[:]
    model.graph.output.extend(known.graph.output)
    if b.integer(0, 3) == 0:
        foreign.misdeclared(b, model)
    noise = {
        value.name: b.rng.standard_normal(value.shape).astype(DTYPES[value.dtype])
        for value in b.inputs
        if value.name not in b.fed
    }
    inputs = {value.name for value in b.inputs}
    return Graph(model, noise | {name: fed for name, fed in b.fed.items() if name in inputs})


def _bodies(nodes: Sequence[onnx.NodeProto]) -> list[Sequence[onnx.NodeProto]]:
    found: list[Sequence[onnx.NodeProto]] = [nodes]
    for node in nodes:
        for attribute in node.attribute:
            if attribute.g.node:
                found += _bodies(attribute.g.node)
    return found


def _declared(b: Builder, value: Value) -> onnx.ValueInfoProto:
    """Open axes get a symbol each; equal ones share it, as exporters write it."""
    dims = [f"d{i}_{s}" if o else s for i, (s, o) in enumerate(zip(value.shape, value.open, strict=True))]
    return helper.make_tensor_value_info(value.name, value.dtype, dims)
