"""Images whose sizes, and settings that are known at run time only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray

from tests.keras_models import once_saved

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
