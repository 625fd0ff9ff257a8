"""The table: one operator, one mapping. An operator without a row cannot be expressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx_nhwc.export import control, loops
from onnx_nhwc.export.torch.blocks import normalization, quantized, recurrent
from onnx_nhwc.export.torch.call import Call
from onnx_nhwc.export.torch.images import convolution, pooling, resize, sampling, transposed
from onnx_nhwc.export.torch.tensors import elementwise as e
from onnx_nhwc.export.torch.tensors import indexing, linear, shaping
from onnx_nhwc.export.torch.tensors import reduction as r

__all__ = ["OPERATORS", "mapping_of"]

OPERATORS: dict[str, Callable[[Call], Any]] = {
    # Arithmetic.
    "Add": e.binary("+"),
    "Sub": e.binary("-"),
    "Mul": e.binary("*"),
    "Div": e.divide,
    "Mod": e.modulo,
    "Pow": e.power,
    "Sum": e.variadic("add", "+"),
    "Mean": e.mean,
    "Max": e.variadic("maximum"),
    "Min": e.variadic("minimum"),
    "BitShift": e.bit_shift,
    "BitwiseAnd": e.binary("&"),
    "BitwiseOr": e.binary("|"),
    "BitwiseXor": e.binary("^"),
    "BitwiseNot": e.unary("bitwise_not"),
    # Comparisons and logic.
    "Equal": e.binary("=="),
    "Greater": e.binary(">"),
    "GreaterOrEqual": e.binary(">="),
    "Less": e.binary("<"),
    "LessOrEqual": e.binary("<="),
    "And": e.binary("&"),
    "Or": e.binary("|"),
    "Xor": e.binary("^"),
    "Not": e.unary("logical_not"),
    "Where": e.where,
    "IsInf": e.is_inf,
    "IsNaN": e.unary("isnan"),
    # One operand.
    **{
        name: e.unary(name.lower())
        for name in (
            *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf"),
            *("Exp", "Floor", "Log", "Neg", "Reciprocal", "Round", "Sign", "Sin", "Sinh", "Sqrt", "Tan"),
        )
    },
    "Cast": e.cast,
    "CastLike": e.cast_like,
    "Identity": e.identity,
    "Dropout": e.dropout,
    # Activations.
    "Relu": e.activation("F.relu", "nn.ReLU"),
    "Sigmoid": e.activation("torch.sigmoid", "nn.Sigmoid"),
    "Tanh": e.activation("torch.tanh", "nn.Tanh"),
    "Softplus": e.softplus,
    "Softsign": e.activation("F.softsign", "nn.Softsign"),
    "Clip": e.clip,
    "Celu": e.celu,
    "Elu": e.elu,
    "Gelu": e.gelu,
    "HardSigmoid": e.hard_sigmoid,
    "HardSwish": e.activation("F.hardswish", "nn.Hardswish"),
    "LeakyRelu": e.leaky_relu,
    "Mish": e.activation("F.mish", "nn.Mish"),
    "PRelu": e.prelu,
    "Selu": e.selu,
    "Shrink": e.shrink,
    "Swish": e.swish,
    "ThresholdedRelu": e.thresholded_relu,
    "Softmax": r.softmax("F.softmax", "nn.Softmax"),
    "LogSoftmax": r.softmax("F.log_softmax", "nn.LogSoftmax"),
    "Hardmax": r.hardmax,
    # Reductions.
    **r.REDUCTIONS,
    "ArgMax": r.argument("argmax"),
    "ArgMin": r.argument("argmin"),
    "TopK": r.top_k,
    "CumSum": r.cumulative("cumsum", 0),
    "CumProd": r.cumulative("cumprod", 1),
    # Shapes.
    "Reshape": shaping.reshape,
    "Flatten": shaping.flatten,
    "Squeeze": shaping.reshape,
    "Unsqueeze": shaping.reshape,
    "Transpose": shaping.transpose,
    "Concat": shaping.concat,
    "Split": shaping.split,
    "Slice": shaping.slice_,
    "Shape": shaping.shape,
    "Size": shaping.size,
    "Expand": shaping.expand,
    "Tile": shaping.tile,
    "Pad": shaping.pad,
    "CenterCropPad": shaping.center_crop_pad,
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
    "OneHot": indexing.one_hot,
    "Trilu": indexing.trilu,
    "EyeLike": indexing.eye_like,
    "Compress": indexing.compress,
    "NonZero": indexing.non_zero,
    "Unique": indexing.unique,
    "ReverseSequence": indexing.reverse_sequence,
    "Det": indexing.det,
    # Products.
    "MatMul": linear.matmul,
    "Gemm": linear.gemm,
    "Einsum": linear.einsum,
    # Images.
    "Conv": convolution.conv,
    "MaxPool": pooling.max_pool,
    "AveragePool": pooling.average_pool,
    "GlobalAveragePool": pooling.global_average,
    "GlobalMaxPool": pooling.global_max,
    "LpPool": pooling.lp_pool,
    "GlobalLpPool": pooling.global_lp,
    "ConvTranspose": transposed.conv_transpose,
    "Resize": resize.resize,
    "Upsample": resize.resize,
    "GridSample": sampling.grid_sample,
    "AffineGrid": sampling.affine_grid,
    # Normalisation.
    "BatchNormalization": normalization.batch_normalization,
    "InstanceNormalization": normalization.instance_normalization,
    "GroupNormalization": normalization.group_normalization,
    "LayerNormalization": normalization.layer_normalization,
    "RMSNormalization": normalization.rms_normalization,
    "LpNormalization": normalization.lp_normalization,
    "MeanVarianceNormalization": normalization.mean_variance,
    "LRN": normalization.local_response,
    # Sequences.
    "LSTM": recurrent.recurrent,
    "GRU": recurrent.recurrent,
    "RNN": recurrent.recurrent,
    # Quantised numbers.
    "QuantizeLinear": quantized.quantize,
    "DequantizeLinear": quantized.dequantize,
    "DynamicQuantizeLinear": quantized.dynamic_quantize,
    "MatMulInteger": quantized.matmul_integer,
    # Control flow.
    "If": control.if_,
    "Loop": loops.loop,
    "Scan": loops.scan,
}

CONTRIBUTED: dict[str, Callable[[Call], Any]] = {}
"""Operators of the domain com.microsoft."""


def mapping_of(domain: str, op_type: str) -> Callable[[Call], Any] | None:
    """Return the mapping of an operator."""
    if domain == "com.microsoft":
        return CONTRIBUTED.get(op_type)
    return OPERATORS.get(op_type)
