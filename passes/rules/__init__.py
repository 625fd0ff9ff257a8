"""The table: one operator, one row.

A row says how the axes of an operator's ports relate (``relate``), and how the operator is rewritten
when it runs in another order than the source's (``rewrite``). Operators that only rename factors have a
``view`` instead. An operator without a row is a barrier: it stays in the source's order, correct, and
the report names it. To add an operator: add a row here, and a case to ``tests/cases``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from .. import graph as g
from . import axes, contraction, normalization, shaping, sizes, views
from .contrib import BLOCKED, BLOCKS, CONTRIB, UNLISTED
from .contrib import DOMAIN as MICROSOFT
from .elementwise import dropout, elementwise, like, on_first
from .recurrent import recurrent
from .relation import Relation, Rule, Site, barrier
from .spatial import (
    features,
    indices_in_columns,
    resizes_other_axes,
    scales_per_group,
    spatial,
    trains,
    with_bias,
)


def fixed(*operators: str, reason: str) -> dict[str, Rule]:
    """Rows for operators whose ports all keep the source's order."""
    return dict.fromkeys(operators, Rule(lambda site: barrier(site.node, reason)))


def view(steps: object) -> Rule:
    return Rule(views.opaque, view=steps)  # type: ignore[arg-type]


RULES: dict[str, Rule] = {
    # Every element alike.
    **elementwise(
        *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Sum", "Mean", "Max", "Min", "BitShift"),
        *("And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor"),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where", "PRelu"),
    ),
    **on_first(
        *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitCast", "BitwiseNot", "Cast"),
        *("Ceil", "Celu", "Clip", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"),
        *("HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal"),
        *("Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign"),
        *("Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu"),
    ),
    "Dropout": Rule(dropout),
    "CastLike": Rule(like),
    # An axis, or several.
    "Concat": Rule(axes.concat, axes.move_axis, sizes=sizes.concatenated),
    "Split": replace(axes.along(0), sizes=sizes.cut),
    "Softmax": Rule(axes.softmax, axes.move_softmax),
    "LogSoftmax": Rule(axes.softmax, axes.move_softmax),
    "Hardmax": Rule(axes.softmax, axes.move_softmax),
    "LpNormalization": axes.along(-1),
    "TopK": axes.along(-1),
    "CumSum": Rule(axes.cumulative, axes.move_cumulative),
    "CumProd": Rule(axes.cumulative, axes.move_cumulative),
    "Compress": Rule(axes.compress, axes.move_axis),
    "ArgMax": Rule(axes.extremum, axes.move_axis),
    "ArgMin": Rule(axes.extremum, axes.move_axis),
    **dict.fromkeys(
        (
            *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1"),
            *("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
        ),
        Rule(axes.reduction, axes.move_axes),
    ),
    "MeanVarianceNormalization": Rule(axes.mean_variance, axes.move_mean_variance),
    "LayerNormalization": Rule(normalization.layer, normalization.move_layer),
    "RMSNormalization": Rule(normalization.layer, normalization.move_layer),
    "GatherElements": Rule(axes.elements, axes.move_elements),
    "ScatterElements": Rule(axes.elements, axes.move_elements),
    "Scatter": Rule(axes.elements, axes.move_elements),
    "Unique": Rule(axes.unique, axes.move_unique),
    "DFT": Rule(axes.dft, axes.move_dft),
    "QuantizeLinear": Rule(axes.quantize, axes.move_quantize),
    "DequantizeLinear": Rule(axes.quantize, axes.move_quantize),
    "DynamicQuantizeLinear": Rule(axes.quantize_dynamically),
    # Views: the same factors, grouped or ordered in another way.
    "Identity": view(views.identity),
    "Transpose": view(views.transpose),
    "Reshape": view(views.reshape),
    "Flatten": view(views.flatten),
    "Squeeze": view(views.squeeze),
    "Unsqueeze": view(views.unsqueeze),
    # An entry per axis; shapes; lookups.
    "Expand": Rule(shaping.expand, shaping.move_expand, sizes=sizes.expanded),
    "Tile": Rule(shaping.tile, shaping.move_tile, sizes=sizes.tiled),
    "Pad": Rule(shaping.pad, shaping.move_pad, sizes=sizes.padded),
    "Slice": Rule(shaping.slicing, shaping.move_slice, sizes=sizes.sliced),
    "CenterCropPad": Rule(shaping.center_crop_pad, shaping.move_center_crop_pad),
    "Gather": Rule(shaping.gather, shaping.move_gather, view=views.gather),
    "GatherND": Rule(shaping.gather_nd),
    "ScatterND": Rule(shaping.scatter_nd),
    "OneHot": Rule(shaping.one_hot, shaping.move_one_hot),
    "Shape": Rule(shaping.shape, shaping.move_shape),
    "Size": Rule(shaping.size),
    "ConstantOfShape": Rule(shaping.constant_of_shape, shaping.move_constant_of_shape, sizes=sizes.stated(0)),
    "ReverseSequence": Rule(shaping.reverse_sequence),
    "Trilu": Rule(shaping.last_two_fixed),
    "Det": Rule(shaping.last_two_fixed),
    # Products that sum over axes.
    "MatMul": Rule(contraction.matmul, contraction.move_matmul),
    "Gemm": Rule(contraction.gemm),
    "Einsum": Rule(contraction.einsum, contraction.move_einsum, view=contraction.einsum_view),
    "MatMulInteger": Rule(lambda site: contraction.integer_matmul(site, 1, vectors=(3,))),
    "QLinearMatMul": Rule(lambda site: contraction.integer_matmul(site, 3, vectors=(4, 5))),
    # Spatial: channels first in the standard, channels last as functions.
    "Conv": spatial("n c s, a b k, - -> n d s'", with_bias, sizes=sizes.convolved),
    "ConvTranspose": spatial("n c s, a b k, - -> n d s'", with_bias, sizes=sizes.transposed_convolved),
    "ConvInteger": spatial("n c s, a b k, -, - -> n d s'"),
    "QLinearConv": spatial("n c s, -, -, a b k, -, -, -, -, - -> n d s'"),
    "DeformConv": spatial("n c s, a b k, n e s, -, n f s -> n d s'", alike=False),
    "MaxPool": spatial("n c s -> n c s', n c s'", unless=indices_in_columns, sizes=sizes.convolved),
    "MaxUnpool": spatial("n c s, n c s, * -> n c s'", alike=False),
    "AveragePool": spatial("n c s -> n c s'", sizes=sizes.convolved),
    "LpPool": spatial("n c s -> n c s'"),
    "GlobalAveragePool": spatial("n c s -> n c s'"),
    "GlobalMaxPool": spatial("n c s -> n c s'"),
    "GlobalLpPool": spatial("n c s -> n c s'"),
    "BatchNormalization": spatial("n c s, -, -, -, - -> n c s", unless=trains, flat=features),
    "InstanceNormalization": spatial("n c s, -, - -> n c s"),
    "GroupNormalization": spatial("n c s, -, - -> n c s", unless=scales_per_group),
    "LRN": spatial("n c s -> n c s"),
    "Upsample": spatial("n c s, * -> n c s'", alike=False, unless=resizes_other_axes, sizes=sizes.upsampled),
    "Resize": spatial(
        "n c s, **, *, * -> n c s'",
        unless=resizes_other_axes,
        sizes=sizes.upsampled,
        older=(11, "n c s, * -> n c s'"),
    ),
    "DepthToSpace": spatial("n c s -> n d s'", alike=False),
    "SpaceToDepth": spatial("n c s -> n d s'", alike=False),
    "GridSample": spatial("n c s, - -> n c s'", alike=False),
    "RoiAlign": spatial("n c s, -, - -> m c s'", alike=False),
    "MaxRoiPool": spatial("n c s, - -> m c s'", alike=False),
    # Recurrent: time first in the standard, batch first as functions.
    "LSTM": recurrent(),
    "GRU": recurrent(),
    "RNN": recurrent(),
    # Fixed by their definition.
    "Range": Rule(
        lambda site: barrier(site.node, "its definition fixes the order of its axes"), sizes=sizes.ranged
    ),
    **fixed(
        *("Attention", "RotaryEmbedding", "NonZero", "NonMaxSuppression", "EyeLike", "AffineGrid"),
        *("Col2Im", "STFT", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial", "If", "Loop", "Scan", "SequenceConstruct", "SequenceAt"),
        *("SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceLength", "SequenceMap"),
        *("ConcatFromSequence", "SplitToSequence", "Optional", "OptionalGetElement"),
        *("OptionalHasElement", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
        *("TensorScatter", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"),
        "TfIdfVectorizer",
        reason="its definition fixes the order of its axes",
    ),
}


class Operator(Protocol):
    """What has an operator's type and domain: a node, or what stands for one."""

    @property
    def op_type(self) -> str: ...
    @property
    def domain(self) -> str: ...


def rule_of(node: Operator) -> Rule | None:
    """The row of a node's operator, of whatever domain it is."""
    if node.domain in g.STANDARD:
        return RULES.get(node.op_type) or UNLISTED.get(node.op_type)
    if node.domain == BLOCKS:
        return BLOCKED
    return CONTRIB.get(node.op_type) if node.domain == MICROSOFT else None


def usual_inputs(op_type: str) -> str:
    """The inputs, one digit each, of an operator's function without a suffix: all but those rarely given."""
    return RULES[op_type].usual_inputs(op_type)


__all__ = ["CONTRIB", "RULES", "Relation", "Rule", "Site", "rule_of", "usual_inputs"]
