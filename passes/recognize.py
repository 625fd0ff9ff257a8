"""Recognises operators that exporters write in several pieces.

What a piece means is the same in any layout, but as pieces they force Transposes that the whole
operator does not need: in channels last, the groups of a GroupNormalization lie between image and
channel, and a pixel shuffle is one movement of data.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
import onnx_ir as ir

from . import graph as g
from .algebra.layout import ONE, Dim, Order, Shape, before_transpose, identity
from .assign.flow import Flow


def recognize(flow: Flow) -> bool:
    """Replace what is recognised in place; True if anything was."""
    edits = g.Edits(flow.model)
    found = [_group_normalization(flow, node, edits) for node in _nodes(flow)]
    found += [_scale_per_channel(flow, node, edits) for node in _nodes(flow)]
    return recognize_shuffles(flow) or any(found)


def _nodes(flow: Flow) -> list[ir.Node]:
    return [node for node in flow.nodes if isinstance(node, ir.Node)]


def complete_axes(flow: Flow) -> bool:
    """Let a Resize of some axes (opset 18) name all of them; True if there was any.

    before:  Resize(x, scales=[2, 2], axes=[2, 3])
    after:   Resize(x, scales=[1, 1, 2, 2])
    """
    edits = g.Edits(flow.model)
    found = [_complete_resize(flow, node, edits) for node in _nodes(flow)]
    return any(found)


def _complete_resize(flow: Flow, node: ir.Node, edits: g.Edits) -> bool:
    axes = node.op_type == "Resize" and g.attribute(node, "axes")
    dims = flow.shape(node.inputs[0]) if axes and node.inputs[0] is not None else None
    policy = g.attribute(node, "keep_aspect_ratio_policy", "stretch")
    if not axes or dims is None or policy != "stretch" or node.domain not in g.STANDARD:
        return False
    rank = len(dims)
    whole: dict[int, list[float]] = {
        1: [0.0] * rank + [1.0] * rank,
        2: [1.0] * rank,
        3: [float(dim.number) if dim.static else 0.0 for dim in dims],
    }
    for index, full in whole.items():
        value = g.input_at(node, index)
        tensor = g.constant(value)
        if value is None or (tensor is not None and tensor.size == 0):
            continue
        others = [axis for axis in range(rank) if axis not in [a % rank for a in axes]]
        if tensor is None or (index == 3 and any(full[axis] == 0.0 for axis in others)):
            return False
        array = tensor.numpy()
        for i, number in enumerate(array):
            half, position = divmod(i, len(axes))
            full[half * rank + axes[position] % rank] = number
        g.set_input(node, index, edits.constant(full, value.name or "scales", array.dtype))
    g.set_attribute(node, "axes", None)
    return True


def recognize_shuffles(flow: Flow) -> bool:
    """Put DepthToSpace and SpaceToDepth in the place of their pieces; True if there were any."""
    edits = g.Edits(flow.model)
    found = [_depth_to_space(flow, value, edits) for value in list(flow.views)]
    return any(found)


def _group_normalization(flow: Flow, node: ir.Node, edits: g.Edits) -> bool:
    """PyTorch's GroupNorm.

    before:  x - Reshape(n, g, -1) - InstanceNormalization(ones, zeros) - Reshape(as x) - Mul - Add - y
    after:   x - GroupNormalization - y
    """
    if node.op_type != "InstanceNormalization" or node.domain not in g.STANDARD:
        return False
    source = node.inputs[0]
    before = source.producer() if source is not None else None
    after = _only_reader(node.outputs[0])
    if before is None or after is None or {before.op_type, after.op_type} != {"Reshape"}:
        return False
    x, end = before.inputs[0], after.outputs[0]
    own = _parameters(node)
    if x is None or source is None or own is None:
        return False
    dims, grouped = flow.shape(x), flow.shape(source)
    if dims is None or grouped is None or len(dims) < 3 or flow.shape(end) != dims:
        return False
    if dims[0] != grouped[0] or len(grouped) != 3 or not dims[1].static:
        return False
    if x.dtype != ir.DataType.FLOAT and g.opset_of(node) < 15:
        return False
    scale, end = _affine(flow, end, "Mul", dims)
    bias, end = _affine(flow, end, "Add", dims)
    channels, groups = dims[1].number, grouped[1].number
    own_scale, own_bias = (np.repeat(v, channels // groups) for v in own)
    factors, addends = (
        t.numpy().reshape(-1) if t is not None else None for t in map(g.constant, (scale, bias))
    )
    scales = own_scale if factors is None else factors * own_scale
    biases = own_bias if factors is None else factors * own_bias
    biases = biases if addends is None else biases + addends
    inputs = [x, edits.parameter(scales, scale, "scale"), edits.parameter(biases, bias, "bias")]
    attributes = {"num_groups": groups, "epsilon": g.attribute(node, "epsilon", 1e-5)}
    _replace(edits, "GroupNormalization", inputs, attributes, node, end)
    return True


def _scale_per_channel(flow: Flow, node: ir.Node, edits: g.Edits) -> bool:
    """Before opset 21, GroupNormalization has a scale and a bias per group: repeat them for its channels."""
    if node.op_type != "GroupNormalization" or g.opset_of(node) >= 21 or node.inputs[0] is None:
        return False
    dims, groups = flow.shape(node.inputs[0]), g.attribute(node, "num_groups")
    tensors = [g.constant(value) for value in node.inputs[1:3]]
    if dims is None or not dims[1].static or any(tensor is None for tensor in tensors):
        return False
    channels, repeated = dims[1].number, False
    for index, tensor in enumerate(tensors, start=1):
        if tensor is not None and tensor.size == groups != channels:
            array = np.repeat(tensor.numpy(), channels // groups)
            g.set_input(node, index, edits.parameter(array, node.inputs[index], "scale"))
            repeated = True
    return repeated


def _parameters(node: ir.Node) -> list[np.ndarray] | None:
    """The constant scale and bias, one per group, of an InstanceNormalization."""
    tensors = [g.constant(value) for value in node.inputs[1:3]]
    return None if any(t is None for t in tensors) else [t.numpy() for t in tensors if t is not None]


def _only_reader(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _affine(flow: Flow, value: ir.Value, op_type: str, dims: Shape) -> tuple[ir.Value | None, ir.Value]:
    """A constant per channel that the value's only reader applies, and that reader's result."""
    reader = _only_reader(value)
    if reader is None or reader.op_type != op_type:
        return None, value
    other = next((v for v in reader.inputs if v is not value), None)
    shape = flow.shape(other) if other is not None else None
    if other is None or g.constant(other) is None or shape is None or flow.shape(reader.outputs[0]) != dims:
        return None, value
    aligned = (ONE,) * (len(dims) - len(shape)) + shape
    wanted = tuple(dims[1] if axis == 1 else ONE for axis in range(len(dims)))
    return (other, reader.outputs[0]) if aligned == wanted else (None, value)


def _replace(
    edits: g.Edits,
    op_type: str,
    inputs: list[ir.Value],
    attributes: dict[str, object],
    origin: ir.Node,
    end: ir.Value,
) -> None:
    last = end.producer()
    assert last is not None
    new = edits.node(
        op_type,
        inputs,
        attributes,
        name=origin.name or op_type,
        insert=last.prepend,
        dtype=end.dtype,
    )
    producer = new.producer()
    if producer is not None and origin.name:
        producer.name = origin.name  # the one that it had goes
    new.shape = end.shape
    name = end.name
    if end.is_graph_output() and end.graph is not None:
        outputs = end.graph.outputs
        outputs[list(outputs).index(end)] = new
    end.replace_all_uses_with(new)
    end.name = edits.name(f"{name}_pieces")
    new.name = name


def _depth_to_space(flow: Flow, value: ir.Value, edits: g.Edits) -> bool:
    """A pixel shuffle or its inverse, however its Reshapes and Transposes are grouped.

    before:  x - Reshape(n,c,r,r,h,w) - Transpose[0,1,4,2,5,3] - Reshape(n,c,hr,wr) - y
    after:   x - DepthToSpace - y
    """
    view = flow.views[value]
    node = value.producer()
    source, target = flow.shape(view.root), flow.shape(value)
    if node is None or source is None or target is None or len(source) != 4 or len(target) != 4:
        return False
    if (
        view.only_transposes
        or not (source[1].static and target[1].static)
        or g.constant(view.root) is not None
    ):
        return False
    if g.opset_of(node) < 11 or all(use.node.op_type == "Reshape" for use in value.uses()):
        return False
    order = view.to_root(identity(target))
    small, large = sorted((source[1].number, target[1].number))
    block = isqrt(large // small)
    if block < 2 or small * block**2 != large:
        return False
    if source[1].number == large:
        for mode in ("CRD", "DCR"):
            if order == depth_to_space_order(source, block, mode):
                attributes: dict[str, object] = {"blocksize": block, "mode": mode}
                _replace(edits, "DepthToSpace", [view.root], attributes, node, value)
                return True
    elif order == space_to_depth_order(source, block):
        _replace(edits, "SpaceToDepth", [view.root], {"blocksize": block}, node, value)
        return True
    return False


def depth_to_space_order(dims: Shape, block: int, mode: str) -> Order | None:
    """The order of a DepthToSpace's result, told in its input's factors (ONNX's definition)."""
    n, c, h, w = dims
    b = Dim(block)
    depth = c.over(b * b)
    assert depth is not None
    split = (n, depth, b, b, h, w) if mode == "CRD" else (n, b, b, depth, h, w)
    return before_transpose(
        identity(split), split, (0, 1, 4, 2, 5, 3) if mode == "CRD" else (0, 3, 4, 1, 5, 2)
    )


def space_to_depth_order(dims: Shape, block: int) -> Order | None:
    """The order of a SpaceToDepth's result, told in its input's factors (ONNX's definition)."""
    n, c, h, w = dims
    b = Dim(block)
    rows, columns = h.over(b), w.over(b)
    if rows is None or columns is None:
        return None
    split = (n, c, rows, b, columns, b)
    return before_transpose(identity(split), split, (0, 3, 5, 1, 2, 4))
