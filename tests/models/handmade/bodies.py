"""Graphs with bodies, functions and operators that nobody knows."""

from __future__ import annotations

from onnx import TensorProto, helper

from .builder import Builder


def if_conv(b: Builder) -> None:
    """Convolutions in both branches, on a captured value, with the result used behind."""
    y = b.op("Relu", b.same(b.x()))
    left, right = b.child(), b.child()
    one = left.body(left.same(left.op("Sigmoid", y)))
    two = right.body(right.op("Add", right.same(y, kernel=1), y))
    mean = b.op("ReduceMean", y, keepdims=0)
    test = b.op("Less", mean, b.floats(0.5))
    b.output(b.same(b.op("If", test, then_branch=one, else_branch=two)))


def if_mixed(b: Builder) -> None:
    """One branch is a convolution's, the other transposes or returns a captured constant."""
    y = b.same(b.x())
    left, right = b.child(), b.child()
    one = left.body(left.same(y))
    two = right.body(right.op("Identity", b.vector(b.n, b.c, b.h, b.w)))
    test = b.op("Greater", b.input("threshold", []), b.floats(0))
    z = b.op("If", test, then_branch=one, else_branch=two)
    b.output(b.op("Mul", y, z))


def loop_conv(b: Builder) -> None:
    """A Loop whose state is an image, with a convolution inside and a scan output."""
    y = b.same(b.x())
    body = b.child()
    for name, kind, shape in (
        ("step", TensorProto.INT64, []),
        ("go", TensorProto.BOOL, []),
        ("state", TensorProto.FLOAT, [b.n, b.c, b.h, b.w]),
    ):
        body.inputs.append(helper.make_tensor_value_info(name, kind, shape))
    state = body.op("Tanh", body.op("Add", body.same("state"), y))
    mean = body.op("ReduceMean", state, axes=[2, 3], keepdims=0)
    kinds = (TensorProto.BOOL, TensorProto.FLOAT, TensorProto.FLOAT)
    graph = body.body(body.op("Identity", "go"), state, mean, types=kinds)
    count, go = b.const(3), b.const(True, bool)
    z, means = b.ops("Loop", count, go, y, outputs=2, body=graph)
    b.output(b.same(z), means)


def scan_conv(b: Builder) -> None:
    """A Scan over frames (t n c h w) with an image as its state."""
    frames = b.input("frames", [3, b.n, b.c, b.h, b.w])
    body = b.child()
    for name in ("state", "frame"):
        shape = [b.n, b.c, b.h, b.w]
        body.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    state = body.op("Tanh", body.op("Add", body.same("state"), body.same("frame", kernel=1)))
    graph = body.body(state, body.op("Identity", state))
    z, all_ = b.ops("Scan", b.same(b.x()), frames, outputs=2, body=graph, num_scan_inputs=1)
    b.output(b.same(z), all_)


def custom_domain(b: Builder) -> None:
    """An operator of another domain between two convolutions: a barrier."""
    b.domains["com.microsoft"] = 1
    y = b.op("QuickGelu", b.same(b.x()), domain="com.microsoft", alpha=1.2)
    shape = [b.n, b.c, b.h, b.w]
    b.infos.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, shape))
    b.output(b.same(y))


def custom_bias(b: Builder) -> None:
    """BiasSoftmax-like: a custom operator that works on the last axis, so it must stay W's."""
    b.domains["com.microsoft"] = 1
    y = b.op("BiasGelu", b.same(b.x()), b.vector(b.w), domain="com.microsoft")
    shape = [b.n, b.c, b.h, b.w]
    b.infos.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, shape))
    b.output(b.same(y))


def local_function(b: Builder) -> None:
    """A function of the model's own, with a convolution and a Transpose in its body."""
    b.domains["custom"] = 1
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["b", "s"], ["c"]),
        helper.make_node("Transpose", ["c"], ["y"], perm=[0, 3, 1, 2]),
    ]
    opsets = [helper.make_opsetid("", b.opset)]
    b.functions.append(helper.make_function("custom", "ScaledConv", ["x", "w", "s"], ["y"], nodes, opsets))
    y = b.x()
    for _ in range(2):
        y = b.op("ScaledConv", y, b.weight(b.c, b.c, 3, 3), b.vector(b.c), domain="custom")
    b.output(y)
