"""Bounds, amounts and targets that are known at run time only, as Keras models of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from tests.support.keras_models import differences, exported, foreign, keras, run
from tests.support.running import Session

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = "s = Shape(x)  h = Gather(s, two)  w = Gather(s, three)"
MORE = "m = Add(n, one)"
AMOUNTS = "p = Concat <axis = 0> (zero, zero, half, minus, zero, zero, n, one)"

GRAPHS = {
    # from the sizes of the input
    "pad_to_twice": f"""{SHAPE}  p = Concat <axis = 0> (zero, zero, zero, one, zero, zero, h, w)
        y = Pad(x, p)""",
    "slice_the_middle": f"{SHAPE}  q = Div(h, two)  y = Slice(x, q, h, two)",
    "every_other_backwards": "y = Slice(x, minus, begin, three, back)",
    "split_in_halves": f"""{SHAPE}  q = Div(w, two)  r = Sub(w, q)  p = Concat <axis = 0> (q, r)
        a, b = Split <axis = 3> (x, p)  y = Concat <axis = 3> (b, a)""",
    "tile_by_size": f"{SHAPE}  r = Concat <axis = 0> (one, one, two, h)  y = Tile(x, r)",
    "softmax_of_everything": "y = Softmax <axis = 1> (x)",
    "hardmax": "y = Hardmax <axis = 2> (x)",
    "resize_by_halves": """y = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
        (x, nothing, scales)""",
    # from numbers that the model is given
    "pad_by_numbers": f"{AMOUNTS}  y = Pad(x, p)",
    "pad_by_numbers_edge": f'{AMOUNTS}  y = Pad <mode = "edge"> (x, p)',
    "pad_by_numbers_reflect": f'{AMOUNTS}  y = Pad <mode = "reflect"> (x, p)',
    "slice_by_numbers": "y = Slice(x, half, n, two)",
    "slice_from_behind": "m = Neg(n)  y = Slice(x, m, minus, two)",
    "reshape_by_numbers": f"""{MORE}  r = Concat <axis = 0> (one, one, one, m)  t = Tile(x, r)
        p = Concat <axis = 0> (zero, minus, one, m)  y = Reshape(t, p)""",
    "expand_by_numbers": f"""{MORE}  c = Slice(x, zero, one, two)  p = Concat <axis = 0> (one, m, one)
        y = Expand(c, p)""",
    "range": """a = Squeeze(half)  b = Squeeze(n)  r = Range(b, a, by)  f = Cast <to = 1> (r)
        s = ReduceSum <keepdims = 0> (f)  y = Add(x, s)""",
    "constant": f"""{MORE}  p = Concat <axis = 0> (one, one, m)  c = ConstantOfShape(p)
        d = Slice(x, zero, one, three)  y = Add(c, d)""",
    "resize_to_numbers": f"""{MORE}  p = Concat <axis = 0> (two, three, m, two)
        y = Resize <mode = "linear"> (x, nothing, nothing, p)""",
    "slice_backwards": "m = Neg(half)  y = Slice(x, n, m, two, back)",
}
FLATTENING = {"softmax_of_everything", "hardmax"}
"""They run over several axes until opset 12."""
CONSTANTS = """int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3},
    int64[1] minus = {-1}, int64[1] back = {-2}, int64[1] begin = {-9223372036854775807},
    int64 by = {-2}, float[0] nothing = {}, float[4] scales = {1, 1, 1.5, 0.6}"""


def source(body: str, opset: int) -> onnx.ModelProto:
    return onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : {opset}]>
        graph (float[n,3,h,w] x, int64[1] n, int64[1] half) => (float[a,b,c,d] y)
        <{CONSTANTS}> {{ {body} }}""")


@pytest.mark.parametrize("name", GRAPHS)
def test_it_computes_the_same_of_any_size(name: str, tmp_path: Path) -> None:
    model = source(GRAPHS[name], 11 if name in FLATTENING else 13)
    result = exported(model, io="keep")
    assert foreign(result.model) == []
    result.model.save(tmp_path / "m.keras")
    loaded = type(result)(keras.saving.load_model(tmp_path / "m.keras"), result.summary, result.batch)
    session = Session(model)
    for h, w, n, half in ((6, 9, 4, 1), (7, 4, 5, 2), (13, 5, 3, 0), (5, 8, 0, 3)):
        x = np.random.default_rng(h).standard_normal((2, 3, h, w)).astype(np.float32)
        feeds = {"x": x, "n": np.array([n]), "half": np.array([half])}
        wanted = session.run(feeds)
        assert differences(loaded, session.names, wanted, run(loaded, feeds, session.names)) == []
