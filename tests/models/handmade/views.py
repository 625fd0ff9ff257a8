"""Reshape, Transpose, Flatten and shape arithmetic between convolutions."""

from __future__ import annotations

from .builder import Builder, Case
from .shapes import (
    reshape_zero,
    shape_chain,
    shape_constant,
    shape_output,
    shape_scalar_chain,
    shape_slice,
    shape_start_end,
    two_unknown,
)


def channel_shuffle(b: Builder) -> None:
    """Shuffle n (g k) h w -> n g k h w -> n k g h w -> n (k g) h w, twice, depthwise between."""
    y = b.conv(b.x(), b.c, b.c, 1, group=b.g)
    for _ in range(2):
        y = b.reshape(y, b.n, b.g, b.k, b.h, b.w)
        y = b.transpose(y, 0, 2, 1, 3, 4)
        y = b.reshape(y, b.n, b.c, b.h, b.w)
        y = b.same(y, group=b.c)
    b.output(y)


def channel_shuffle_dynamic(b: Builder) -> None:
    """The same with targets computed from the shape, as TorchScript writes them."""
    y = b.same(b.x())
    n, h, w = (b.size(y, axis) for axis in (0, 2, 3))
    five = b.op("Concat", n, b.const([b.g]), b.const([b.k]), h, w, axis=0)
    y = b.transpose(b.op("Reshape", y, five), 0, 2, 1, 3, 4)
    four = b.op("Concat", n, b.const([-1]), h, w, axis=0)
    b.output(b.same(b.op("Reshape", y, four)))


def window_partition(b: Builder) -> None:
    """Windows of 2 x 2 out of a channels-last view, a matrix on each token, and back."""
    n, c, y, x = b.n, b.c, b.h, b.w
    v = b.conv(b.input("x", [n, c, 2 * y, 2 * x]), c, c)
    v = b.transpose(v, 0, 2, 3, 1)
    v = b.transpose(b.reshape(v, n, y, 2, x, 2, c), 0, 1, 3, 2, 4, 5)
    v = b.op("MatMul", b.reshape(v, n * y * x, 4, c), b.weight(c, c))
    v = b.transpose(b.reshape(v, n, y, x, 2, 2, c), 0, 1, 3, 2, 4, 5)
    v = b.transpose(b.reshape(v, n, 2 * y, 2 * x, c), 0, 3, 1, 2)
    b.output(b.same(v))


def window_partition_first(b: Builder) -> None:
    """The same windows cut out of the channels-first tensor in one 6-D Transpose."""
    n, c, y, x = b.n, b.c, b.h, b.w
    v = b.conv(b.input("x", [n, c, 2 * y, 2 * x]), c, c)
    v = b.transpose(b.reshape(v, n, c, y, 2, x, 2), 0, 2, 4, 3, 5, 1)
    v = b.op("MatMul", b.reshape(v, n * y * x, 4, c), b.weight(c, c))
    v = b.transpose(b.reshape(v, n, y, x, 2, 2, c), 0, 5, 1, 3, 2, 4)
    b.output(b.same(b.reshape(v, n, c, 2 * y, 2 * x)))


def swap_h_w(b: Builder) -> None:
    """A Transpose that exchanges H and W between two convolutions that are not symmetric."""
    y = b.op("Conv", b.x(), b.weight(b.c, b.c, 3, 1), pads=[1, 0, 1, 0])
    y = b.transpose(y, 0, 1, 3, 2)
    b.output(b.op("Conv", y, b.weight(b.c, b.c, 3, 1), pads=[1, 0, 1, 0]))


def swap_c_h(b: Builder) -> None:
    """Channels become rows: a convolution over (c, w) of a tensor whose channels are h."""
    y = b.transpose(b.same(b.x()), 0, 2, 1, 3)
    b.output(b.transpose(b.conv(y, b.h, b.h), 0, 2, 1, 3))


def reverse_axes(b: Builder) -> None:
    """A Transpose without perm reverses all axes."""
    y = b.op("Transpose", b.same(b.x()))
    b.output(b.op("Transpose", b.op("Relu", y)), y)


def flatten_dense(b: Builder) -> None:
    """From n c h w -> n (c h w) into Gemm, with the weight either way round."""
    y = b.op("Relu", b.same(b.x()))
    size = b.c * b.h * b.w
    y = b.op("Flatten", y)
    y1 = b.op("Gemm", y, b.weight(13, size), b.vector(13), transB=1)
    y2 = b.op("MatMul", y, b.weight(size, 13))
    b.output(y1, y2)


def flatten_norm_dense(b: Builder) -> None:
    """Per-feature constants between Flatten and Dense: in the order of the features."""
    size = b.c * b.h * b.w
    y = b.op("Flatten", b.same(b.x()))
    y = b.op("Add", b.op("Mul", y, b.vector(size)), b.vector(1, size))
    parameters = [b.vector(size) for _ in range(4)]
    y = b.op("PRelu", b.op("BatchNormalization", y, *parameters), b.vector(size, low=0, high=0.5))
    b.output(b.op("Gemm", y, b.weight(size, 10), b.vector(10)))


def flatten_axes(b: Builder) -> None:
    """Every axis that Flatten can have, the negative ones too."""
    y = b.same(b.x())
    axes = (0, 2, 3, 4, -1, -3)
    b.output(*(b.op("Relu", b.op("Flatten", y, axis=axis)) for axis in axes))


def flatten_pooled(b: Builder) -> None:
    """With h = w = 1 a Flatten moves nothing."""
    y = b.op("GlobalAveragePool", b.same(b.x()))
    b.output(b.op("Gemm", b.op("Flatten", y), b.weight(b.c, 10), b.vector(10)))


def reshape_gemm(b: Builder) -> None:
    """Reshape to (0, -1) and to (n, c h w), each in front of a Gemm."""
    size = b.c * b.h * b.w
    y = b.op("MaxPool", b.same(b.x()), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y1 = b.op("Gemm", b.reshape(y, 0, -1), b.weight(7, size), transB=1)
    y2 = b.op("Gemm", b.reshape(y, b.n, size), b.weight(size, 7), b.vector(7))
    b.output(y1, y2)


def dense_reshape(b: Builder) -> None:
    """The way back: a Gemm's features become an image, as in a generator."""
    size = b.c * b.h * b.w
    y = b.op("Gemm", b.input("x", [b.n, 10]), b.weight(10, size), b.vector(size))
    y = b.op("LeakyRelu", b.reshape(y, b.n, b.c, b.h, b.w))
    b.output(b.op("Tanh", b.same(y)))


def merge_spatial(b: Builder) -> None:
    """Attention over an image: n c h w -> n c (h w) -> n (h w) c, a matrix, and back."""
    y = b.reshape(b.same(b.x()), b.n, b.c, b.h * b.w)
    y = b.op("MatMul", b.transpose(y, 0, 2, 1), b.weight(b.c, b.c))
    y = b.reshape(b.transpose(y, 0, 2, 1), b.n, b.c, b.h, b.w)
    b.output(b.same(y))


def merge_channel_height(b: Builder) -> None:
    """A text line: n c h w -> n (c h) w -> w n (c h), features in the order c, h."""
    y = b.transpose(b.reshape(b.same(b.x()), b.n, b.c * b.h, b.w), 2, 0, 1)
    b.output(b.op("MatMul", y, b.weight(b.c * b.h, 9)))


def merge_batch_channel(b: Builder) -> None:
    """Channels become a batch: n c h w -> (n c) 1 h w -> convolution -> n c h w."""
    y = b.reshape(b.same(b.x()), b.n * b.c, 1, b.h, b.w)
    b.output(b.same(b.reshape(b.conv(y, 1, 1), b.n, b.c, b.h, b.w)))


def split_channels(b: Builder) -> None:
    """Split n (g k) h w -> n g k h w, a sum over g: stays 5-D, then 4-D with fewer channels."""
    y = b.reshape(b.same(b.x()), b.n, b.g, b.k, b.h, b.w)
    weights = b.op("Softmax", y, axis=1)
    y = b.reduce("ReduceSum", b.op("Mul", y, weights), [1], 0)
    b.output(b.conv(y, b.k, b.k))


def split_squeeze(b: Builder) -> None:
    """Unsqueeze in every place, an operator, Squeeze again."""
    y = b.same(b.x())
    for axis in (0, 1, 2, 3, 4, -1, -3):
        y = b.squeeze("Unsqueeze", y, [axis])
        y = b.op("LeakyRelu", y, alpha=0.5)
        y = b.squeeze("Squeeze", y, [axis])
    b.output(b.same(y))


def squeeze_excite(b: Builder) -> None:
    """Gate: n c 1 1 -> n c, two dense layers, n c -> n c 1 1, a product."""
    y = b.same(b.x())
    z = b.squeeze("Squeeze", b.op("GlobalAveragePool", y), [2, 3])
    z = b.op("Relu", b.op("Gemm", z, b.weight(b.c, 4), b.vector(4)))
    z = b.op("Sigmoid", b.op("Gemm", z, b.weight(4, b.c), b.vector(b.c, low=-1, high=1)))
    b.output(b.same(b.op("Mul", y, b.squeeze("Unsqueeze", z, [2, 3]))))


def yolo_head(b: Builder) -> None:
    """From n (a k) h w -> n a k h w -> n a h w k -> n (a h w) k, with its Sigmoid and its grid."""
    y = b.reshape(b.same(b.x()), b.n, b.g, b.k, b.h, b.w)
    y = b.op("Sigmoid", b.transpose(y, 0, 1, 3, 4, 2))
    grid = b.vector(1, 1, b.h, b.w, b.k)
    y = b.op("Mul", b.op("Add", y, grid), b.vector(1, b.g, 1, 1, 1))
    b.output(b.reshape(y, b.n, -1, b.k))


def yolo_one_anchor(b: Builder) -> None:
    """The same with a single anchor: nothing needs to move in channels last."""
    y = b.reshape(b.same(b.x()), b.n, 1, b.c, b.h, b.w)
    y = b.op("Sigmoid", b.transpose(y, 0, 1, 3, 4, 2))
    b.output(b.reshape(y, b.n, -1, b.c))


def yolo_levels(b: Builder) -> None:
    """Two levels, n k (h w) each, concatenated over boxes, split over k, softmax over bins."""
    x = b.same(b.x())
    down = b.same(x, strides=[2, 2])
    flat = [b.reshape(y, b.n, b.c, -1) for y in (x, down)]
    y = b.op("Concat", *flat, axis=2)
    y = b.op("Softmax", b.transpose(b.reshape(y, b.n, b.g, b.k, -1), 0, 2, 1, 3), axis=1)
    y = b.op("Conv", y, b.floats([[[[float(i)]] for i in range(b.k)]]))
    b.output(b.reshape(y, b.n, b.g, -1))


def ssd_head(b: Builder) -> None:
    """Permute to n h w (a k), reshape to n (h w a) k."""
    y = b.reshape(b.transpose(b.same(b.x()), 0, 2, 3, 1), b.n, -1, b.k)
    b.output(b.op("Softmax", y, axis=2))


def pixel_shuffle_views(b: Builder) -> None:
    """Pixel shuffle by hand: n (c 2 2) h w -> n c 2 2 h w -> n c h 2 w 2 -> n c (h 2) (w 2)."""
    y = b.reshape(b.conv(b.x(), b.c, 4 * b.k), b.n, b.k, 2, 2, b.h, b.w)
    y = b.reshape(b.transpose(y, 0, 1, 4, 2, 5, 3), b.n, b.k, 2 * b.h, 2 * b.w)
    b.output(b.conv(y, b.k, 3))


def space_to_depth_views(b: Builder) -> None:
    """YOLO's focus by strided slices, and space to depth by Reshape and Transpose."""
    n, c, h, w = b.n, b.c, b.h, b.w
    x = b.same(b.input("x", [n, c, 2 * h, 2 * w]))
    y = b.reshape(x, n, c, h, 2, w, 2)
    y = b.reshape(b.transpose(y, 0, 3, 5, 1, 2, 4), n, 4 * c, h, w)
    steps = (b.const([9999, 9999]), b.const([2, 3]), b.const([2, 2]))
    parts = [b.op("Slice", x, b.const(start), *steps) for start in ([0, 0], [1, 0], [0, 1])]
    b.output(b.conv(y, 4 * c, 3, 1), b.op("Concat", *parts, axis=1))


def input_channels_last(b: Builder) -> None:
    """The source takes NHWC and returns NHWC, by Transposes of its own."""
    y = b.op("Relu", b.same(b.transpose(b.x("nhwc"), 0, 3, 1, 2)))
    b.output(b.transpose(b.same(y), 0, 2, 3, 1))


def two_inputs(b: Builder) -> None:
    """One input channels first, one channels last; their sum feeds a convolution."""
    y = b.op("Add", b.x(), b.transpose(b.x("nhwc", "frame"), 0, 3, 1, 2))
    b.output(b.same(y))


def audio_dense(b: Builder) -> None:
    """[1, 67, 80] is frames by features: no image, no channel; nothing may move."""
    y = b.op("MatMul", b.input("x", [1, 67, 80]), b.weight(80, 12))
    y = b.op("LayerNormalization", y, b.vector(12), b.vector(12), axis=-1)
    b.output(b.op("Softmax", y, axis=-1))


def audio_conv(b: Builder) -> None:
    """[1, 67, 80] again, transposed into 1-D convolutions and back."""
    y = b.transpose(b.input("x", [1, 67, 80]), 0, 2, 1)
    y = b.op("Relu", b.conv(y, 80, 12, rank=1))
    b.output(b.transpose(b.conv(y, 12, 6, rank=1), 0, 2, 1))


def audio_image(b: Builder) -> None:
    """[1, 67, 80] becomes an image of one channel: Unsqueeze, convolutions, merge of c and w."""
    y = b.squeeze("Unsqueeze", b.input("x", [1, 67, 80]), [1])
    y = b.op("Relu", b.conv(y, 1, 3, strides=[2, 2]))
    y = b.reshape(b.transpose(y, 0, 2, 1, 3), 1, 34, 120)
    b.output(b.op("MatMul", y, b.weight(120, 8)))


def einsum(b: Builder) -> None:
    """Einsum as a matrix over channels, as a product of two images, and as a view."""
    y = b.same(b.x())
    z = b.op("Einsum", y, b.weight(b.c, b.c), equation="nchw,cd->ndhw")
    t = b.op("Einsum", b.same(z), y, equation="nchw,nchv->nhwv")
    v = b.op("Einsum", z, equation="nchw->nhwc")
    b.output(b.same(z), t, v)


def matmul_last(b: Builder) -> None:
    """MatMul contracts W of an NCHW tensor; the batch axes of another are (n, c)."""
    y = b.op("MatMul", b.same(b.x()), b.weight(b.w, b.w))
    z = b.op("MatMul", y, b.transpose(b.same(y), 0, 1, 3, 2))
    b.output(b.same(y), z)


def attention(b: Builder) -> None:
    """Heads out of 1x1 convolutions, over pixels, all by views of n (g k) h w."""
    x = b.x()
    q, k, v = (b.reshape(b.conv(x, b.c, b.c, 1), b.n, b.g, b.k, b.h * b.w) for _ in range(3))
    scores = b.op("MatMul", b.transpose(q, 0, 1, 3, 2), k)
    scores = b.op("Softmax", b.op("Mul", scores, b.floats(b.k**-0.5)), axis=-1)
    y = b.op("MatMul", v, b.transpose(scores, 0, 1, 3, 2))
    b.output(b.op("Add", x, b.conv(b.reshape(y, b.n, b.c, b.h, b.w), b.c, b.c, 1)))


ALL = ("distinct", "equal", "factors")
DYNAMIC = ("", "n", "nhw")

CASES: dict[str, Case] = {
    "channel_shuffle": Case(channel_shuffle, sizes=ALL),
    "channel_shuffle_dynamic": Case(channel_shuffle_dynamic, sizes=ALL, dynamic=DYNAMIC),
    "window_partition": Case(window_partition, sizes=ALL),
    "window_partition_first": Case(window_partition_first, sizes=ALL),
    "swap_h_w": Case(swap_h_w, dynamic=("", "nhw")),
    "swap_c_h": Case(swap_c_h),
    "reverse_axes": Case(reverse_axes),
    "flatten_dense": Case(flatten_dense, dynamic=("", "n")),
    "flatten_norm_dense": Case(flatten_norm_dense, dynamic=("", "n")),
    "flatten_axes": Case(flatten_axes),
    "flatten_pooled": Case(flatten_pooled, dynamic=DYNAMIC),
    "reshape_gemm": Case(reshape_gemm),
    "dense_reshape": Case(dense_reshape),
    "merge_spatial": Case(merge_spatial),
    "merge_channel_height": Case(merge_channel_height),
    "merge_batch_channel": Case(merge_batch_channel),
    "shape_chain": Case(shape_chain, (11, 17), dynamic=DYNAMIC),
    "shape_scalar_chain": Case(shape_scalar_chain, (11, 17), dynamic=DYNAMIC),
    "shape_slice": Case(shape_slice, dynamic=DYNAMIC),
    "shape_start_end": Case(shape_start_end, dynamic=DYNAMIC),
    "shape_constant": Case(shape_constant, dynamic=DYNAMIC),
    "shape_output": Case(shape_output, dynamic=DYNAMIC),
    "two_unknown": Case(two_unknown, dynamic=("hw", "nhw")),
    "reshape_zero": Case(reshape_zero, dynamic=("", "nh")),
    "split_channels": Case(split_channels, sizes=ALL),
    "split_squeeze": Case(split_squeeze, (11, 13), dynamic=("", "nhw")),
    "squeeze_excite": Case(squeeze_excite, (11, 17), dynamic=DYNAMIC),
    "yolo_head": Case(yolo_head, sizes=ALL),
    "yolo_one_anchor": Case(yolo_one_anchor),
    "yolo_levels": Case(yolo_levels, sizes=ALL),
    "ssd_head": Case(ssd_head, sizes=ALL),
    "pixel_shuffle_views": Case(pixel_shuffle_views, sizes=ALL),
    "space_to_depth_views": Case(space_to_depth_views),
    "input_channels_last": Case(input_channels_last, dynamic=DYNAMIC),
    "two_inputs": Case(two_inputs, dynamic=DYNAMIC),
    "audio_dense": Case(audio_dense, sizes=("one",)),
    "audio_conv": Case(audio_conv, sizes=("one",)),
    "audio_image": Case(audio_image, sizes=("one",)),
    "einsum": Case(einsum),
    "matmul_last": Case(matmul_last),
    "attention": Case(attention, sizes=ALL),
}
