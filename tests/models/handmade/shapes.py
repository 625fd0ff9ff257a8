"""Graphs that compute shapes, and use them."""

from __future__ import annotations

from .builder import Builder


def shape_chain(b: Builder) -> None:
    """Shape -> Gather -> Concat -> Reshape to n c (h w), Softmax over pixels, and back."""
    y = b.same(b.x())
    n, c, h, w = (b.size(y, axis) for axis in range(4))
    three = b.op("Concat", n, c, b.op("Mul", h, w), axis=0)
    z = b.op("Softmax", b.op("Reshape", y, three), axis=2 if b.opset < 13 else -1)
    four = b.op("Concat", n, c, h, w, axis=0)
    b.output(b.same(b.op("Mul", y, b.op("Reshape", z, four))))


def shape_scalar_chain(b: Builder) -> None:
    """The same with scalar indices and Unsqueeze, as TorchScript writes it; -1 for c."""
    y = b.same(b.x())
    sizes = [b.op("Gather", b.op("Shape", y), b.const(axis), axis=0) for axis in (0, 2, 3)]
    n, h, w = (b.squeeze("Unsqueeze", size, [0]) for size in sizes)
    z = b.op("Reshape", y, b.op("Concat", n, b.const([-1]), axis=0))
    four = b.op("Concat", n, b.const([-1]), h, w, axis=0)
    b.output(b.same(b.op("Reshape", b.op("Relu", z), four)))


def shape_slice(b: Builder) -> None:
    """Slices of a shape: its last two sizes for a Resize, its first two for a Reshape."""
    x = b.x()
    y = b.op("MaxPool", b.same(x), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    tail = b.op("Slice", b.op("Shape", x), b.const([2]), b.const([4]), b.const([0]))
    head = b.op("Slice", b.op("Shape", y), b.const([0]), b.const([2]), b.const([0]))
    y = b.op("Resize", y, "", "", b.op("Concat", head, tail, axis=0), mode="nearest")
    flat = b.op("Concat", head, b.const([-1]), axis=0)
    b.output(b.op("Add", y, x), b.op("Reshape", y, flat))


def shape_start_end(b: Builder) -> None:
    """Shape with start and end, negative too (opset 15)."""
    y = b.same(b.x())
    head, tail = b.op("Shape", y, end=-2), b.op("Shape", y, start=-2)
    z = b.op("Reshape", y, b.op("Concat", head, b.const([-1]), axis=0))
    z = b.op("ReduceMax", z, axes=[2], keepdims=1)
    ones = b.op("Expand", z, b.op("Concat", head, b.const([1]), axis=0))
    big = b.op("Concat", head, tail, axis=0)
    z = b.op("Expand", b.squeeze("Unsqueeze", ones, [3]), big)
    b.output(b.same(b.op("Sub", y, z)))


def shape_constant(b: Builder) -> None:
    """A shape makes a constant tensor: ConstantOfShape, Expand, Range, as masks are made."""
    y = b.same(b.x())
    zero = b.op("ConstantOfShape", b.op("Shape", y))
    scalars = [b.op("Gather", b.op("Shape", y), b.const(a), axis=0) for a in (2, 3)]
    ramps = [b.op("Range", b.const(0), size, b.const(1)) for size in scalars]
    rows, columns = (b.op("Cast", ramp, to=1) for ramp in ramps)
    grid = b.op("Add", b.squeeze("Unsqueeze", rows, [1]), columns)
    y = b.op("Add", b.op("Add", y, zero), b.op("Mul", grid, b.floats(0.1)))
    b.output(b.same(y))


def shape_output(b: Builder) -> None:
    """A shape is an output, and so is the element count."""
    y = b.same(b.x())
    y2, y3 = b.op("Shape", y), b.op("Size", y)
    b.output(b.op("Relu", y))
    b.output(y2, y3, dtype=7)


def two_unknown(b: Builder) -> None:
    """Two sizes unknown at once: n c h w -> 0 0 -1 -> n (h w) c, a matrix, LayerNorm."""
    y = b.transpose(b.reshape(b.same(b.x()), 0, 0, -1), 0, 2, 1)
    y = b.op("MatMul", y, b.weight(b.c, b.c))
    y = b.op("LayerNormalization", y, b.vector(b.c), b.vector(b.c), axis=-1)
    b.output(y)


def reshape_zero(b: Builder) -> None:
    """A 0 in a target copies the source's size on that axis; -1 takes the rest."""
    y = b.same(b.x())
    y = b.op("Relu", b.reshape(y, 0, 0, 0, 1, -1))
    y = b.reshape(y, 0, 0, -1, b.w)
    b.output(b.same(y))
