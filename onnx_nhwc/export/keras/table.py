"""The table: one operator, one mapping. An operator without a row cannot be expressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import layers, ops

from onnx_nhwc.export import control, loops
from onnx_nhwc.export.keras.arithmetic import plus
from onnx_nhwc.export.keras.blocks import contributed, features, normalization, quantized, recurrent, spectra
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.keras.images import (
    columns,
    convolution,
    deformable,
    pooling,
    resize,
    rois,
    sampling,
    transposed,
)
from onnx_nhwc.export.keras.tensors import elementwise as e
from onnx_nhwc.export.keras.tensors import indexing, linear, reshaping, selection, sequences, shaping
from onnx_nhwc.export.keras.tensors import reduction as r
from onnx_nhwc.passes.rules.contrib import DOMAIN as MICROSOFT

__all__ = ["CHANNELS_FIRST", "CONTRIBUTED", "OPERATORS", "mapping_of"]

OPERATORS: dict[str, Callable[[Call], Any]] = {
    # Arithmetic.
    "Add": e.merged(layers.Add, plus),
    "Sub": e.binary(ops.subtract),
    "Mul": e.merged(layers.Multiply, ops.multiply),
    "Div": e.divide,
    "Mod": e.modulo,
    "Pow": e.power,
    "Sum": e.merged(layers.Add, plus),
    "Mean": e.mean,
    "Max": e.merged(layers.Maximum, ops.maximum),
    "Min": e.merged(layers.Minimum, ops.minimum),
    "BitShift": e.bit_shift,
    "BitwiseAnd": e.binary(ops.bitwise_and),
    "BitwiseOr": e.binary(ops.bitwise_or),
    "BitwiseXor": e.binary(ops.bitwise_xor),
    "BitwiseNot": e.unary(ops.bitwise_not),
    # Comparisons and logic.
    "Equal": e.equal,
    "Greater": e.binary(ops.greater),
    "GreaterOrEqual": e.binary(ops.greater_equal),
    "Less": e.binary(ops.less),
    "LessOrEqual": e.binary(ops.less_equal),
    "And": e.binary(ops.logical_and),
    "Or": e.binary(ops.logical_or),
    "Xor": e.binary(ops.logical_xor),
    "Not": e.unary(ops.logical_not),
    "Where": e.where,
    "IsInf": e.is_inf,
    "IsNaN": e.unary(ops.isnan),
    # One operand.
    "Abs": e.unary(ops.abs),
    "Acos": e.unary(ops.arccos),
    "Acosh": e.unary(ops.arccosh),
    "Asin": e.unary(ops.arcsin),
    "Asinh": e.unary(ops.arcsinh),
    "Atan": e.unary(ops.arctan),
    "Atanh": e.unary(ops.arctanh),
    "Ceil": e.unary(ops.ceil),
    "Cos": e.unary(ops.cos),
    "Cosh": e.unary(ops.cosh),
    "Erf": e.erf,
    "Exp": e.unary(ops.exp),
    "Floor": e.unary(ops.floor),
    "Log": e.unary(ops.log),
    "Neg": e.unary(ops.negative),
    "Reciprocal": e.unary(ops.reciprocal),
    "Round": e.round_even,
    "Sign": e.sign,
    "Sin": e.unary(ops.sin),
    "Sinh": e.unary(ops.sinh),
    "Sqrt": e.unary(ops.sqrt),
    "Tan": e.unary(ops.tan),
    "Cast": e.cast,
    "CastLike": e.cast_like,
    "BitCast": e.bit_cast,
    "Identity": e.identity,
    "Dropout": e.dropout,
    # Activations.
    "Relu": e.activation("relu"),
    "Sigmoid": e.activation("sigmoid"),
    "Tanh": e.activation("tanh"),
    "Softplus": e.activation("softplus"),
    "Softsign": e.activation("softsign"),
    "Clip": e.clip,
    "Celu": e.celu,
    "Elu": e.elu,
    "Gelu": e.gelu,
    "HardSigmoid": e.hard_sigmoid,
    "HardSwish": e.hard_swish,
    "LeakyRelu": e.leaky_relu,
    "Mish": e.mish,
    "PRelu": e.prelu,
    "Selu": e.selu,
    "Shrink": e.shrink,
    "Swish": e.swish,
    "ThresholdedRelu": e.thresholded_relu,
    **r.SOFTMAX,
    # Reductions.
    **r.REDUCTIONS,
    "ArgMax": r.argument(ops.argmax),
    "ArgMin": r.argument(ops.argmin),
    "TopK": r.top_k,
    "CumSum": r.cumulative(ops.cumsum, 0.0),
    "CumProd": r.cumulative(ops.cumprod, 1.0),
    # Shapes.
    "Reshape": reshaping.reshape,
    "Flatten": reshaping.reshape,
    "Squeeze": reshaping.squeeze,
    "Unsqueeze": reshaping.unsqueeze,
    "Expand": reshaping.expand,
    "Transpose": shaping.transpose,
    "Concat": shaping.concat,
    "Split": shaping.split,
    "Slice": shaping.slice_,
    "Tile": shaping.tile,
    "Pad": shaping.pad,
    "CenterCropPad": shaping.center_crop_pad,
    "Shape": shaping.shape,
    "Size": shaping.size,
    "ConstantOfShape": shaping.constant_of_shape,
    "Range": shaping.range_,
    "DepthToSpace": shaping.depth_to_space,
    "SpaceToDepth": shaping.space_to_depth,
    # Picking elements.
    "Gather": indexing.gather,
    "GatherElements": indexing.gather_elements,
    "GatherND": indexing.gather_nd,
    "Scatter": indexing.scatter_elements,
    "ScatterElements": indexing.scatter_elements,
    "ScatterND": indexing.scatter_nd,
    "TensorScatter": indexing.tensor_scatter,
    "OneHot": indexing.one_hot,
    "Trilu": indexing.trilu,
    "EyeLike": indexing.eye_like,
    "Compress": selection.compress,
    "NonZero": selection.non_zero,
    "NonMaxSuppression": selection.non_max_suppression,
    "Unique": selection.unique,
    "ReverseSequence": indexing.reverse_sequence,
    "Det": indexing.det,
    "Col2Im": columns.col_to_image,
    # Products.
    "MatMul": linear.matmul,
    "Gemm": linear.gemm,
    "Einsum": linear.einsum,
    "DFT": spectra.dft,
    "STFT": spectra.stft,
    "MelWeightMatrix": features.mel_weight_matrix,
    "TfIdfVectorizer": features.tf_idf,
    # Images.
    "Conv": convolution.conv,
    "ConvInteger": convolution.conv_integer,
    "ConvTranspose": transposed.conv_transpose,
    "MaxPool": pooling.max_pool,
    "AveragePool": pooling.average_pool,
    "LpPool": pooling.lp_pool,
    "GlobalAveragePool": pooling.global_average,
    "GlobalMaxPool": pooling.global_max,
    "GlobalLpPool": pooling.global_lp,
    "Resize": resize.resize,
    "Upsample": resize.resize,
    "GridSample": sampling.grid_sample,
    "AffineGrid": sampling.affine_grid,
    "RoiAlign": rois.roi_align,
    "MaxRoiPool": rois.max_roi_pool,
    "DeformConv": deformable.deform_conv,
    "MaxUnpool": deformable.max_unpool,
    # Normalisation.
    "BatchNormalization": normalization.batch_normalization,
    "InstanceNormalization": normalization.instance_normalization,
    "GroupNormalization": normalization.group_normalization,
    "LayerNormalization": normalization.layer_normalization,
    "RMSNormalization": normalization.rms_normalization,
    "LpNormalization": normalization.lp_normalization,
    "MeanVarianceNormalization": normalization.mean_variance,
    "LRN": normalization.lrn,
    # Sequences.
    "LSTM": recurrent.recurrent,
    "GRU": recurrent.recurrent,
    "RNN": recurrent.recurrent,
    # Quantised numbers.
    "QuantizeLinear": quantized.quantize,
    "DequantizeLinear": quantized.dequantize,
    "DynamicQuantizeLinear": quantized.dynamic_quantize,
    "MatMulInteger": quantized.matmul_integer,
    "QLinearMatMul": quantized.qlinear_matmul,
    "QLinearConv": quantized.qlinear_conv,
    # Control flow.
    "If": control.if_,
    "Loop": loops.loop,
    "Scan": loops.scan,
    # Sequences of tensors, and tensors that may be missing.
    "SequenceEmpty": sequences.empty,
    "SequenceConstruct": sequences.construct,
    "SequenceAt": sequences.at,
    "SequenceInsert": sequences.insert,
    "SequenceErase": sequences.erase,
    "SequenceLength": sequences.length,
    "SplitToSequence": sequences.split_to,
    "ConcatFromSequence": sequences.concat_from,
    "Optional": sequences.optional,
    "OptionalHasElement": sequences.has_element,
    "OptionalGetElement": sequences.get_element,
}

CHANNELS_FIRST = {
    *("Conv", "ConvTranspose", "DepthToSpace", "SpaceToDepth", "Resize", "Upsample"),
    *("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"),
    *("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN"),
}
"""Operators on images whose mapping is written for both layouts; the others are channels last only."""


def _quick_gelu(call: Call) -> Any:
    """``x * sigmoid(alpha * x)``."""
    x = call.tensor(0)
    return ops.multiply(x, ops.sigmoid(ops.multiply(x, call.attribute("alpha", 1.702))))


def _scaled_silu(call: Call) -> Any:
    """``z * sigmoid(z)`` of ``z = scale * x``; the scale is an input, or else an attribute."""
    scale = call.x(1) if call.has(1) else call.attribute("alpha", 1.0)
    return ops.silu(ops.multiply(call.tensor(0), scale))


def _biased_gelu(approximate: bool) -> Callable[[Call], Any]:
    """BiasGelu by the error function, FastGelu by the hyperbolic tangent; of ``x`` plus a bias."""

    def gelu(call: Call) -> Any:
        x = plus(call.tensor(0), call.x(1)) if call.has(1) else call.tensor(0)
        return ops.gelu(x, approximate=approximate)

    return gelu


CONTRIBUTED: dict[str, Callable[[Call], Any]] = {
    "BiasGelu": _biased_gelu(False),
    "FastGelu": _biased_gelu(True),
    "Gelu": e.gelu,
    "QuickGelu": _quick_gelu,
    "ScaledSiLU": _scaled_silu,
    "QLinearLeakyRelu": quantized.qlinear_leaky_relu,
    "QLinearSigmoid": quantized.qlinear_sigmoid,
    "QLinearAdd": quantized.qlinear_pair(plus),
    "QLinearMul": quantized.qlinear_pair(ops.multiply),
    "QLinearGlobalAveragePool": quantized.qlinear_global_average,
    "QLinearAveragePool": contributed.qlinear_average_pool,
    "QLinearConcat": contributed.qlinear_concat,
    "QLinearSoftmax": contributed.qlinear_softmax,
    "QLinearWhere": contributed.qlinear_where,
    "QGemm": contributed.qgemm,
    "MatMulIntegerToFloat": contributed.integers_to_float,
    "DynamicQuantizeMatMul": contributed.dynamic_quantize_matmul,
    "QuantizeLinear": quantized.quantize,
    "DequantizeLinear": quantized.dequantize,
    "Trilu": indexing.trilu,
}
"""Operators of the domain com.microsoft."""

UNLISTED: dict[str, Callable[[Call], Any]] = {
    "SimplifiedLayerNormalization": normalization.rms_normalization,
}
"""Operators that onnxruntime has in the standard's domain, and the standard has not."""


def mapping_of(domain: str, op_type: str) -> Callable[[Call], Any] | None:
    """Return the mapping of an operator; of a function, that of the operator that it stands for."""
    if domain == MICROSOFT:
        return CONTRIBUTED.get(op_type)
    return OPERATORS.get(op_type) or UNLISTED.get(op_type)
