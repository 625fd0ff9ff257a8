"""Sizes as formulas of the inputs' sizes: what a rule tells of a result is what onnxruntime makes of it."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
import sympy

from onnx_nhwc import files
from onnx_nhwc.passes.algebra.layout import Dim
from onnx_nhwc.passes.algebra.symbols import expression, least, nonnegative, read, written
from onnx_nhwc.passes.shapes.infer import infer
from tests.support.running import Session, converted, differences, layouts, stored, transposes

H, W = (sympy.Symbol(name, integer=True, positive=True) for name in "hw")

SHAPE = "s = Shape(x)  h = Gather(s, two)  w = Gather(s, three)"
GRAPHS = {
    "concat": "y = Concat <axis = 2> (x, x)",
    "tile": f"{SHAPE}  r = Concat <axis = 0> (one, one, w, two)  y = Tile(x, r)",
    "range": f"{SHAPE}  hw = Mul(h, w)  n = Squeeze(hw)  y = Range(null, n, unit)",
    "slice_but_the_first": "y = Slice(x, one, far, two)",
    "slice_the_last": "y = Slice(x, minus, far, three)",
    "slice_to_the_size": f"{SHAPE}  y = Slice(x, one, h, two)",
    "slice_of_concat": f"{SHAPE}  c = Concat <axis = 2> (x, x)  y = Slice(c, h, far, two)",
    "slice_of_a_part": f"{SHAPE}  c = Concat <axis = 2> (x, x)  e = Add(h, one)  y = Slice(c, one, e, two)",
    "split": f"""{SHAPE}  c = Concat <axis = 2> (x, x, x)  d = Add(h, h)  p = Concat <axis = 0> (h, d)
        z, y = Split <axis = 2> (c, p)""",
    "pad": f"""{SHAPE}  a = Div(h, two)  p = Concat <axis = 0> (zero, zero, a, one, zero, zero, h, w)
        y = Pad(x, p)""",
    "pad_as_torch_states_it": f"""{SHAPE}  a = Div(w, two)  p = Concat <axis = 0> (a, one, two, h, zeros)
        q = Reshape(p, pairs)  r = Slice(q, minus, begin, zero, minus)
        t = Transpose <perm = [1, 0]> (r)  u = Reshape(t, minus)  y = Pad(x, u)""",
    "up_and_down": """p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        y = ConvTranspose <strides = [2, 2]> (p, k)""",
    "transposed": "y = ConvTranspose <strides = [3, 2], pads = [1, 0, 1, 2], output_padding = [1, 0]> (x, k)",
    "transposed_dilated": "y = ConvTranspose <strides = [2, 1], dilations = [2, 3], group = 1> (x, k)",
    "resize": 'y = Resize <mode = "nearest"> (x, , scales)',
}
CONSTANTS = """int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3},
    int64[1] minus = {-1}, int64[1] far = {9223372036854775807}, int64[1] begin = {-9223372036854775807},
    int64 null = {0}, int64 unit = {1}, int64[2] pairs = {4, 2}, int64[4] zeros = {0, 0, 0, 0},
    float[4] scales = {1, 1, 3, 2}"""


def source(body: str) -> onnx.ModelProto:
    result = "int64[n] y" if "Range" in body else "float[a,b,c,d] y"
    model = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 17]>
        graph (float[2,3,h,w] x) => ({result}) <{CONSTANTS}> {{ {body} }}""")
    kernel = np.random.default_rng(0).standard_normal((3, 5, 3, 2)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernel, "k"))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize("name", GRAPHS)
def test_the_formula_gives_the_size(name: str) -> None:
    model = source(GRAPHS[name])
    work = files.from_proto(model)
    (output,) = work.graph.outputs
    shape = infer(work).shape(output)
    assert shape is not None
    formulas = [expression(dim) for dim in shape]
    assert {symbol for formula in formulas for symbol in formula.free_symbols} <= {H, W}
    session = Session(model)
    for h, w in ((6, 9), (7, 4), (13, 5)):
        (y,) = session.run({"x": np.zeros((2, 3, h, w), np.float32)})
        assert tuple(int(formula.subs({H: h, W: w})) for formula in formulas) == y.shape


@pytest.mark.parametrize(
    "body",
    [
        "y = Slice(x, two, far, two)",  # an axis of size 1 has nothing there
        f"{SHAPE}  y = Slice(x, zero, w, two)",
        # a division that rounds towards 0, of what may be negative
        f"""{SHAPE}  d = Sub(h, w)  a = Div(d, two)
        p = Concat <axis = 0> (zero, zero, a, a, zero, zero, one, one)  y = Pad(x, p)""",
    ],
)
def test_no_formula_is_made_up(body: str) -> None:
    work = files.from_proto(source(body))
    shape = infer(work).shape(work.graph.outputs[0])
    assert shape is not None
    assert not {symbol for dim in shape[2:3] for symbol in expression(dim).free_symbols} <= {H, W}


def test_an_unknown_rank_tells_nothing() -> None:
    model = source("r = Shape(x)  z = Tile(x, r)  y = Concat <axis = 0> (z, z)")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    work = files.from_proto(model)
    assert infer(work).shape(work.graph.outputs[0]) is None


def test_a_list_with_an_entry_per_axis_tells_the_rank() -> None:
    model = source("z = Tile(x, one)  y = Concat <axis = 0> (z, z)")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    work = files.from_proto(model)
    assert infer(work).shape(work.graph.outputs[0]) == (Dim(2, ("x.0",)),)


def test_lower_bounds() -> None:
    floor = sympy.floor
    assert nonnegative(H - 1)
    assert not nonnegative(H - 2)
    assert not nonnegative(H - W)
    assert nonnegative(H - W - 1, size=H - W)
    assert nonnegative(floor(H / 2) - 2 * floor(floor(H / 2) / 2))
    assert least(floor((H - 3) / 4) + 1) == 0
    assert least((floor(H / 2) + 1) * (floor(W / 2) + 2)) == 2
    assert least(W - floor(H / W)) is None


@pytest.mark.parametrize("dim", [Dim(2, ("h",)), Dim(3, ("h", "h", "w")), Dim(2, ("floor(h/2) + 1",))])
def test_a_written_size_is_read_back(dim: Dim) -> None:
    name = written(dim)
    assert name is not None
    assert read(name) == dim
    assert written(Dim(2, ("a.0",))) is None


def test_a_constant_is_divided_by_sizes_that_it_has() -> None:
    """What a Gemm contracts has one size by its weights and, by symbols, another: these stay as they are."""
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 17]>
        graph (float[n,c,h,w] x) => (float[n,k] y) {
            p = AveragePool <kernel_shape = [3, 3], strides = [3, 3], ceil_mode = 1> (x)
            f = Flatten(p)  y = Gemm(f, weight)
        }""")
    rng = np.random.default_rng(2)
    weight, image = (rng.standard_normal(shape).astype(np.float32) for shape in ((12, 5), (2, 3, 5, 4)))
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    result, _ = converted(model)
    assert transposes(result) == [(0, 3, 1, 2)]
    perms = layouts(result)
    feeds = {"x": image}
    assert not differences(["y"], Session(model).run(feeds), Session(result).run(stored(feeds, perms)), perms)
