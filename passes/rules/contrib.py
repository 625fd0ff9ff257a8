"""Rows for operators of the domain com.microsoft, which onnxruntime's own tools write."""

from __future__ import annotations

from dataclasses import replace

from .. import graph as g
from ..algebra.layout import ONE, UNKNOWN, Shape
from ..algebra.symbols import total
from . import axes, contraction, normalization, shaping, sizes
from .elementwise import unary
from .relation import Arrangement, Move, Relation, Rule, Site, barrier

DOMAIN = "com.microsoft"
BLOCKS = "com.microsoft.nchwc"


def pair(site: Site) -> Relation:
    """QLinearAdd, QLinearMul: the first and the fourth input, each before its scale and zero point."""
    return among(site, (0, 3))


def among(site: Site, operands: tuple[int, ...]) -> Relation:
    """Broadcasting among some of the inputs; the others are scalars."""
    shapes = {index: site.shape(index) for index in operands}
    rank = max(map(len, shapes.values()))
    letters = tuple(range(rank))
    ports = [letters[rank - len(shapes[i]) :] if i in shapes else None for i in range(len(site.node.inputs))]
    return Relation(tuple(ports), (letters,), broadcast=frozenset(letters))


def with_last_axis(site: Site) -> Relation:
    """BiasGelu, FastGelu: a bias along the last axis, which has to stay the last."""
    letters = tuple(range(site.rank))
    if not site.has(1):
        return unary(site)
    last = letters[-1]

    def stays(order: Arrangement) -> bool:
        return order[-1].letter == last

    return Relation(site.ports(letters, (last,)), (letters,), whole=frozenset({last}), allows=stays)


def concat(site: Site) -> Relation:
    """QLinearConcat: scale and zero point of the result, then each operand with its own."""
    rank = len(site.shape(2))
    letters, own = tuple(range(rank)), frozenset({site.axis(rank=rank)})
    ports = tuple(letters if index % 3 == 2 else None for index in range(len(site.node.inputs)))
    return Relation(ports, (letters,), whole=own, resized=own)


def move_concat(move: Move) -> None:
    (axis,) = move.relation.whole
    g.set_attribute(move.node, "axis", move.y.axis(axis))


def either(site: Site) -> Relation:
    """QLinearAveragePool and its like: channels are the second axis, or the last where an attribute says so.

    In the source's order letters ascend; the batch is 0, and the channels are where they are.
    """
    letters = tuple(range(site.rank))
    channels = _channels(site)
    image = tuple(a for a in letters[1:] if a != channels)

    def holds(order: Arrangement) -> bool:
        found = [part.letter for part in order]
        return found in ([0, channels, *image], [0, *image, channels])

    whole = frozenset(letters)
    return Relation(site.ports(letters), (letters,), whole=whole, resized=frozenset(image), allows=holds)


def _channels(site: Site) -> int:
    return site.rank - 1 if site.attribute("channels_last", 0) else 1


def move_either(move: Move) -> None:
    place = move.x.axis(_channels(move.site))
    g.set_attribute(move.node, "channels_last", int(place == move.site.rank - 1))


def pooled(site: Site, output: int = 0) -> Shape | None:
    """Sizes of a QLinearAveragePool's result: those of an AveragePool's, channels where they are."""
    channels = _channels(site)
    order = (0, channels, *(a for a in range(1, site.rank) if a != channels))
    shape = sizes.convolved(replace(site, inputs=(tuple(site.shape(0)[a] for a in order),)))
    return None if shape is None else tuple(shape[order.index(a)] for a in range(site.rank))


def pooled_to_one(site: Site, output: int = 0) -> Shape:
    return tuple(d if a in (0, _channels(site)) else ONE for a, d in enumerate(site.shape(0)))


def joined(site: Site, output: int = 0) -> Shape:
    """Sizes of a QLinearConcat's result."""
    axis = site.axis(rank=len(site.shape(2)))
    size = total(*(site.shape(index)[axis] for index in range(2, len(site.inputs), 3)))
    return tuple(size if a == axis else d for a, d in enumerate(site.shape(2)))


def softmax(site: Site) -> Relation:
    """QLinearSoftmax: an attribute tells whose opset's Softmax it is."""
    return axes.softmax(site, site.attribute("opset", 13), default=-1)


def move_softmax(move: Move) -> None:
    axes.move_softmax(move, move.site.attribute("opset", 13), default=-1)


def chosen(site: Site) -> Relation:
    """QLinearWhere: condition, and two operands, each before its scale and zero point."""
    return among(site, (0, 1, 4))


def rows(site: Site) -> Relation:
    """MatMulNBits and its like: a matrix that is packed, so its rows and columns stay; the rows are free."""
    letters = tuple(range(site.rank + 1))
    return Relation(
        site.ports(letters[:-1]),
        ((*letters[:-2], letters[-1]),),
        whole=frozenset(letters[-2:]),
        allows=lambda order: [part.letter for part in order[-2:]] == list(letters[-2:]),
    )


class FixedRule(Rule):
    """A row for an operator whose ports all keep the source's order."""


def fixed(reason: str, *operators: str, ranked: bool = False) -> dict[str, Rule]:
    """Rows for operators whose ports all keep the source's order; ``ranked``: the result has x's rank."""
    told = of_this_rank if ranked else None
    return dict.fromkeys(operators, FixedRule(lambda site: barrier(site.node, reason), sizes=told))


def of_this_rank(site: Site, output: int = 0) -> Shape:
    """The result has the first input's rank; that is all that is told."""
    return (UNKNOWN,) * site.rank


CONTRIB: dict[str, Rule] = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), Rule(pair)),
    **dict.fromkeys(
        ("Gelu", "QuickGelu", "ScaledSiLU", "QLinearLeakyRelu", "QLinearSigmoid", "MurmurHash3"), Rule(unary)
    ),
    **dict.fromkeys(("BiasGelu", "FastGelu"), Rule(with_last_axis)),
    "QLinearWhere": Rule(chosen),
    "QLinearConcat": Rule(concat, move_concat, sizes=joined),
    "QLinearSoftmax": Rule(softmax, move_softmax),
    "QLinearAveragePool": Rule(either, move_either, sizes=pooled),
    "QLinearGlobalAveragePool": Rule(either, move_either, sizes=pooled_to_one),
    "QuantizeLinear": Rule(axes.quantize, axes.move_quantize),
    "DequantizeLinear": Rule(axes.quantize, axes.move_quantize),
    "QGemm": Rule(lambda site: contraction.gemm(site, 3, 6, vectors=(4, 5))),
    "MatMulInteger16": Rule(contraction.matmul, contraction.move_matmul),
    "MatMulIntegerToFloat": Rule(lambda site: contraction.integer_matmul(site, 1, vectors=(3, 5, 6))),
    "DynamicQuantizeMatMul": Rule(lambda site: contraction.integer_matmul(site, 1, vectors=(2, 3, 4))),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4"), Rule(rows)),
    "Inverse": Rule(shaping.last_two_fixed),
    "Trilu": Rule(shaping.last_two_fixed),
    **fixed(
        "onnxruntime has it channels first only",
        *("ConvTransposeWithDynamicPads", "CropAndResize", "FusedConv", "GridSample", "MaxpoolWithMask"),
        "QLinearConv",
        ranked=True,
    ),
    **fixed("onnxruntime has it channels last only", "NhwcMaxPool", "NhwcConv", "NhwcFusedConv", ranked=True),
    **fixed(
        "the rank of its operands is not known, or its activation is none of the standard's",
        *("FusedMatMul", "TransposeMatMul", "FusedGemm"),
    ),
    **fixed(
        "it speaks of batch, sequence and features, or of heads, by their places",
        *("Attention", "BranchwiseRMSNorm", "CausalConvWithState", "DecoderMaskedMultiHeadAttention"),
        *("DynamicQuantizeLSTM", "AttnLSTM", "EmbedLayerNormalization", "GatedAdd", "GatedDeltaNet"),
        *("GatedRMSNorm", "GroupQueryAttention", "LinearAttention", "MultiHeadAttention", "QAttention"),
        *("QEmbedLayerNormalization", "RotaryEmbedding", "SkipLayerNormalization", "SparseAttention"),
        *("SkipSimplifiedLayerNormalization", "MoE", "QMoE", "BeamSearch", "GreedySearch", "Sampling"),
        "WhisperBeamSearch",
    ),
    **fixed(
        "its definition fixes the order of its axes",
        *("BifurcationDetector", "CDist", "DynamicTimeWarping", "ExpandDims", "GatherBlockQuantized"),
        "MatMulFpQ4",
        *("GatherND", "NGramRepeatBlock", "Pad", "Range", "SparseToDenseMatMul", "Tokenizer"),
        *("UnfoldTensor", "Unique", "WordConvEmbedding"),
    ),
}
"""Operators of the domain com.microsoft, as far as ``contributed`` has not written them as the standard's."""

UNLISTED: dict[str, Rule] = {
    "DynamicSlice": Rule(shaping.slicing, shaping.move_slice),
    "SimplifiedLayerNormalization": Rule(normalization.layer, normalization.move_layer),
    **fixed("its definition fixes the order of its axes", "GRUUnit", "GivenTensorFill"),
}
"""Operators that onnxruntime has in the standard's domain, and the standard has not."""

BLOCKED = Rule(
    lambda site: barrier(
        site.node,
        "its data are in blocks of channels, as onnxruntime saves for one CPU: save the model at"
        " ORT_ENABLE_EXTENDED, or convert the model that it was made from",
    ),
    sizes=of_this_rank,
)
"""The domain com.microsoft.nchwc."""
