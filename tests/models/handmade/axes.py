"""Operators with an axis, with broadcasting, and those that stand in the way."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .bodies import custom_bias, custom_domain, if_conv, if_mixed, local_function, loop_conv, scan_conv
from .builder import Builder, Case
from .views import ALL, DYNAMIC


def prelu(b: Builder) -> None:
    """Slopes of shape [c, 1, 1], [1], [1, c, 1, 1], [1, 1, 1], [h, w], [c, h, w] and []."""
    y = b.same(b.x())
    shapes = ((b.c, 1, 1), (1,), (1, b.c, 1, 1), (1, 1, 1), (b.h, b.w), (b.c, b.h, b.w), ())
    for shape in shapes:
        y = b.op("PRelu", y, b.vector(*shape, low=0.1, high=0.9))
        y = b.op("Sub", y, b.floats(0.3))
    b.output(b.same(y))


def constants(b: Builder) -> None:
    """Constants of rank 0, 1, 3 and 4; one of rank 1 or 2 belongs to the last axes, not to c."""
    y = b.same(b.x())
    y = b.op("Mul", y, b.vector(b.w))
    y = b.op("Add", b.vector(b.c, 1, 1), y)
    y = b.op("Mul", y, b.vector(1, b.c, 1, 1))
    y = b.op("Add", y, b.vector(b.h, 1))
    y = b.op("Div", y, b.vector(b.c, 1, b.w))
    y = b.op("Sub", b.floats(1.5), y)
    y = b.op("Add", y, b.vector(1))
    y = b.op("Add", y, b.vector(1, 1, b.h, b.w))
    y = b.op("Where", b.const(b.rng.random((b.c, 1, 1)) < 0.5, bool), y, b.vector(b.w))
    b.output(b.same(b.op("Max", y, b.vector(b.h, b.w, low=-1), b.vector(b.c, 1, 1, low=-1))))


def broadcast_inputs(b: Builder) -> None:
    """Other operands that are inputs: of rank 1, 2, 3; and one of higher rank, 5."""
    y = b.same(b.x())
    y = b.op("Add", y, b.x("w", "row"))
    y = b.op("Mul", y, b.op("Tanh", b.x("hw", "plane")))
    y = b.same(b.op("Sub", y, b.x("chw", "volume")))
    b.output(y, b.op("Mul", y, b.input("stack", [3, 1, 1, b.h, 1])))


def embedding(b: Builder) -> None:
    """A vector (n, c) joins an image: Unsqueeze twice and Add; Gemm before it."""
    z = b.op("Gemm", b.input("time", [b.n, 6], "n."), b.weight(6, b.c), b.vector(b.c))
    z = b.squeeze("Unsqueeze", b.squeeze("Unsqueeze", z, [2]), [3])
    b.output(b.same(b.op("Add", b.same(b.x()), z)))


def softmax(b: Builder) -> None:
    """Softmax and its kin; before opset 13 they flatten around their axis."""
    y = b.same(b.x())
    out = [b.op("Softmax", y, axis=axis) for axis in (1, 2, 3, -1, 0)]
    out.append(b.op("LogSoftmax", b.same(y), axis=1))
    out.append(b.op("Softmax", y))
    b.output(*(b.op("Mul", z, b.floats(4)) for z in out))
    b.output(b.conv(b.op("Hardmax", y, axis=1), b.c, 2))


def softmax_class(b: Builder) -> None:
    """Softmax over [n, c, 1, 1] after a global pool, as classifiers of 2016 end."""
    b.output(b.op("Softmax", b.op("GlobalAveragePool", b.same(b.x())), axis=1))


def negative_axes(b: Builder) -> None:
    """An axis counted from the end, in every operator that takes one."""
    y = b.same(b.x())
    y = b.op("Concat", y, b.op("Neg", y), axis=-3)
    left, right = b.ops("Split", y, b.const([b.c + 1, b.c - 1]), outputs=2, axis=-3)
    y = b.op("Concat", left, right, axis=-3)
    y = b.op("Gather", y, b.const(b.rng.permutation(2 * b.c)), axis=-3)
    y = b.op("Mul", y, b.op("Softmax", y, axis=-3))
    y = b.op("Sub", y, b.reduce("ReduceMean", y, [-2, -1]))
    y = b.op("CumSum", y, b.const(-2))
    y = b.op("Slice", y, b.const([1]), b.const([-1]), b.const([-2]))
    z = b.squeeze("Squeeze", b.squeeze("Unsqueeze", y, [-2]), [-2])
    b.output(b.conv(z, 2 * b.c, b.c))
    b.output(b.op("ArgMax", z, axis=-3, keepdims=0), dtype=TensorProto.INT64)


def reductions(b: Builder) -> None:
    """Every reduction over c, over (h, w), over all; with and without the reduced axes."""
    y = b.same(b.x())
    out = [
        b.op("Mul", y, b.reduce("ReduceMean", y, [2, 3])),
        b.op("Add", y, b.reduce("ReduceMax", y, [1])),
        b.reduce("ReduceL2", y, [2, 3], 0),
        b.reduce("ReduceSum", y, [1], 0),
        b.reduce("ReduceMin", y, [-1], 0),
        b.reduce("ReduceMean", y, [0, 2], 0),
        b.reduce("ReduceLogSumExp", y, [-3, -1], 0),
        b.reduce("ReduceProd", b.op("Cos", y), [2]),
        b.op("Mul", b.op("ReduceSumSquare", y, keepdims=0), b.floats(0.01)),
    ]
    if b.n == b.c == b.h == b.w and not b.dynamic:  # axes slide to the right
        out.append(b.op("Sub", y, b.reduce("ReduceMean", y, [3], 0)))
    b.output(*(b.op("Neg", z) for z in out))


def channel_gate(b: Builder) -> None:
    """CBAM: mean and maximum over channels, concatenated, a convolution, a gate."""
    y = b.same(b.x())
    both = [b.reduce("ReduceMean", y, [1]), b.reduce("ReduceMax", y, [1])]
    gate = b.op("Sigmoid", b.conv(b.op("Concat", *both, axis=1), 2, 1, 7))
    b.output(b.same(b.op("Mul", y, gate)))


def arg_top(b: Builder) -> None:
    """ArgMax over classes, TopK over c and over w, CumSum in its forms."""
    y = b.same(b.x())
    best = b.op("ArgMax", y, axis=1, keepdims=0)
    least = b.op("ArgMin", y, axis=2)
    values, where = b.ops("TopK", y, b.const([3]), outputs=2, axis=1)
    wide, _ = b.ops("TopK", y, b.const([2]), outputs=2, axis=-1, largest=0)
    total = b.op("CumSum", y, b.const(1), reverse=1, exclusive=1)
    b.output(b.conv(values, 3, 4), wide, b.same(total))
    b.output(best, least, where, dtype=TensorProto.INT64)


def slices(b: Builder) -> None:
    """Negative steps, ends beyond the size, axes missing or out of order."""
    y = b.same(b.x())
    if b.opset < 10:
        z = b.op("Slice", y, axes=[3, 1], starts=[1, 0], ends=[-1, b.c - 1])
        z = b.op("Slice", z, starts=[0, 1], ends=[1, 9999])
        b.output(b.conv(z, b.c - 2, 3))
        return
    flip = (b.const([-1]), b.const([-(2**31)]), b.const([3]), b.const([-1]))
    y1 = b.op("Slice", y, *flip)
    y2 = b.op(
        "Slice",
        y,
        b.const([-1, 0, -2]),
        b.const([-9999, 9999, 1]),
        b.const([1, 3, -2]),
        b.const([-2, 3, -1]),
    )
    y3 = b.op("Slice", y, b.const([0, 1, 2]), b.const([1, b.c, 5]))
    b.output(b.same(y1), b.conv(y2, (b.c + 1) // 2, 2), b.conv(y3, b.c - 1, 2))


def split(b: Builder) -> None:
    """Split: sizes as attribute, as input, by count (18)."""
    y = b.same(b.x())
    sizes = [b.c - 3, 1, 2]
    if b.opset < 13:
        parts = b.ops("Split", y, outputs=3, axis=1, split=sizes)
    else:
        parts = b.ops("Split", y, b.const(sizes), outputs=3, axis=1)
    y = b.op("Concat", *parts[::-1], axis=1)
    if b.opset >= 18:
        more = {"axis": 3, "num_outputs": 2}
    else:
        y = b.op("Concat", y, y, axis=3)
        more = {"axis": 3}
    left, right = b.ops("Split", y, outputs=2, **more)
    b.output(b.same(left), b.same(right))


def gathers(b: Builder) -> None:
    """Gather with a scalar, a vector and a matrix of indices; GatherElements; GatherND."""
    y = b.same(b.x())
    matrix = b.op("Gather", y, b.const([[0, 1, 2], [2, 1, 0]]), axis=1)
    row = b.op("Gather", y, b.const(2), axis=2)
    order = b.rng.integers(0, b.c, (b.n, 4, b.h, b.w))
    elements = b.op("GatherElements", y, b.const(order), axis=1)
    points = b.op("GatherND", y, b.const([[1, 0], [0, 2], [1, 1]]))
    b.output(b.conv(elements, 4, 3), b.op("Relu", matrix), b.op("Relu", row), points)
    b.output(b.same(b.op("Gather", y, b.const(np.arange(b.c)[::-1]), axis=1)))


def scatter(b: Builder) -> None:
    """ScatterElements over channels and ScatterND over (n, c)."""
    y = b.same(b.x())
    order = np.broadcast_to(b.rng.permutation(b.c)[None, :3, None, None], (b.n, 3, b.h, b.w))
    y = b.op("ScatterElements", y, b.const(order), b.vector(b.n, 3, b.h, b.w), axis=1)
    y = b.op("ScatterND", b.same(y), b.const([[1, 0], [0, 2]]), b.vector(2, b.h, b.w))
    b.output(b.same(y))


def expand_tile(b: Builder) -> None:
    """Expand to a higher rank and of unit axes; Tile with four different repeats."""
    y = b.same(b.x())
    z = b.op("Expand", b.op("GlobalMaxPool", y), b.const([b.n, b.c, b.h, b.w]))
    y = b.op("Tile", b.op("Add", y, z), b.const([1, 2, 3, 1]))
    y = b.conv(y, 2 * b.c, b.c)
    b.output(y, b.op("Expand", y, b.const([2, 1, 1, 1, 1])))


def crop_centre(b: Builder) -> None:
    """CenterCropPad with axes and without (opset 18)."""
    y = b.op("CenterCropPad", b.same(b.x()), b.const([b.h + 2, b.w - 3]), axes=[2, 3])
    y = b.op("CenterCropPad", y, b.const([b.n, b.c, b.h, b.w]))
    b.output(b.same(y))


def compress_one_hot(b: Builder) -> None:
    """Compress along an axis and without one; OneHot of an ArgMax becomes channels."""
    y = b.same(b.x())
    keep = b.const([True, False, True, True], bool)
    z = b.conv(b.op("Compress", y, keep, axis=1), 3, b.c)
    best = b.op("ArgMax", z, axis=1, keepdims=0)
    hot = b.op("OneHot", best, b.const([b.c]), b.floats([0, 1]), axis=1)
    b.output(b.same(hot), b.op("Compress", y, keep))


def non_zero(b: Builder) -> None:
    """NonZero enumerates in the source's order."""
    y = b.same(b.x())
    b.output(b.op("NonZero", b.op("Relu", y)), dtype=TensorProto.INT64)
    b.output(b.same(y))


def sequence_after_conv(b: Builder) -> None:
    """LSTM and GRU after convolutions: the columns of the image are the time steps."""
    y = b.same(b.x())
    y = b.reduce("ReduceMean", y, [2], 0)
    y = b.transpose(y, 2, 0, 1)
    y, *_ = b.ops(
        "LSTM",
        y,
        b.floats(b.rng.standard_normal((2, 16, b.c)) * 0.3),
        b.floats(b.rng.standard_normal((2, 16, 4)) * 0.3),
        b.floats(b.rng.standard_normal((2, 32)) * 0.3),
        outputs=3,
        hidden_size=4,
        direction="bidirectional",
    )
    y = b.reshape(b.transpose(y, 0, 2, 1, 3), 0, 0, -1)
    y, *_ = b.ops(
        "GRU",
        y,
        b.floats(b.rng.standard_normal((1, 15, 8)) * 0.4),
        b.floats(b.rng.standard_normal((1, 15, 5)) * 0.4),
        outputs=2,
        hidden_size=5,
    )
    y = b.squeeze("Squeeze", y, [1])
    b.output(b.op("MatMul", y, b.weight(5, 7)))


def sequence_rows(b: Builder) -> None:
    """Each pixel row a sequence, its results back into an image for a convolution."""
    y = b.reshape(b.transpose(b.same(b.x()), 3, 0, 2, 1), b.w, b.n * b.h, b.c)
    w, r = (b.floats(b.rng.standard_normal((1, 4 * b.c, b.c)) * 0.3) for _ in range(2))
    y, *_ = b.ops("LSTM", y, w, r, outputs=3, hidden_size=b.c)
    y = b.reshape(b.squeeze("Squeeze", y, [1]), b.w, b.n, b.h, b.c)
    b.output(b.same(b.transpose(y, 1, 3, 2, 0)))


def fan_out(b: Builder) -> None:
    """One value, many readers: two convolutions, a barrier, an output, a diamond."""
    y = b.op("Relu", b.same(b.x()))
    left, right = b.same(y), b.op("MatMul", y, b.weight(b.w, b.w))
    z = b.op("Add", b.op("Sigmoid", left), b.op("Tanh", right))
    b.output(b.same(b.op("Mul", z, y)), y, b.reshape(y, b.n, -1), b.op("Exp", b.op("Neg", y)))


def passed_through(b: Builder) -> None:
    """An input that is an output, an output that others read, an unused result."""
    x = b.x()
    y = b.same(x)
    b.op("Exp", y)
    b.output(x, y, b.same(y))


def casts(b: Builder) -> None:
    """Integers, booleans, half and double precision on the way."""
    y = b.op("Cast", b.x("nchw", "x", TensorProto.UINT8), to=TensorProto.FLOAT)
    y = b.same(b.op("Div", y, b.floats(255)))
    half = b.op("Cast", b.op("Cast", y, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)
    mask = b.op("Cast", b.op("Greater", y, b.vector(b.c, 1, 1)), to=TensorProto.FLOAT)
    double = b.op("Cast", b.op("Mul", half, mask), to=TensorProto.DOUBLE)
    double = b.op("Add", double, b.const(b.rng.random((b.c, 1, 1)), np.float64))
    b.output(b.same(b.op("Cast", double, to=TensorProto.FLOAT)))
    b.output(b.op("And", b.op("Less", y, half), b.op("Not", b.op("Equal", y, half))), dtype=9)


def clip_dropout(b: Builder) -> None:
    """Clip and Dropout: attributes once, inputs now; the mask follows."""
    y = b.same(b.x())
    y = b.op("Clip", y, min=-0.5, max=0.7) if b.opset < 11 else b.op("Clip", y, b.floats(-0.5), b.floats(0.7))
    if b.opset < 10:  # a mask of floats, all zero in onnxruntime
        b.output(b.op("Selu", b.same(b.op("Dropout", y, ratio=0.3))))
        return
    y, mask = b.ops("Dropout", y, outputs=2)
    b.output(b.op("Selu", b.same(y)))
    b.output(mask, dtype=TensorProto.BOOL)


def variadic(b: Builder) -> None:
    """Sum, Mean, Max and Min of several operands, of different rank, one of them twice."""
    x = b.x()
    a, c, d = (b.same(x) for _ in range(3))
    y = b.op("Sum", a, c, b.vector(b.c, 1, 1), d)
    z = b.op("Mean", a, b.op("Max", c, d), b.vector(b.w))
    b.output(b.same(b.op("Min", y, z, y)))
    if b.opset >= 10:
        b.output(b.op("Mod", y, b.floats(0.7), fmod=1))


CASES: dict[str, Case] = {
    "prelu": Case(prelu, (9, 16), dynamic=("", "n")),
    "constants": Case(constants, (11, 17), ALL, ("", "n")),
    "broadcast_inputs": Case(broadcast_inputs, dynamic=("", "n")),
    "embedding": Case(embedding, (11, 17), dynamic=DYNAMIC),
    "softmax": Case(softmax, (11, 13), dynamic=DYNAMIC),
    "softmax_class": Case(softmax_class, (9, 13), dynamic=DYNAMIC),
    "negative_axes": Case(negative_axes, (13, 18), dynamic=DYNAMIC),
    "reductions": Case(reductions, (11, 13, 18), dynamic=DYNAMIC),
    "channel_gate": Case(channel_gate, (11, 18), dynamic=DYNAMIC),
    "arg_top": Case(arg_top, (11, 17), dynamic=DYNAMIC),
    "slices": Case(slices, (9, 10, 13), dynamic=DYNAMIC),
    "split": Case(split, (11, 13, 18)),
    "gathers": Case(gathers, (13,)),
    "scatter": Case(scatter, (13, 18)),
    "expand_tile": Case(expand_tile),
    "crop_centre": Case(crop_centre, (18,)),
    "compress_one_hot": Case(compress_one_hot),
    "non_zero": Case(non_zero, dynamic=("", "nhw")),
    "sequence_after_conv": Case(sequence_after_conv, (11, 17), dynamic=DYNAMIC),
    "sequence_rows": Case(sequence_rows),
    "if_conv": Case(if_conv, (11, 17), dynamic=DYNAMIC),
    "if_mixed": Case(if_mixed),
    "loop_conv": Case(loop_conv, (11, 17)),
    "scan_conv": Case(scan_conv, (11, 17)),
    "custom_domain": Case(custom_domain),
    "custom_bias": Case(custom_bias),
    "local_function": Case(local_function, dynamic=DYNAMIC),
    "fan_out": Case(fan_out),
    "passed_through": Case(passed_through, dynamic=DYNAMIC),
    "casts": Case(casts),
    "clip_dropout": Case(clip_dropout, (7, 9, 13)),
    "variadic": Case(variadic, (8, 13)),
}
