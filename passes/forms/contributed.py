"""Writes onnxruntime's own operators (domain com.microsoft) as the standard's, where these say the same.

Its optimiser, and its tools, fuse several operators into one, or write one in the layout that a kernel wants.
onnxruntime fuses them again when it loads what is written here. What cannot be said so stays what it is, and
has a row of its own (``rules/contrib.py``).

    before:  FusedConv<activation = "Relu">(x, w, b, z)      NhwcMaxPool(x)
    after:   Relu(Add(Conv(x, w, b), z))                     Transpose(MaxPool(Transpose(x)))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx_ir as ir

from .. import graph as g
from ..rules.contrib import DOMAIN
from .old import Old, Sizes

IMAGE_RANKS = (3, 4, 5)


def spell_out(model: ir.Model) -> None:
    """Write contributed operators as the standard's, as far as these say the same."""
    if DOMAIN not in model.opset_imports:
        return
    edits, sizes = g.Edits(model), Sizes()
    for graph in model.graphs():
        for node in graph:
            if node.domain == DOMAIN:
                _note_type(node)
            change = FORMS.get(node.op_type) if node.domain == DOMAIN else None
            if change is not None:
                change(Old(node, edits, sizes))


ZERO_POINTS = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), (7, 2)),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSoftmax"), (4, 2)),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSigmoid"), (4, 2)),
    "QLinearConcat": (1,),
    "QLinearWhere": (8, 3),
    "QGemm": (8,),
}
"""Inputs of quantised operators that have the type of the result; onnx does not infer it."""


def _note_type(node: ir.Node) -> None:
    points = (g.input_at(node, index) for index in ZERO_POINTS.get(node.op_type, ()))
    kinds = [point.type for point in points if point is not None and point.type is not None]
    if kinds and node.outputs[0].type is None:
        node.outputs[0].type = kinds[0]


Change = Callable[[Old], None]


def _become(old: Old, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> None:
    """Let a contributed node, whose outputs stay, be an operator of the standard."""
    old.node.domain = ""
    old.become(op_type, *inputs, **attributes)


def _attributes(node: ir.Node, *without: str) -> dict[str, Any]:
    return {name: found.value for name, found in node.attributes.items() if name not in without}


def _has(node: ir.Node, op_type: str) -> bool:
    """Whether the standard has an operator in the model's opset."""
    return onnx.defs.has(op_type, g.opset_of(node))


# ---------------------------------------------------------------------------- activations


def fused_conv(old: Old) -> None:
    """A convolution, plus a fourth input, and an activation (whose numbers are a list)."""
    names = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max")}
    activation = old.attribute("activation", "")
    numbers = old.attribute("activation_params", [])
    settings = dict(zip(names.get(activation, ()), map(float, numbers), strict=False))
    kept = _attributes(old.node, "activation", "activation_params")
    *operands, z = (g.input_at(old.node, index) for index in range(4))
    if z is None and not activation:
        _become(old, "Conv", *operands, **kept)
        return
    y = old.emit("Conv", *operands, **kept)
    if not activation:
        _become(old, "Add", y, z)
        return
    _activate(old, activation, y if z is None else old.emit("Add", y, z), settings)


def fused_gemm(old: Old) -> None:
    """A Gemm and an activation."""
    activation = old.attribute("activation", "")
    if not _has(old.node, activation):
        return
    known = onnx.defs.get_schema(activation, g.opset_of(old.node)).attributes
    stated = {name: old.attribute(f"activation_{name}") for name in ("alpha", "beta", "gamma")}
    settings = {name: number for name, number in stated.items() if number is not None and name in known}
    kept = {name: old.attribute(name) for name in ("alpha", "beta", "transA", "transB")}
    y = old.emit("Gemm", *old.node.inputs, **{k: v for k, v in kept.items() if v is not None})
    _activate(old, activation, y, settings)


def _activate(old: Old, activation: str, y: ir.Value, settings: dict[str, float]) -> None:
    """Clip's limits are inputs since opset 11; HardSwish is an operator since opset 14."""
    if activation == "HardSwish" and not _has(old.node, activation):
        _become(old, "Mul", y, old.emit("HardSigmoid", y, alpha=1 / 6, beta=0.5))
    elif activation == "Clip" and g.opset_of(old.node) >= 11:
        limits = [old.number(settings[name], name) for name in ("min", "max")]
        _become(old, activation, y, *limits)
    else:
        _become(old, activation, y, **settings)


# ------------------------------------------------------------------------------- products


def fused_matmul(old: Old) -> None:
    """FusedMatMul, once TransposeMatMul: operands transposed, the product times ``alpha``.

    ``transBatchA`` says that the first axis lies behind the batch's others: ``b m 1 k`` for ``m b 1 k``.
    """
    operands = []
    for index, side in enumerate("AB"):
        value, perm = old.node.inputs[index], _transposed(old, index, side)
        if perm is None:
            return
        operands.append((value, perm))
    alpha = old.attribute("alpha", 1.0)
    read = [v if perm == sorted(perm) else old.emit("Transpose", v, perm=perm) for v, perm in operands]
    if alpha == 1.0:
        _become(old, "MatMul", *read)
    else:
        _become(old, "Mul", old.emit("MatMul", *read), old.number(alpha, "alpha"))


def _transposed(old: Old, index: int, side: str) -> list[int] | None:
    """How an operand is transposed; None if its rank is not known."""
    rank = old.known_rank(index)
    matrix, batch = old.attribute(f"trans{side}", 0), old.attribute(f"transBatch{side}", 0)
    if rank is None:
        return None if matrix or batch else []
    axes = list(range(rank))
    if batch and rank > 2:
        axes = [*axes[1:-1], axes[0], axes[-1]]
    return [*axes[:-2], axes[-1], axes[-2]] if matrix and rank > 1 else axes


# -------------------------------------------------------------------------- normalisation


def skip_normalization(op_type: str, extra: int) -> Change:
    """SkipLayerNormalization and its like: a sum, given out as well, and its normalisation."""

    def change(old: Old) -> None:
        outputs, node = old.node.outputs, old.node
        if any(value.uses() or value.is_graph_output() for value in outputs[1:3]):
            return
        inputs = [g.input_at(node, index) for index in range(extra + 1)]
        total = old.emit("Add", *inputs[:2])
        if inputs[extra] is not None:
            total = old.emit("Add", total, inputs[extra])
        if len(outputs) > 3:
            total.name, total.shape, total.type = outputs[3].name, outputs[3].shape, outputs[3].type
            outputs[3].replace_all_uses_with(total, replace_graph_outputs=True)
        node.resize_outputs(1)
        epsilon = old.attribute("epsilon", 1e-12)
        _become(old, op_type, total, *inputs[2:extra], axis=-1, epsilon=epsilon)

    return change


# --------------------------------------------------------------------------------- images


def max_pool_of_bytes(old: Old) -> None:
    """NhwcMaxPool: channels last, of integers of 8 bits, which the standard has since opset 12."""
    if g.opset_of(old.node) >= 12:
        spatial = len(old.attribute("kernel_shape"))
        _between_transposes(old, "MaxPool", spatial + 2, _attributes(old.node))


def quantized_conv(old: Old) -> None:
    """QLinearConv, which may be channels last, though its kernel is not."""
    rank = old.known_rank(3)
    if not _has(old.node, "QLinearConv") or rank not in IMAGE_RANKS:
        return
    kept = _attributes(old.node, "channels_last")
    if old.attribute("channels_last", 0):
        _between_transposes(old, "QLinearConv", rank, kept)
    else:
        _become(old, "QLinearConv", *old.node.inputs, **kept)


def _between_transposes(old: Old, op_type: str, rank: int, attributes: dict[str, Any]) -> None:
    """before: Op(x[N,H,W,C]);  after: Transpose(Op(Transpose(x)))."""
    x, *others = old.node.inputs
    first = old.emit("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])
    y = old.emit(op_type, first, *others, **attributes)
    y.type = old.node.outputs[0].type
    _become(old, "Transpose", y, perm=[0, *range(2, rank), 1])


def transposed_conv(old: Old) -> None:
    """ConvTransposeWithDynamicPads whose pads are known, or left out."""
    pads = g.input_at(old.node, 2)
    known = g.integers(pads)
    if pads is None or known is not None:
        more = {} if known is None else {"pads": known}
        x, w, b = (g.input_at(old.node, index) for index in (0, 1, 3))
        _become(old, "ConvTranspose", x, w, b, **_attributes(old.node), **more)


def sampled(old: Old) -> None:
    """GridSample, whose modes got other names in opset 20."""
    opset = g.opset_of(old.node)
    if opset < 16:
        return
    attributes = _attributes(old.node)
    if opset >= 20:
        names = {"bilinear": "linear", "bicubic": "cubic"}
        mode = attributes.get("mode", "bilinear")
        attributes["mode"] = names.get(mode, mode)
    _become(old, "GridSample", *old.node.inputs, **attributes)


# --------------------------------------------------------------- forms of the standard's own


def as_it_is(since: int) -> Change:
    """An operator that the standard took over in this opset."""

    def change(old: Old) -> None:
        if g.opset_of(old.node) >= since:
            old.node.domain = ""

    return change


def pad(old: Old) -> None:
    """Pads may have a first axis of 1."""
    pads = old.node.inputs[1]
    if g.opset_of(old.node) < 11:
        return
    found = g.integers(pads)
    flat = old.emit("Reshape", pads, old.edits.constant([-1], "flat")) if found is None else None
    old.node.replace_input_with(1, old.edits.constant(found, "pads") if flat is None else flat)
    old.node.domain = ""


def expand_dims(old: Old) -> None:
    """An Unsqueeze along one axis, which is an input."""
    found, rank = g.integers(old.node.inputs[1]), old.known_rank(0)
    if found is None or rank is None:
        return
    axes = [found[0] % (rank + 1)]
    if g.opset_of(old.node) >= 13:
        _become(old, "Unsqueeze", old.node.inputs[0], old.edits.constant(axes, "axes"))
    else:
        _become(old, "Unsqueeze", old.node.inputs[0], axes=axes)


def of_bytes(old: Old) -> None:
    """QuantizeLinear, DequantizeLinear: the standard has more than 8 bits since opset 21."""
    number = old.node.inputs[0] if old.node.op_type == "DequantizeLinear" else g.input_at(old.node, 2)
    small = number is None or number.dtype in (ir.DataType.INT8, ir.DataType.UINT8)
    scale = old.node.inputs[1]
    single = scale is not None and scale.dtype == ir.DataType.FLOAT
    if g.opset_of(old.node) >= 21 or (g.opset_of(old.node) >= 13 and small and single):
        old.node.domain = ""
    typed = scale if old.node.op_type == "DequantizeLinear" else g.input_at(old.node, 2)
    if typed is not None and typed.type is not None:
        old.node.outputs[0].type = typed.type


FORMS: dict[str, Change] = {
    "ConvTransposeWithDynamicPads": transposed_conv,
    "DequantizeLinear": of_bytes,
    "ExpandDims": expand_dims,
    "FusedConv": fused_conv,
    "FusedGemm": fused_gemm,
    "FusedMatMul": fused_matmul,
    "GatherND": as_it_is(11),
    "GridSample": sampled,
    "NhwcMaxPool": max_pool_of_bytes,
    "Pad": pad,
    "QLinearConv": quantized_conv,
    "QuantizeLinear": of_bytes,
    "Range": as_it_is(11),
    "SkipLayerNormalization": skip_normalization("LayerNormalization", 4),
    "SkipSimplifiedLayerNormalization": skip_normalization("SimplifiedLayerNormalization", 3),
    "TransposeMatMul": fused_matmul,
    "Trilu": as_it_is(14),
}
"""How contributed operators are written in the standard's terms."""
