"""Evaluates what does not depend on the model's inputs, such as the shape arithmetic of static exports.

onnxruntime evaluates it, with optimisations off: what a folded model computes must be what the source
computes there, and onnx's own reference evaluator differs from it in many an operator and opset.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx
import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import Reshape, Step

MAX_ELEMENTS = 4096
"""Larger results stay computed: weights are no shape arithmetic."""
RANDOM = frozenset(
    {
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
    }
)
IR_VERSION = 10
"""Has the types that onnxruntime has, and every onnxruntime that is supported reads it."""
CARRIERS = {
    ir.DataType.INT4: ir.DataType.INT8,
    ir.DataType.UINT4: ir.DataType.UINT8,
    **dict.fromkeys((kind for kind in ir.DataType if kind.name.startswith("FLOAT8")), ir.DataType.FLOAT),
    ir.DataType.BFLOAT16: ir.DataType.FLOAT,
}
"""Types that onnxruntime does not hand out, and wider ones that hold all their numbers."""


def foldable(node: ir.Node) -> bool:
    """Whether a node computes something small from constants alone.

    A DequantizeLinear does not count: runtimes compute on what is quantised, which they know by it.
    """
    if not computable(node) or node.op_type == "DequantizeLinear" or not node.inputs:
        return False
    tensors = [g.constant(value) for value in node.inputs if value is not None and value.name]
    if any(tensor is None or tensor.size > MAX_ELEMENTS for tensor in tensors):
        return False
    return all(value.dtype is not None and not _is_large(value.shape) for value in node.outputs)


def _is_large(shape: ir.Shape | None) -> bool:
    return shape is not None and shape.is_static() and prod(shape.numpy()) > MAX_ELEMENTS


def computable(node: ir.Node) -> bool:
    """Whether a node's results are tensors that are the same at every run with the same inputs."""
    if node.domain not in g.STANDARD or is_random(node) or any(True for _ in g.subgraphs(node)):
        return False
    if not all(value.type is None or isinstance(value.type, ir.TensorType) for value in node.outputs):
        return False  # a sequence, an optional
    return all(value.dtype != ir.DataType.STRING for value in node.outputs)


def is_random(node: ir.Node) -> bool:
    """Whether a node draws numbers: by its nature, or as a Dropout in training."""
    if node.op_type != "Dropout":
        return node.op_type in RANDOM
    if g.opset_of(node) < 12:
        return g.opset_of(node) < 7 and not g.attribute(node, "is_test", 0)
    mode, given = g.constant(g.input_at(node, 2)), g.input_at(node, 2) is not None
    return given and (mode is None or bool(mode.numpy().any()))


def evaluate(node: ir.Node) -> list[np.ndarray] | None:
    """The results of a foldable node; None where they are large or onnxruntime cannot compute them."""
    tensors = [g.constant(value) for value in node.inputs]
    found = compute(node, tensors)
    return found if found is None or all(result.size <= MAX_ELEMENTS for result in found) else None


def compute(node: ir.Node, inputs: Sequence[ir.TensorProtocol | None]) -> list[np.ndarray] | None:
    """What onnxruntime makes of a node and these inputs: its named outputs, in order.

    None where it cannot run the node.
    """
    import onnxruntime as rt  # takes a while, and most models hold nothing that has to be computed

    options = rt.SessionOptions()
    options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    kinds = [value.dtype for value in node.outputs if value.name]
    try:
        model = _alone(node, inputs).SerializeToString()
        session = rt.InferenceSession(model, options, ["CPUExecutionProvider"])
        results = [np.asarray(result) for result in session.run(None, {})]
    except Exception:  # onnxruntime's exceptions have no common base
        return None
    return [
        result if kind not in CARRIERS else result.astype(kind.numpy())
        for result, kind in zip(results, kinds, strict=True)
    ]


def _alone(node: ir.Node, inputs: Sequence[ir.TensorProtocol | None]) -> onnx.ModelProto:
    """A model of one node, whose inputs are constants."""
    proto = ir.to_proto(node)
    del proto.input[:], proto.output[:]
    operands, nodes, infos = [], [proto], []
    for index, tensor in enumerate(inputs):
        proto.input.append("" if tensor is None else f"i{index}")
        if tensor is not None:
            held = tensor if tensor.dtype == ir.DataType.STRING else ir.Tensor(tensor.numpy(), tensor.dtype)
            operands.append(ir.to_proto(held))  # its data, wherever they are kept
            operands[-1].name = f"i{index}"
    for index, value in enumerate(node.outputs):
        name = f"o{index}" if value.name else ""
        proto.output.append(name)
        if value.dtype in CARRIERS and name:
            carried = onnx.helper.make_node("Cast", [name], [f"{name}_carried"], to=CARRIERS[value.dtype])
            nodes.append(carried)
            name = f"{name}_carried"
        infos += [onnx.ValueInfoProto(name=name)] if name else []
    graph = onnx.helper.make_graph(nodes, "constant", [], infos, operands)
    opset = onnx.helper.make_opsetid("", g.opset_of(node))
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def filled(node: ir.Node) -> np.ndarray | None:
    """The result of a ConstantOfShape, of which old exports have hundreds."""
    shape = g.integers(g.input_at(node, 0)) if node.op_type == "ConstantOfShape" else None
    if shape is None or min(shape, default=0) < 0 or prod(shape) > MAX_ELEMENTS:
        return None
    value = g.attribute(node, "value")
    fill = np.zeros(1, np.float32) if value is None else value.numpy()
    return np.broadcast_to(fill.reshape(()), shape).copy()


def moved(tensor: ir.TensorProtocol, steps: Sequence[Step]) -> np.ndarray | None:
    """A small constant after the steps of a view, which any runtime takes alike."""
    if tensor.size > MAX_ELEMENTS:
        return None
    array = tensor.numpy()
    for step in steps:
        if not isinstance(step, Reshape):
            array = np.transpose(array, step.perm)
        elif all(dim.static for dim in step.shape):
            array = array.reshape([dim.number for dim in step.shape])
        else:
            return None
    return array
