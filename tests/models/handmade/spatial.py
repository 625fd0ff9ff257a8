"""Convolutions, pools, norms, resizes and pads, in the forms that their opsets gave them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from .builder import Builder, Case
from .norms import (
    batch_norm_scaled,
    grn,
    group_norm,
    group_norm_static,
    group_norm_torch,
    layer_norm_axes,
    layer_norm_last,
    norms,
)
from .views import ALL, DYNAMIC


def equal_axes(b: Builder) -> None:
    """Convolutions, a residual sum and a Concat where no size tells one axis from another."""
    x = b.x()
    y = b.op("Relu", b.same(x))
    y = b.op("Add", b.same(y), x)
    y = b.conv(b.op("Concat", y, x, axis=1), 2 * b.c, b.c)
    y = b.op("AveragePool", y, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    b.output(b.op("Mul", y, b.op("Softmax", y, axis=1)))


def twenty(b: Builder) -> None:
    """[1, 20, 20, 20] and a matrix [20, 20]: whose axes are they?"""
    y = b.conv(b.input("x", [1, 20, 20, 20]), 20, 20)
    y = b.op("Add", b.op("MatMul", y, b.weight(20, 20)), b.vector(20))
    b.output(b.op("Relu", b.conv(y, 20, 20)))


def four(b: Builder) -> None:
    """[1, 4, 4, 4] through a Reshape that keeps every size and a Transpose that swaps H and W."""
    y = b.conv(b.input("x", [1, 4, 4, 4]), 4, 4)
    y = b.transpose(b.reshape(y, 1, 4, 4, 4), 0, 1, 3, 2)
    y = b.op("Mul", y, b.vector(4))
    y = b.conv(b.transpose(y, 0, 2, 1, 3), 4, 4)
    b.output(b.op("Gemm", b.op("Flatten", y), b.weight(64, 4), b.vector(4)))


def conv_1d(b: Builder) -> None:
    """1-D: dilated, grouped, strided, pooled, transposed."""
    y = b.op("Relu", b.same(b.x("ncw"), rank=1, dilations=[2], pads=[2, 2]))
    y = b.same(y, rank=1, group=b.c)
    y = b.op("MaxPool", y, kernel_shape=[3], strides=[2], pads=[1, 1])
    weight = b.floats(b.rng.standard_normal((b.c, b.k, 4)) * 0.3)
    y = b.op("ConvTranspose", y, weight, strides=[2], pads=[1, 1], group=b.g)
    b.output(b.op("InstanceNormalization", y, b.vector(b.c), b.vector(b.c)))


def conv_3d(b: Builder) -> None:
    """3-D: kernels of three different sizes, depthwise, pooled, transposed."""
    x = b.input("x", [b.n, b.c, b.k, b.h, b.w], "nckhw")
    y = b.op("Conv", x, b.weight(b.c, b.c, 1, 2, 3), pads=[0, 0, 1, 0, 1, 1])
    y = b.same(b.op("Relu", y), rank=3, group=b.c)
    y = b.op("MaxPool", y, kernel_shape=[1, 2, 3], strides=[1, 2, 1], pads=[0, 1, 1, 0, 0, 1])
    weight = b.floats(b.rng.standard_normal((b.c, b.g, 2, 1, 3)) * 0.2)
    y = b.op("ConvTranspose", y, weight, strides=[2, 1, 1], pads=[0, 0, 1, 0, 0, 1])
    parameters = [b.vector(b.g) for _ in range(4)]
    b.output(b.op("BatchNormalization", y, *parameters))


def conv_forms(b: Builder) -> None:
    """auto_pad in its forms, no bias, strides and dilations and kernels that are not square."""
    x = b.x()
    y = b.op("Conv", x, b.weight(b.c, b.c, 3, 2), auto_pad="SAME_UPPER", strides=[1, 2])
    y = b.op("Conv", y, b.weight(b.c, b.c, 2, 2), auto_pad="SAME_LOWER")
    y1 = b.op("Conv", y, b.weight(b.c, b.c, 2, 1), auto_pad="VALID")
    y2 = b.op("Conv", x, b.weight(4, b.c, 3, 1), dilations=[2, 1], pads=[1, 0, 2, 1])
    b.output(y1, y2)


def conv_transpose(b: Builder) -> None:
    """Groups, dilation, output_padding, output_shape and auto_pad, none of them square."""

    def weight(inputs: int, outputs: int, *kernel: int) -> str:
        return b.floats(b.rng.standard_normal((inputs, outputs, *kernel)) * inputs**-0.5)

    x = b.x()
    y1 = b.op(
        "ConvTranspose",
        x,
        weight(b.c, b.k, 3, 2),
        b.vector(b.c),
        group=b.g,
        strides=[2, 1],
        pads=[1, 0, 1, 1],
        output_padding=[1, 0],
    )
    y2 = b.op("ConvTranspose", x, weight(b.c, 2, 2, 3), dilations=[2, 1], strides=[1, 2])
    y3 = b.op("ConvTranspose", x, weight(b.c, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 3])
    y4 = b.op(
        "ConvTranspose",
        x,
        weight(b.c, 1, 3, 3),
        group=b.c,
        strides=[2, 2],
        output_shape=[2 * b.h, 2 * b.w],
    )
    b.output(y1, y2, y3, y4)


def pools(b: Builder) -> None:
    """Every pool: ceil_mode, count_include_pad, dilations, global ones, LpPool."""
    x = b.same(b.x())
    out = [
        b.op("MaxPool", x, kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1),
        b.op("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 1], pads=[1, 0, 0, 1]),
        b.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
        b.op("AveragePool", x, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
        b.op("LpPool", x, kernel_shape=[2, 3], p=2, auto_pad="SAME_UPPER"),
        b.op("GlobalAveragePool", x),
        b.op("GlobalMaxPool", x),
    ]
    if b.opset < 22:  # onnxruntime has no newer one
        out.append(b.op("GlobalLpPool", x, p=2))
    b.output(*(b.op("Neg", y) for y in out))


def max_unpool(b: Builder) -> None:
    """MaxPool's indices go to the MaxUnpool that they are for."""
    y = b.same(b.x())
    y, where = b.ops("MaxPool", y, outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    y = b.same(b.op("Relu", y))
    b.output(b.same(b.op("MaxUnpool", y, where, kernel_shape=[2, 2], strides=[2, 2])))


def max_indices(b: Builder) -> None:
    """MaxPool's indices are an output: offsets into channels-first data."""
    y, where = b.ops("MaxPool", b.same(b.x()), outputs=2, kernel_shape=[3, 2], strides=[2, 2])
    b.output(b.same(y))
    b.output(where, dtype=TensorProto.INT64)


def depth_space(b: Builder) -> None:
    """DepthToSpace in both modes and back."""
    y = b.conv(b.x(), b.c, 12)
    y1 = b.op("DepthToSpace", y, blocksize=2, mode="DCR")
    y = b.op("Add", y1, b.op("DepthToSpace", y, blocksize=2, mode="CRD"))
    b.output(b.conv(b.op("SpaceToDepth", y, blocksize=2), 12, b.c), b.op("Relu", y1))


def resize(b: Builder) -> None:
    """Nearest, linear, cubic; scales and sizes; each coordinate transformation in turn."""
    y = b.same(b.x())
    scales = b.floats([1, 1, 2, 1.5])
    modes = (
        ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
        ("linear", {"coordinate_transformation_mode": "half_pixel"}),
        ("linear", {"coordinate_transformation_mode": "align_corners"}),
        ("cubic", {"cubic_coeff_a": -0.75}),
    )
    roi = b.floats([]) if b.opset < 13 else ""
    out = [b.op("Resize", y, roi, scales, mode=mode, **more) for mode, more in modes]
    if not b.dynamic:
        sizes = b.const([b.n, b.c, b.h + 3, b.w - 2])
        empty = b.floats([]) if b.opset < 13 else ""
        out.append(b.op("Resize", y, roi, empty, sizes, mode="linear"))
    b.output(*(b.same(z) for z in out))


def resize_crop(b: Builder) -> None:
    """tf_crop_and_resize: a region of interest with a start and an end on every axis."""
    roi = b.floats([0, 0, 0.1, 0.2, 1, 1, 0.9, 0.7])
    mode = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    y = b.op("Resize", b.same(b.x()), roi, b.floats([1, 1, 1.5, 2]), **mode)
    b.output(b.same(y))


def resize_axes(b: Builder) -> None:
    """Opset 18: axes, in another order too, and keep_aspect_ratio_policy."""
    y = b.same(b.x())
    y1 = b.op("Resize", y, "", b.floats([2, 1.5]), axes=[2, 3], mode="nearest")
    y2 = b.op("Resize", y, "", b.floats([1.5, 2]), axes=[3, 2], mode="linear")
    y3 = b.op(
        "Resize",
        y,
        "",
        "",
        b.const([3 * b.h, 2 * b.w]),
        axes=[2, 3],
        mode="linear",
        keep_aspect_ratio_policy="not_larger",
    )
    b.output(*(b.same(z) for z in (y1, y2, y3)))


def upsample(b: Builder) -> None:
    """Upsample: its scales are an attribute in opset 7, an input in 9."""
    y = b.same(b.x())
    for mode, scales in (("nearest", [1.0, 1.0, 2.0, 3.0]), ("linear", [1.0, 1.0, 2.0, 2.0])):
        if b.opset < 9:
            y = b.op("Upsample", y, mode=mode, scales=scales)
        else:
            y = b.op("Upsample", y, b.floats(scales), mode=mode)
    b.output(b.same(y))


def pad(b: Builder) -> None:
    """Constant, reflect, edge and negative pads, on other axes than the spatial ones as well."""

    def pads(y: str, values: list[int], mode: str = "constant", value: float = 0.0) -> str:
        if b.opset < 11:
            return b.op("Pad", y, pads=values, mode=mode, value=value)
        more = [b.floats(value)] if mode == "constant" else []
        return b.op("Pad", y, b.const(values), *more, mode=mode)

    y = b.same(b.x())
    y = b.same(pads(y, [0, 0, 1, 2, 0, 0, 3, 0], value=0.5))
    y = b.same(pads(y, [0, 0, 2, 1, 0, 0, 1, 3], "reflect"))
    y = b.same(pads(y, [0, 0, 0, 2, 0, 0, 1, 1], "edge"))
    y = b.same(pads(y, [0, 0, -1, -2, 0, 0, 0, -1]))
    b.output(b.conv(pads(y, [0, 1, 0, 0, 1, 2, 0, 0], value=-1.0), b.c + 3, 3))


def pad_axes(b: Builder) -> None:
    """Opset 18: pads for some axes only."""
    y = b.op("Pad", b.same(b.x()), b.const([1, 0, 2, 3]), "", b.const([2, -1]), mode="reflect")
    b.output(b.same(y))


def pad_pool(b: Builder) -> None:
    """A Pad with zeros in front of a MaxPool of negative data (an optimiser's trap)."""
    y = b.op("Neg", b.op("Abs", b.same(b.x())))
    y = b.op("Pad", y, b.const([0, 0, 1, 1, 0, 0, 1, 1]))
    b.output(b.same(b.op("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2])))


def grid_sample(b: Builder) -> None:
    """GridSample: the grid is (n, h, w, 2) already."""
    grid = b.input("grid", [b.n, 3, 5, 2])
    y = b.op("GridSample", b.same(b.x()), b.op("Tanh", grid), align_corners=1)
    b.output(b.same(y))


def roi_align(b: Builder) -> None:
    """RoiAlign: boxes and their batch indices stay as they are."""
    boxes = b.floats([[0, 0, 4, 3], [1, 2, 5, 6], [0.5, 1, 3, 5]])
    more = {"output_height": 3, "output_width": 2, "sampling_ratio": 2}
    y = b.op("RoiAlign", b.same(b.x()), boxes, b.const([0, 1, 0]), **more)
    b.output(b.same(y))


def shared_weight(b: Builder) -> None:
    """One kernel for two convolutions and for a MatMul of rank 4; one vector for three uses."""
    kernel, vector = b.weight(b.c, b.c, 1, 1), b.vector(b.c)
    y = b.op("Conv", b.x(), kernel, vector)
    y = b.op("Conv", b.op("Relu", y), kernel, vector)
    z = b.op("Mul", y, kernel) if b.h == b.c else b.op("Mul", y, b.reshape(vector, b.c, 1, 1))
    b.output(b.op("Add", z, b.op("ReduceMax", kernel, keepdims=0)))


def computed_weight(b: Builder) -> None:
    """Kernels from a Transpose, from a product, from a graph input."""
    kernel = b.transpose(b.floats(b.rng.standard_normal((3, 2, b.c, b.c)) * 0.2), 3, 2, 0, 1)
    y = b.op("Conv", b.x(), kernel, pads=[1, 0, 1, 1])
    norm = b.op("Mul", b.weight(b.c, b.c, 3, 3), b.vector(b.c, 1, 1, 1))
    y = b.op("Conv", y, norm, pads=[1] * 4)
    b.output(b.op("Conv", y, b.input("kernel", [4, b.c, 2, 3]), pads=[1, 1, 0, 1]))


def constant_node(b: Builder) -> None:
    """Weights and per-channel values as Constant nodes, one of them an output as well."""

    def constant(value: np.ndarray) -> str:
        tensor = helper.make_tensor("value", TensorProto.FLOAT, value.shape, value.flatten())
        return b.op("Constant", value=tensor)

    kernel = constant(b.rng.standard_normal((b.c, b.c, 3, 3)) * 0.2)
    scale = constant(b.rng.random((1, b.c, 1, 1)) + 0.5)
    y = b.op("Conv", b.x(), kernel, pads=[1] * 4)
    b.output(b.same(b.op("Mul", y, scale)), scale)


def quantised(b: Builder) -> None:
    """Quantize and Dequantize around a convolution, its weight quantised per output channel."""
    zero = b.const(3, np.uint8)
    y = b.op("QuantizeLinear", b.x(), b.floats(0.05), zero)
    y = b.op("DequantizeLinear", y, b.floats(0.05), zero)
    kernel = b.const(b.rng.integers(-90, 90, (b.c, b.c, 3, 3)), np.int8)
    zeros = b.const([0] * b.c, np.int8)
    kernel = b.op("DequantizeLinear", kernel, b.vector(b.c, low=0.001, high=0.004), zeros, axis=0)
    y = b.op("Relu", b.op("Conv", y, kernel, b.vector(b.c), pads=[1] * 4))
    scale = b.vector(b.c, low=0.02, high=0.06)
    zeros = b.const([1] * b.c, np.uint8)
    y = b.op("QuantizeLinear", y, scale, zeros, axis=1)
    b.output(b.same(b.op("DequantizeLinear", y, scale, zeros, axis=1)))


CASES: dict[str, Case] = {
    "equal_axes": Case(equal_axes, (9, 17), ALL, DYNAMIC),
    "twenty": Case(twenty, sizes=("one",)),
    "four": Case(four, sizes=("one",)),
    "conv_1d": Case(conv_1d, (11, 17), dynamic=("", "nw")),
    "conv_3d": Case(conv_3d, (11, 17), dynamic=("", "nhw")),
    "conv_forms": Case(conv_forms),
    "conv_transpose": Case(conv_transpose, (11, 17), ALL),
    "pools": Case(pools, (12, 17, 22), dynamic=DYNAMIC),
    "max_unpool": Case(max_unpool, sizes=("equal", "factors", "one")),
    "max_indices": Case(max_indices),
    "depth_space": Case(depth_space, (11, 17), ALL, DYNAMIC),
    "norms": Case(norms, (9, 14, 17)),
    "batch_norm_scaled": Case(batch_norm_scaled, (7, 9, 14, 15)),
    "group_norm_torch": Case(group_norm_torch, (11, 17), ALL, DYNAMIC),
    "group_norm_static": Case(group_norm_static, sizes=ALL),
    "group_norm": Case(group_norm, (18, 21), ALL, DYNAMIC),
    "layer_norm_last": Case(layer_norm_last, (13, 17, 18), dynamic=DYNAMIC),
    "layer_norm_axes": Case(layer_norm_axes),
    "grn": Case(grn, (13, 18), dynamic=DYNAMIC),
    "resize": Case(resize, (11, 13, 18), dynamic=DYNAMIC),
    "resize_crop": Case(resize_crop),
    "resize_axes": Case(resize_axes, (18, 21)),
    "upsample": Case(upsample, (7, 9), dynamic=DYNAMIC),
    "pad": Case(pad, (9, 11, 18), dynamic=DYNAMIC),
    "pad_axes": Case(pad_axes, (18, 21)),
    "pad_pool": Case(pad_pool),
    "grid_sample": Case(grid_sample, (16, 20)),
    "roi_align": Case(roi_align, (10, 16)),
    "shared_weight": Case(shared_weight),
    "computed_weight": Case(computed_weight),
    "constant_node": Case(constant_node),
    "quantised": Case(quantised, (13, 21)),
}
