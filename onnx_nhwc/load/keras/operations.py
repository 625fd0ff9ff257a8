"""Operations of TensorFlow that tf2onnx does not know, or gets wrong, in terms of those of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_nhwc.passes.errors import ConversionError

__all__ = ["OPERATIONS"]


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """erfc(x) = 1 - erf(x), which Keras's gelu is made of."""
    dtype = ctx.get_dtype(node.output[0])
    one = ctx.make_const(f"{name}/one", np.ones((), tensor_dtype_to_np_dtype(dtype))).output[0]
    x, outputs = node.input[0], list(node.output)
    shapes, dtypes = [ctx.get_shape(outputs[0])], [dtype]
    ctx.remove_node(node.name)
    erf = ctx.make_node("Erf", [x], shapes=shapes, dtypes=dtypes, name=f"{name}/Erf")
    ctx.make_node("Sub", [one, erf.output[0]], outputs=outputs, shapes=shapes, dtypes=dtypes, name=name)


def _bias_add(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Along axis 1, tf2onnx adds constants only: it puts a bias that is computed on the last axis."""
    x, bias = node.input
    if not node.is_nhwc():
        rank = ctx.get_rank(x)
        if rank is None:
            raise ConversionError("the rank of what a bias is added to is not known", node=f"'{name}'")
        shape = ctx.make_const(f"{name}/shape", np.array([-1] + [1] * (rank - 2), np.int64)).output[0]
        wide = ctx.make_node("Reshape", [bias, shape], name=f"{name}/Reshape")
        ctx.replace_input(node, bias, wide.output[0], 1)
    node.type = "Add"


def _reverse(ctx: Any, node: Any, name: str, args: Any) -> None:
    """A Slice from behind; tf2onnx reverses one axis at a time, as a sequence."""
    axes = np.asarray(node.inputs[1].get_tensor_value(as_list=False)).reshape(-1)
    minus = np.full(axes.shape, -1, np.int64)
    far = np.full(axes.shape, np.iinfo(np.int64).min + 1, np.int64)
    numbers = {"starts": minus, "ends": far, "axes": axes.astype(np.int64), "steps": minus}
    bounds = [ctx.make_const(f"{name}/{part}", value).output[0] for part, value in numbers.items()]
    _replace(ctx, node, "Slice", [node.input[0], *bounds], name)


def _einsum(ctx: Any, node: Any, name: str, args: Any) -> None:
    """ONNX has it as well; tf2onnx takes it apart."""
    _replace(ctx, node, "Einsum", list(node.input), name, equation=node.get_attr_str("equation"))


def _resize(**attributes: Any) -> Any:
    """Resize to sizes; tf2onnx states scales, and a pixel may be lost where they are rounded."""

    def handler(ctx: Any, node: Any, name: str, args: Any) -> None:
        if node.get_attr_value("align_corners") or not node.get_attr_value("half_pixel_centers"):
            raise ConversionError("it is resized as TensorFlow 1 did", node=f"'{name}'")
        x, sizes = node.input
        kinds = {"dtypes": [TensorProto.INT64]}
        shape = ctx.make_node("Shape", [x], name=f"{name}/shape", **kinds).output[0]
        picks = ctx.make_const(f"{name}/axes", np.array([0, 3], np.int64)).output[0]
        kept = ctx.make_node("Gather", [shape, picks], name=f"{name}/kept", **kinds).output[0]
        wide = ctx.make_node("Cast", [sizes], attr={"to": TensorProto.INT64}, name=f"{name}/sizes", **kinds)
        inputs = [kept, wide.output[0]]
        target = ctx.make_node("Concat", inputs, attr={"axis": 0}, name=f"{name}/target", **kinds).output[0]
        float32 = {"dtypes": [TensorProto.FLOAT]}
        perm = {"perm": [0, 3, 1, 2]}
        dtypes = {"dtypes": [ctx.get_dtype(x)]}
        first = ctx.make_node("Transpose", [x], attr=perm, name=f"{name}/first", **dtypes).output[0]
        inputs = [first, "", "", target]
        y = ctx.make_node("Resize", inputs, attr=attributes, name=f"{name}/Resize", **dtypes).output[0]
        if ctx.get_dtype(x) != ctx.get_dtype(node.output[0]):
            to = {"to": ctx.get_dtype(node.output[0])}
            y = ctx.make_node("Cast", [y], attr=to, name=f"{name}/float", **float32).output[0]
        _replace(ctx, node, "Transpose", [y], name, perm=[0, 2, 3, 1])

    return handler


def _replace(ctx: Any, node: Any, op_type: str, inputs: list[str], name: str, **attributes: Any) -> None:
    outputs = list(node.output)
    shapes, dtypes = [ctx.get_shape(outputs[0])], [ctx.get_dtype(outputs[0])]
    ctx.remove_node(node.name)
    ctx.make_node(op_type, inputs, outputs=outputs, shapes=shapes, dtypes=dtypes, name=name, attr=attributes)


_NEAREST = {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
_CUBIC = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}
_HALF = "half_pixel"

OPERATIONS: dict[str, tuple[Any, list[Any]]] = {
    "Erfc": (_erfc, []),
    "BiasAdd": (_bias_add, []),
    "Einsum": (_einsum, []),
    "ReverseV2": (_reverse, []),
    "ResizeNearestNeighbor": (_resize(coordinate_transformation_mode=_HALF, **_NEAREST), []),
    "ResizeBilinear": (_resize(coordinate_transformation_mode=_HALF, mode="linear"), []),
    "ResizeBicubic": (_resize(coordinate_transformation_mode=_HALF, **_CUBIC), []),
}
"""What tf2onnx is to do with them."""
