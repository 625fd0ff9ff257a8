"""Images whose sizes, and settings that are known at run time only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray

from tests.support.keras_models import once_saved

pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = {1: (12,), 2: (9, 11), 3: (6, 7, 8)}


def floats(*shape: int, seed: int = 7) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(graph: str, opset: int = 22, **constants: NDArray[Any]) -> onnx.ModelProto:
    """A model of which some inputs are initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> agraph {graph}')
    kept = [value for value in proto.graph.input if value.name not in constants]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in constants.items())
    return proto


def listed(*sizes: object) -> str:
    return ",".join(map(str, sizes))


def free(spatial: int, letter: str = "s") -> str:
    return listed(*(f"{letter}{i}" for i in range(spatial)))


WINDOWS = {  # kernel, stride, dilation, pads before and behind
    "plain": (3, 2, 1, 0, 0),
    "asymmetric": (3, 3, 1, 1, 2),
    "last window in the padding": (2, 2, 1, 0, 1),
    "gaps": (2, 3, 1, 1, 1),
    "dilated": (3, 2, 2, 2, 1),
}


@pytest.mark.parametrize("spatial", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
def test_pools_over_images_of_any_size(window: str, spatial: int, tmp_path: Path) -> None:
    kernel, stride, dilation, before, behind = WINDOWS[window]
    attributes = f"""kernel_shape = [{listed(*[kernel] * spatial)}],
        strides = [{listed(*[stride] * spatial)}], dilations = [{listed(*[dilation] * spatial)}],
        pads = [{listed(*[before] * spatial, *[behind] * spatial)}]"""
    names = "m", "a", "i", "l", "f", "g"
    outputs = ", ".join(f"float[1,4,{free(spatial, name)}] {name}" for name in names)
    text = f"""(float[1,4,{free(spatial)}] x) => ({outputs}, int64[1,4,{free(spatial, "k")}] k) {{
        m = MaxPool <{attributes}, ceil_mode = 1> (x)
        a = AveragePool <{attributes}, ceil_mode = 1> (x)
        i = AveragePool <{attributes}, ceil_mode = 1, count_include_pad = 1> (x)
        l = LpPool <{attributes}, ceil_mode = 1, p = 3> (x)
        f = AveragePool <{attributes}> (x)
        g, k = MaxPool <{attributes}, ceil_mode = 1> (x)
    }}"""
    feeds = {"x": floats(1, 4, *SIZES[spatial])}
    assert once_saved(model(text), feeds, tmp_path / "m.keras", free=False) == []


def test_the_largest_of_equal_zeros_and_of_what_is_no_number(tmp_path: Path) -> None:
    """-0.0 and 0.0 are a tie, and NaN is the best only as the first element."""
    kinds = [(op, last) for op in ("ArgMax", "ArgMin") for last in (0, 1)]
    nodes = "\n".join(
        f"y{i} = {op} <axis = 1, keepdims = {i % 2}, select_last_index = {last}> (x)"
        for i, (op, last) in enumerate(kinds)
    )
    outputs = ", ".join(f"int64[n{',1' * (i % 2)},w] y{i}" for i in range(len(kinds)))
    x = np.round(floats(3, 9, 40) / 2) * np.float32(-1)
    x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    x[0, 0, :5] = np.nan
    assert np.signbit(x[x == 0]).any()
    assert not np.signbit(x[x == 0]).all()
    source = model(f"(float[n,h,w] x) => ({outputs}) {{ {nodes} }}")
    assert once_saved(source, {"x": x}, tmp_path / "m.keras") == []


COORDINATES = {
    "half_pixel",
    "pytorch_half_pixel",
    "half_pixel_symmetric",
    "asymmetric",
    "align_corners",
    "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
}
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
SCALES = np.array([1, 1, 1.6, 0.7, 2], np.float32)
REGION = np.array([0, 0, 0.1, -0.2, 1, 1, 0.8, 1.3], np.float32)


@pytest.mark.parametrize("coordinates", sorted(COORDINATES))
def test_resize_by_scales_that_are_fed(coordinates: str, tmp_path: Path) -> None:
    """Every mode, by scales and by sizes; smaller along one axis, larger along the other."""
    modes = [f'mode = "nearest", nearest_mode = "{nearest}"' for nearest in NEAREST]
    modes += ['mode = "linear"', 'mode = "cubic"', 'mode = "cubic", exclude_outside = 1']
    modes += ['mode = "linear", antialias = 1', 'mode = "cubic", antialias = 1']
    common = f'coordinate_transformation_mode = "{coordinates}", extrapolation_value = 7.5'
    if coordinates == "tf_crop_and_resize":
        modes = [mode for mode in modes if "antialias" not in mode]
    nodes, outputs, roi = [], [], "r" if coordinates == "tf_crop_and_resize" else ""
    for i, mode in enumerate(modes):
        nodes += [f"a{i} = Resize <{mode}, {common}> (x, {roi}, s)"]
        outputs += [f"float[n,3,p{i},q{i}] a{i}"]
        if "cubic" not in mode:
            nodes += [f"b{i} = Resize <{mode}, {common}> (x, {roi}, , z)"]
            outputs += [f"float[n,3,t{i},u{i}] b{i}"]
    lines = "\n".join(nodes)
    text = f"(float[n,3,h,w] x, float[8] r, float[4] s, int64[4] z) => ({', '.join(outputs)}) {{ {lines} }}"
    feeds = {"x": floats(2, 3, 9, 10), "r": REGION, "s": np.array([1, 1, 0.59, 1.73], np.float32)}
    feeds["z"] = np.array([2, 3, 5, 17])
    assert once_saved(model(text, 19), feeds, tmp_path / "m.keras") == []


def test_resize_of_some_axes_and_by_an_aspect_ratio(tmp_path: Path) -> None:
    text = """(float[1,3,h,w] x, float[2] s, int64[2] z, float[4] r, float[1,3,k,l] like)
        => (float[1,3,a,b] y, float[1,3,c,d] larger, float[1,3,e,f] smaller, float[1,3,i,j] region,
            float[1,3,k,l] as) {
        y = Resize <mode = "linear", axes = [3, -2]> (x, , s)
        larger = Resize <axes = [2, 3], keep_aspect_ratio_policy = "not_smaller"> (x, , , z)
        smaller = Resize <axes = [2, 3], keep_aspect_ratio_policy = "not_larger"> (x, , , z)
        region = Resize <axes = [2, 3], coordinate_transformation_mode = "tf_crop_and_resize"> (x, r, , z)
        sizes = Shape(like)
        as = Resize <mode = "linear"> (x, , , sizes)
    }"""
    feeds = {"x": floats(1, 3, 9, 10), "s": np.array([1.6, 0.7], np.float32), "z": np.array([7, 17])}
    feeds |= {"r": REGION[[2, 3, 6, 7]], "like": floats(1, 3, 4, 13)}
    assert once_saved(model(text, 19), feeds, tmp_path / "m.keras", free=False) == []


@pytest.mark.parametrize("spatial", [1, 3])
def test_resize_of_signals_and_volumes_before_a_convolution(spatial: int, tmp_path: Path) -> None:
    text = f"""(float[1,3,{free(spatial)}] x, float[{spatial + 2}] s, float[4,3,{listed(*[2] * spatial)}] w)
        => (float[1,4,{free(spatial, "t")}] y) {{
        a = Resize <mode = "linear"> (x, , s)
        y = Conv(a, w)
    }}"""
    feeds = {"x": floats(1, 3, *SIZES[spatial]), "s": SCALES[: spatial + 2]}
    source = model(text, 19, w=floats(4, 3, *[2] * spatial))
    assert once_saved(source, feeds, tmp_path / "m.keras") == []


@pytest.mark.parametrize("operator", ["Upsample", "Resize"])
def test_the_first_forms(operator: str, tmp_path: Path) -> None:
    """By scales that are fed or constant; a shrinking Resize of opset 10 rounds up."""
    text = f"""(float[1,3,9,10] x, float[4] s)
        => (float[1,3,h,w] y, float[1,3,i,j] z, float[1,3,k,l] v) {{
        y = {operator} <mode = "nearest"> (x, s)
        z = {operator} <mode = "linear"> (x, s)
        v = {operator} <mode = "nearest"> (x, c)
    }}"""
    scales = np.array([1, 1, 2.3, 1.5 if operator == "Upsample" else 0.6], np.float32)
    source = model(text, 9 if operator == "Upsample" else 10, c=scales)
    assert once_saved(source, {"x": floats(1, 3, 9, 10), "s": scales}, tmp_path / "m.keras") == []


@pytest.mark.parametrize("coordinates", ["half_pixel", "tf_half_pixel_for_nn"])
def test_resize_of_elements_next_to_a_tie(coordinates: str, tmp_path: Path) -> None:
    """What is off the middle by less than a millionth is a tie to onnxruntime."""
    scales = np.array([1, 1, 0.3, 0.6], np.float32)
    nodes, outputs = [], []
    for i, nearest in enumerate(NEAREST):
        mode = f'nearest_mode = "{nearest}", coordinate_transformation_mode = "{coordinates}"'
        nodes += [f"a{i} = Resize <{mode}> (x, , s)", f"b{i} = Resize <{mode}> (x, , c)"]
        outputs += [f"float[1,1,p{i},q{i}] a{i}, float[1,1,t{i},u{i}] b{i}"]
    lines = "\n".join(nodes)
    source = model(f"(float[1,1,40,40] x, float[4] s) => ({', '.join(outputs)}) {{ {lines} }}", 19, c=scales)
    assert once_saved(source, {"x": floats(1, 1, 40, 40), "s": scales}, tmp_path / "m.keras") == []


def test_a_resize_that_changes_no_size_is_a_copy(tmp_path: Path) -> None:
    text = """(float[1,1,9,10] x, float[8] r) => (float[1,1,9,10] a, float[1,1,9,10] b, float[1,1,9,20] c) {
        a = Resize <mode = "linear", coordinate_transformation_mode = "asymmetric"> (x, , almost)
        b = Resize <mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"> (x, r, , sizes)
        c = Resize <mode = "linear", coordinate_transformation_mode = "asymmetric"> (x, , wider)
    }"""
    constants = {
        "almost": np.array([1, 1, 1.05, 1], np.float32),
        "wider": np.array([1, 1, 1.05, 2], np.float32),
        "sizes": np.array([1, 1, 9, 10]),
    }
    region = np.array([0, 0, 0.2, 0.1, 1, 1, 0.8, 0.9], np.float32)
    feeds = {"x": floats(1, 1, 9, 10), "r": region}
    assert once_saved(model(text, 19, **constants), feeds, tmp_path / "m.keras") == []


@pytest.mark.parametrize("sizes", ["2,2", "h,w"])
def test_unpooling_to_a_size_that_is_fed(sizes: str, tmp_path: Path) -> None:
    text = f"""(float[1,2,{sizes}] x, int64[1,2,{sizes}] i, int64[4] s)
        => (float[a,b,c,d] y, float[1,2,e,f] z) {{
        y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, i, s)
        z = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, i)
    }}"""
    first = np.array([[3, 5], [10, 15]])
    feeds = {"x": floats(1, 2, 2, 2), "i": np.stack([first, first + 16])[None], "s": np.array([1, 2, 5, 7])}
    assert once_saved(model(text, 11), feeds, tmp_path / "m.keras", free=False) == []


def test_unpooling_to_the_size_before_the_pool(tmp_path: Path) -> None:
    text = """(float[n,2,h,w] x) => (float[n,2,h,w] y) {
        p, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        s = Shape(x)
        y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (p, i, s)
    }"""
    assert once_saved(model(text, 11), {"x": floats(2, 2, 9, 7)}, tmp_path / "m.keras") == []


@pytest.mark.parametrize("sizes", ["1,12,18", "n,12,l"])
def test_columns_to_an_image_of_a_size_that_is_fed(sizes: str, tmp_path: Path) -> None:
    text = f"""(float[{sizes}] x, int64[2] s) => (float[n,3,h,w] y) {{
        y = Col2Im <pads = [1, 0, 1, 2], strides = [2, 1], dilations = [1, 2]> (x, s, b)
    }}"""
    feeds = {"x": floats(1, 12, 18), "s": np.array([5, 6])}
    assert once_saved(model(text, 18, b=np.array([2, 2])), feeds, tmp_path / "m.keras") == []
