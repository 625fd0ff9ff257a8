"""Graphs around normalisations."""

from __future__ import annotations

from .builder import Builder


def norms(b: Builder) -> None:
    """Batch, instance, local response, L1, L2 and mean-variance normalisation in a chain."""
    y = b.same(b.x())
    parameters = [b.vector(b.c) for _ in range(4)]
    y = b.op("BatchNormalization", y, *parameters, epsilon=1e-3)
    y = b.op("InstanceNormalization", b.op("Relu", y), b.vector(b.c), b.vector(b.c))
    y = b.op("LRN", y, size=3, alpha=0.5, beta=0.75, bias=1.5)
    y = b.op("LpNormalization", b.same(y), axis=1, p=2)
    y = b.op("MeanVarianceNormalization", b.same(y), axes=[0, 2, 3])
    b.output(b.op("LpNormalization", y, axis=-1, p=1))


def batch_norm_scaled(b: Builder) -> None:
    """BatchNormalization with a Mul and an Add of per-channel constants behind it."""
    y = b.same(b.x())
    y = b.op("BatchNormalization", y, *(b.vector(b.c) for _ in range(4)))
    scale = b.squeeze("Unsqueeze", b.vector(b.c), [1, 2])
    y = b.op("Add", b.op("Mul", y, scale), b.vector(1, b.c, 1, 1))
    b.output(b.same(b.op("Relu", y)))


def group_norm_torch(b: Builder) -> None:
    """GroupNorm as torch writes it: Reshape, InstanceNormalization, Reshape, Mul, Add."""
    y = b.same(b.x())
    z = b.reshape(y, 0, b.g, -1)
    z = b.op("InstanceNormalization", z, b.floats([1] * b.g), b.floats([0] * b.g))
    z = b.op("Reshape", z, b.op("Shape", y))
    z = b.op("Add", b.op("Mul", z, b.vector(b.c, 1, 1)), b.vector(b.c, 1, 1))
    b.output(b.same(b.op("Mul", z, b.op("Sigmoid", z))))


def group_norm_static(b: Builder) -> None:
    """The same with fixed targets, and scales that are not 1 inside the instance norm."""
    z = b.reshape(b.same(b.x()), b.n, b.g, b.k * b.h * b.w)
    z = b.op("InstanceNormalization", z, b.vector(b.g), b.vector(b.g))
    z = b.reshape(z, b.n, b.c, b.h, b.w)
    z = b.op("Add", b.op("Mul", z, b.vector(1, b.c, 1, 1)), b.vector(1, b.c, 1, 1))
    b.output(b.same(z))


def group_norm(b: Builder) -> None:
    """The operator: scale and bias per group in opset 18, per channel from 21."""
    size = b.g if b.opset < 21 else b.c
    y = b.same(b.x())
    y = b.op("GroupNormalization", y, b.vector(size), b.vector(size), num_groups=b.g)
    b.output(b.same(y))


def layer_norm_last(b: Builder) -> None:
    """ConvNeXt: Transpose, LayerNormalization and matrices over the last axis, Transpose."""
    x = b.same(b.x(), group=b.c, kernel=7)
    y = b.transpose(x, 0, 2, 3, 1)
    if b.opset >= 17:
        y = b.op("LayerNormalization", y, b.vector(b.c), b.vector(b.c), axis=-1)
    else:
        y = b.op("Sub", y, b.reduce("ReduceMean", y, [-1]))
        square = b.op("Pow", y, b.floats(2))
        spread = b.op("Add", b.reduce("ReduceMean", square, [-1]), b.floats(1e-6))
        y = b.op("Div", y, b.op("Sqrt", spread))
        y = b.op("Add", b.op("Mul", y, b.vector(b.c)), b.vector(b.c))
    y = b.op("Add", b.op("MatMul", y, b.weight(b.c, 2 * b.c)), b.vector(2 * b.c))
    y = b.op("MatMul", b.op("Tanh", y), b.weight(2 * b.c, b.c))
    y = b.transpose(b.op("Mul", y, b.vector(b.c)), 0, 3, 1, 2)
    b.output(b.op("Add", x, y))


def layer_norm_axes(b: Builder) -> None:
    """LayerNormalization over (c, h, w), over (h, w) and over w of an NCHW tensor."""
    y = b.same(b.x())
    for axis, shape in ((1, (b.c, b.h, b.w)), (2, (b.h, b.w)), (-1, (b.w,))):
        y = b.op("LayerNormalization", y, b.vector(*shape), b.vector(*shape), axis=axis)
    b.output(b.same(y))


def grn(b: Builder) -> None:
    """ConvNeXt V2's global response normalisation, between two matrices over channels."""
    x = b.same(b.x())
    y = b.op("MatMul", b.transpose(x, 0, 2, 3, 1), b.weight(b.c, 12))
    norm = b.reduce("ReduceL2", y, [1, 2])
    ratio = b.op("Div", norm, b.op("Add", b.reduce("ReduceMean", norm, [-1]), b.floats(1e-6)))
    z = b.op("Mul", b.op("Mul", y, ratio), b.vector(1, 1, 1, 12))
    y = b.op("Add", b.op("Add", z, b.vector(1, 1, 1, 12)), y)
    y = b.op("MatMul", y, b.weight(12, b.c))
    b.output(b.op("Add", x, b.transpose(y, 0, 3, 1, 2)))
