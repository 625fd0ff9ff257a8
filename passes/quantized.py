"""Quantised operators are units: DequantizeLinear, the operator, QuantizeLinear.

Runtimes compute such a unit on integers, if nothing stands between its parts, and know what is quantised
by its pairs of QuantizeLinear and DequantizeLinear. So

- every reader has a DequantizeLinear of its own while layouts are chosen. A Transpose is then cheapest
  where the integers are, outside of the unit, whatever other readers want;
- a Transpose of integers between a QuantizeLinear and what undoes it is written as a unit, too:

    before:  x - Q - Transpose - DQ - Conv
    after:   x - Q - DQ - Transpose - Q - DQ - Conv

- a function reads integers, and dequantises them itself, so that the Transposes in its body are of integers:

    before:  DQ(x, scale, zero point) - Conv2D
    after:   Conv2D_q0(x, ..., scale, zero point)

- a Reshape or Transpose of dequantised values is a unit as well. onnxruntime's optimiser would make it
  one, but not well: it ends the process where a body reads what was moved, and from opset 21 on it
  gives int8 a zero point of uint8 on CPUs without VNNI, and refuses what it made:

    before:  q - DQ - Reshape - Gemm
    after:   q - DQ - Reshape - Q - DQ - Gemm
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import onnx_ir as ir

from . import graph as g
from .rules import usual_inputs
from .rules.spatial import DOMAIN

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
MOVES = frozenset({"Transpose", "Reshape"})
CALLS = re.compile(r"(?P<op>[A-Za-z]+?)[123]D(_(?P<given>\d+))?")
"""Functions of spatial operators with one result, by their inputs."""
KERNEL = 1
"""Which input of a convolution its kernel is."""
KERNELS = frozenset({"Conv", "ConvTranspose"})
MOVABLE = frozenset({ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16})
"""Integers that every runtime transposes."""
SCALES = 2.0**-100, 2.0**100
"""Scales by which every integer of 16 bits is the same after DequantizeLinear and QuantizeLinear."""


def separate(model: ir.Model) -> list[ir.Node]:
    """Give each reader of a dequantised value a DequantizeLinear of its own; return those that are new."""
    edits = g.Edits(model)
    added: list[ir.Node] = []
    for node in list(model.graph.all_nodes()):
        if not _is(node, DEQUANTIZE):
            continue
        output = node.outputs[0]
        uses = list(output.uses())
        for use in uses if output.is_graph_output() else uses[1:]:
            copy = _again(node, list(node.inputs), edits, node.append)
            use.node.replace_input_with(use.idx, copy)
            added += [maker] if (maker := copy.producer()) is not None else []
    return added


def join(model: ir.Model, added: Iterable[ir.Node]) -> None:
    """Take back those of :func:`separate` that dequantise the same integers as another."""
    for node in added:
        data, output = node.inputs[0], node.outputs[0]
        if data is None or node.graph is None:
            continue
        others = [use.node for use in data.uses() if use.idx == 0 and _is_same(use.node, node)]
        others = [other for other in others if other is not node and other.graph is node.graph]
        if others and not output.is_graph_output():
            output.replace_all_uses_with(others[0].outputs[0])
            node.graph.remove(node, safe=True)
    model.graph.sort()  # the other may have stood behind what reads it now


def _is_same(node: ir.Node, other: ir.Node) -> bool:
    """Whether two nodes compute the same."""
    return (
        (node.domain, node.op_type) == (other.domain, other.op_type)
        and list(node.inputs) == list(other.inputs)
        and {a.name: a.value for a in node.attributes.values()}
        == {a.name: a.value for a in other.attributes.values()}
    )


def complete(model: ir.Model) -> None:
    """Write Reshapes and Transposes of dequantised values as units."""
    edits = g.Edits(model)
    for node in list(model.graph.all_nodes()):
        data = node.inputs[0] if node.op_type in MOVES and node.domain in g.STANDARD else None
        made = data.producer() if data is not None else None
        moved = node.outputs[0]
        if made is None or not _is(made, DEQUANTIZE) or not _is_exact(made) or _only_quantised(moved):
            continue
        integers = made.inputs[0]
        if integers is None or integers.dtype not in MOVABLE:
            continue
        uses = list(moved.uses())
        zero = g.input_at(made, 2) or edits.constant(0, "zero_point", integers.dtype.numpy())
        parameters = [made.inputs[1], zero]
        again = edits.node(
            QUANTIZE, [moved, *parameters],
            name=f"{node.name}_{QUANTIZE}", insert=node.append, dtype=integers.dtype,
        )  # fmt: skip
        again.shape = moved.shape
        maker = again.producer()
        assert maker is not None
        floats = _again(made, [again, *parameters], edits, maker.append)
        floats.shape = moved.shape
        for use in uses:
            use.node.replace_input_with(use.idx, floats)
        edits.take_place(floats, moved)


def _only_quantised(value: ir.Value) -> bool:
    """Whether all that reads a value quantises it."""
    return not value.is_graph_output() and all(
        _is(use.node, QUANTIZE) and use.idx == 0 for use in value.uses()
    )


def wrap(model: ir.Model, transposes: Iterable[ir.Node]) -> None:
    """Write each of these Transposes of integers, and Reshapes next to it, as a unit."""
    edits = g.Edits(model)
    for transpose in transposes:
        for node in list(_links(transpose)):
            _wrap(node, edits)


def _links(node: ir.Node) -> Iterator[ir.Node]:
    """The nodes of the chain that a Transpose is in, from where it starts."""
    data = node.inputs[0]
    while data is not None and (maker := data.producer()) is not None and maker.op_type in MOVES:
        node, data = maker, maker.inputs[0]
    yield node
    while len(uses := list(node.outputs[0].uses())) == 1 and uses[0].node.op_type in MOVES:
        node = uses[0].node
        yield node


def _wrap(node: ir.Node, edits: g.Edits) -> None:
    before, after = node.inputs[0], node.outputs[0]
    made = before.producer() if before is not None else None
    if made is None or not _is(made, QUANTIZE) or not _is_exact(made) or not _only_dequantised(after):
        return
    source, shape = made.inputs[0], before.shape if before is not None else None
    parameters = made.inputs[1:]
    floats = edits.node(
        DEQUANTIZE,
        [before, *parameters],
        name=f"{node.name}_{DEQUANTIZE}",
        insert=node.prepend,
        dtype=source.dtype if source is not None else None,
    )
    floats.shape = shape
    node.replace_input_with(0, floats)
    uses = list(after.uses())
    integers = _again(made, [after, *parameters], edits, node.append)
    integers.shape, integers.type = after.shape, after.type
    after.type = floats.type
    for use in uses:
        use.node.replace_input_with(use.idx, integers)


def absorb(model: ir.Model) -> None:
    """Let functions read integers, and dequantise them themselves."""
    for node in model.graph.all_nodes():
        match = CALLS.fullmatch(node.op_type) if node.domain == DOMAIN else None
        if match is None:
            continue
        given = [int(i) for i in match["given"] or usual_inputs(match["op"])]
        ports = [
            port for port in given if port <= KERNEL and _dequantized(node, given.index(port), match["op"])
        ]
        for port in ports:
            value = node.inputs[given.index(port)]
            made = value.producer() if value is not None else None
            assert made is not None
            count = len(node.inputs)
            node.replace_input_with(given.index(port), made.inputs[0])
            node.resize_inputs(count + 2)
            for index, parameter in enumerate(made.inputs[1:]):
                node.replace_input_with(count + index, parameter)
        if ports:
            node.op_type += "_q" + "".join(map(str, ports))
    g.remove_dead(model)


def _dequantized(node: ir.Node, index: int, op_type: str) -> bool:
    """Whether an input can be read as integers: an image with one scale, or a constant kernel.

    A kernel may have a scale for each channel of the result.
    """
    value = node.inputs[index]
    made = value.producer() if value is not None else None
    if made is None or not _is(made, DEQUANTIZE) or len(made.inputs) < 3:
        return False
    data, scale = made.inputs[0], g.constant(made.inputs[1])
    if data is None or data.dtype not in MOVABLE or scale is None or g.constant(made.inputs[2]) is None:
        return False
    if g.attribute(made, "block_size", 0) or g.attribute(made, "output_dtype", 0):
        return False
    kernel = index == KERNEL and op_type in KERNELS
    if len(scale.shape) == 0:
        return kernel or _is_exact(made)
    rank = len(data.shape or ())  # a kernel's axes are the standard's in reverse, but for its image
    return kernel and g.attribute(made, "axis", 1) % rank == rank - 1 - kernel_axis(op_type)


def kernel_axis(op_type: str) -> int:
    """The axis of a kernel, in the standard's order, whose channels have scales of their own."""
    return 0 if op_type == "Conv" else 1


def _again(
    node: ir.Node, inputs: list[ir.Value | None], edits: g.Edits, insert: Callable[[ir.Node], None]
) -> ir.Value:
    """The same operator with other inputs."""
    output = node.outputs[0]
    new = edits.node(node.op_type, inputs, name=node.name or output.name or node.op_type, insert=insert)
    maker = new.producer()
    assert maker is not None
    maker.attributes.update(node.attributes)
    maker.domain, maker.version = node.domain, node.version
    new.type, new.shape = output.type, output.shape
    return new


def _is(node: ir.Node, op_type: str) -> bool:
    return node.op_type == op_type and node.domain in g.STANDARD


def _is_exact(node: ir.Node) -> bool:
    """Whether integers are the same after DequantizeLinear and QuantizeLinear by a node's scale."""
    scale = g.constant(g.input_at(node, 1))
    if scale is None or scale.size != 1 or scale.dtype != ir.DataType.FLOAT:
        return False
    return SCALES[0] < float(scale.numpy().reshape(-1)[0]) < SCALES[1]


def _only_dequantised(value: ir.Value) -> bool:
    """Whether all that reads a value dequantises it, also after it has been moved."""
    if value.is_graph_output() or not value.uses():
        return False
    return all(
        use.idx == 0
        and (
            _is(use.node, DEQUANTIZE)
            or (use.node.op_type in MOVES and _only_dequantised(use.node.outputs[0]))
        )
        for use in value.uses()
    )


__all__ = ["KERNEL", "absorb", "complete", "join", "kernel_axis", "separate", "wrap"]
