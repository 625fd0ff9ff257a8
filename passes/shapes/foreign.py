"""What onnxruntime knows of its own operators, which onnx does not have: types and sizes of their results."""

from __future__ import annotations

from functools import lru_cache

import onnx
import onnx_ir as ir

from .. import graph as g
from ..algebra.layout import UNKNOWN, Dim, Shape
from ..algebra.symbols import read
from ..rules.spatial import DOMAIN

LARGE = 64
"""Elements; larger constants are described, not handed over: sizes depend on few numbers."""

Told = tuple[ir.DataType, tuple[int | str | None, ...]]


def is_foreign(node: ir.Node) -> bool:
    """Whether onnx itself has no such operator: one of another domain, or an experimental one."""
    if node.domain in g.STANDARD:
        return not onnx.defs.has(node.op_type, g.opset_of(node))
    return node.domain != DOMAIN


def infer_foreign(node: ir.Node, inputs: tuple[Shape | None, ...]) -> list[Shape | None]:
    """The sizes of a node's outputs, as onnxruntime infers them; None for what it does not tell.

    The node alone is loaded, with its inputs declared as they are known; nothing runs. Types that the
    model does not know yet are noted.
    """
    symbols: dict[str, Dim] = {}
    proto = ir.to_proto(node)
    del proto.input[:], proto.output[:]
    infos, constants = [], []
    for index, (value, shape) in enumerate(zip(node.inputs, inputs, strict=True)):
        if value is None or not value.name:
            proto.input.append("")
            continue
        if value.dtype is None:
            return [None] * len(node.outputs)
        proto.input.append(f"i{index}")
        for dim in shape or ():
            symbols[str(dim)] = dim
        sizes = None if shape is None else [d.number if d.static else str(d) for d in shape]
        infos.append(onnx.helper.make_tensor_value_info(proto.input[-1], value.dtype, sizes))
        tensor = g.constant(value)
        if tensor is not None and tensor.size <= LARGE:
            infos.pop()
            constants.append(ir.to_proto(ir.Tensor(tensor.numpy(), tensor.dtype, name=proto.input[-1])))
    proto.output.extend(f"o{k}" if value.name else "" for k, value in enumerate(node.outputs))
    given = [name for name in proto.output if name]
    # the size of a Shape is the rank, which tells a scalar from what is not known
    ranks = [onnx.helper.make_node("Shape", [name], [f"{name}_shape"]) for name in given]
    results = [onnx.ValueInfoProto(name=name) for name in (*given, *(n.output[0] for n in ranks))]
    graph = onnx.helper.make_graph([proto, *ranks], "node", infos, results, constants)
    opsets = {"": g.opset_of(node)}
    if node.domain not in g.STANDARD:
        opsets[node.domain] = node.graph.opset_imports.get(node.domain, 1) if node.graph is not None else 1
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=imports)
    told = dict(zip(given, _outputs(model.SerializeToString(deterministic=True)), strict=False))
    found = [told.get(name) for name in proto.output]
    for value, entry in zip(node.outputs, found, strict=True):
        if value.dtype is None and entry is not None:
            value.dtype = entry[0]
    return [None if entry is None else _shape(entry[1], symbols) for entry in found]


def _shape(sizes: tuple[int | str | None, ...], symbols: dict[str, Dim]) -> Shape:
    return tuple(
        UNKNOWN if size is None else Dim(size) if isinstance(size, int) else symbols.get(size) or read(size)
        for size in sizes
    )


@lru_cache(512)
def _outputs(model: bytes) -> tuple[Told | None, ...]:
    """The results of a model of one node; nothing where onnxruntime has no such operator."""
    import onnxruntime as rt  # takes a while, and most models have no operators of its own

    options = rt.SessionOptions()
    options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        found = rt.InferenceSession(model, options, ["CPUExecutionProvider"]).get_outputs()
    except Exception:  # onnxruntime's exceptions have no common base
        return ()
    results, ranks = found[: len(found) // 2], found[len(found) // 2 :]
    return tuple(_told(y.type, y.shape, rank.shape) for y, rank in zip(results, ranks, strict=True))


def _told(kind: str, shape: list[int | str | None], rank: list[int | str | None]) -> Told | None:
    """A result's type and sizes; None where its rank is not known."""
    name = kind.removeprefix("tensor(").removesuffix(")").upper()
    if rank != [len(shape)] or name not in ir.DataType.__members__:
        return None
    return ir.DataType[name], tuple(shape)
