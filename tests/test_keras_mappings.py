"""Operators that onnx's own cases do not show in Keras, or not as models have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray

from tests.keras_models import differences, exported, foreign, keras, run
from tests.running import Session

pytestmark = pytest.mark.filterwarnings("ignore")

Feeds = dict[str, NDArray[Any]]


def floats(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def model(graph: str, opset: int = 19) -> onnx.ModelProto:
    head = f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
    return onnx.parser.parse_model(f"{head}agraph {graph}")


REGIONS = np.array(
    [[1.5, 2, 8.3, 9], [0, 0, 16, 12], [-3, -4, 30, 25], [5, 5, 5.2, 5.1], [3, 8, 1, 2], [9, 9, 99, 90]],
    np.float32,
)
IMAGES = np.array([0, 1, 1, 0, 1, 0])


def regions(attributes: str, sizes: str = "2,3,13,17", opset: int = 19) -> tuple[onnx.ModelProto, Feeds]:
    text = f"""(float[{sizes}] x, float[m,4] r, int64[m] b) => (float[m,3,3,4] y) {{
        y = RoiAlign <output_height = 3, output_width = 4, {attributes}> (x, r, b)
    }}"""
    return model(text, opset), {"x": floats(2, 3, 13, 17), "r": REGIONS, "b": IMAGES}


def max_regions() -> tuple[onnx.ModelProto, Feeds]:
    text = """(float[2,3,13,17] x, float[m,5] r) => (float[m,3,3,4] y) {
        y = MaxRoiPool <pooled_shape = [3, 4], spatial_scale = 0.7> (x, r)
    }"""
    return model(text), {
        "x": floats(2, 3, 13, 17),
        "r": np.concatenate([IMAGES[:, None], REGIONS], 1).astype("f"),
    }


def deformed(group: int, offsets: int) -> tuple[onnx.ModelProto, Feeds]:
    text = f"""(float[2,6,9,11] x, float[2,{offsets * 12},4,6] o, float[2,{offsets * 6},4,6] m,
                float[12,{6 // group},3,2] w, float[12] b) => (float[2,12,4,6] y) {{
        y = DeformConv <group = {group}, offset_group = {offsets}, strides = [2, 2], pads = [0, 1, 0, 1]>
            (x, w, o, b, m)
    }}"""
    feeds = {
        "x": floats(2, 6, 9, 11),
        "o": 2 * floats(2, offsets * 12, 4, 6),
        "m": floats(2, offsets * 6, 4, 6),
    }
    return weights(model(text), w=floats(12, 6 // group, 3, 2), b=floats(12)), feeds


def weights(proto: onnx.ModelProto, **arrays: NDArray[Any]) -> onnx.ModelProto:
    """Turn inputs into initializers."""
    kept = [value for value in proto.graph.input if value.name not in arrays]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in arrays.items())
    return proto


def unpooled() -> tuple[onnx.ModelProto, Feeds]:
    text = """(float[2,3,9,7] x) => (float[2,3,9,7] y) <int64[4] s = {2, 3, 9, 7}> {
        p, i = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)
        q = Neg(p)
        y = MaxUnpool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (q, i, s)
    }"""
    return model(text, 11), {"x": floats(2, 3, 9, 7)}


CASES: dict[str, Callable[[], tuple[onnx.ModelProto, Feeds]]] = {
    "roi_align": lambda: regions("sampling_ratio = 2, spatial_scale = 0.5"),
    "roi_align_sizes": lambda: regions("sampling_ratio = 2", "n,3,h,w"),
    "roi_align_adaptive": lambda: regions("sampling_ratio = 0"),
    "roi_align_adaptive_sizes": lambda: regions("sampling_ratio = 0", "n,3,h,w", 10),
    "roi_align_max": lambda: regions('sampling_ratio = 3, mode = "max"', opset=10),
    "max_roi_pool": max_regions,
    "deform_conv": lambda: deformed(1, 1),
    "deform_conv_groups": lambda: deformed(2, 3),
    "max_unpool": unpooled,
}


@pytest.mark.parametrize("io", ["keep", "auto"])
@pytest.mark.parametrize("name", CASES)
def test_it_computes_the_same_once_saved(name: str, io: str, tmp_path: Path) -> None:
    source, feeds = CASES[name]()
    result = exported(source, io=io)
    assert foreign(result.model) == []
    result.model.save(tmp_path / "m.keras")
    loaded = type(result)(keras.saving.load_model(tmp_path / "m.keras"), result.summary, result.batch)
    session = Session(source)
    actual = run(loaded, feeds, session.names)
    assert differences(loaded, session.names, session.run(feeds), actual) == []
