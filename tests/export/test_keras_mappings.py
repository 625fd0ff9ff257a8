"""Operators that onnx's own cases do not show in Keras, or not as models have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

import onnx_nhwc
from tests.support.keras_models import differences, exported, foreign, keras, run
from tests.support.mapped_models import (
    Feeds,
    antialiased,
    bounded,
    centred,
    collected,
    declared,
    deformed,
    floats,
    growing,
    looped,
    max_regions,
    model,
    picked,
    regions,
    scanned,
    sequences,
    spectrogram,
    suppressed,
    transformed,
    unique,
    unpooled,
    windows,
)
from tests.support.running import Session

pytestmark = pytest.mark.filterwarnings("ignore")

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
    "non_max_suppression": lambda: suppressed("center_point_box = 0", (2, 3, 20), "k", "i"),
    "non_max_suppression_scores": lambda: suppressed("center_point_box = 1", (1, 1, 40), "k", "i", "t"),
    "unique": lambda: unique("sorted = 1", 3, 2, 7),
    "unique_unsorted": lambda: unique("sorted = 0", 30),
    "unique_columns": lambda: unique("sorted = 1, axis = -1", 2, 9),
    "unique_rows_unsorted": lambda: unique("sorted = 0, axis = 0", 9, 2),
    "non_zero_compress": picked,
    "resize_antialias": lambda: antialiased("linear", ", scales"),
    "resize_antialias_cubic": lambda: antialiased("cubic", ", , sizes"),
    "resize_antialias_inside": lambda: antialiased("cubic", ", scales", 1),
    "windows": windows,
    "top_k_of_a_size": lambda: declared(
        "(float[4,9] x, int64[1] k) => (float[4,3] y, int64[4,3] i) { y, i = TopK(x, k) }",
        x=floats(4, 9),
        k=np.array([3]),
    ),
    "axes_to_choose": lambda: declared(
        """(float[3,3,5] x, int64[1] a, int64[1] b, int64 c)
            => (float[3,5] y, float[3,1,5] z, float[1,3,3,5] w, float[3,3,5] v) {
            y = ReduceSum <keepdims = 0> (x, a)
            z = ReduceMax(x, a)
            w = Unsqueeze(x, b)
            v = CumSum(x, c)
        }""",
        x=floats(3, 3, 5),
        a=np.array([1]),
        b=np.array([0]),
        c=np.array(-2),
    ),
    "an_axis_of_one_element": lambda: declared(
        "(float[1,3] x, int64[1] a) => (float[1,3] y) { y = ReduceSum(x, a) }",
        x=floats(1, 3),
        a=np.array([0]),
    ),
    "layer_normalization_whose_middle_is_read": centred,
    "dft": lambda: transformed(1, "axis = 1, onesided = 1", 12),
    "dft_inverse_longer": lambda: transformed(2, "axis = 1, inverse = 1", 16),
    "dft_shorter": lambda: transformed(2, "onesided = 0", 7, 20),
    "stft": spectrogram,
    "loop": lambda: looped("Identity(go)"),
    "loop_until": lambda: looped("Less(i, last)"),
    "loop_while": lambda: looped("Less(total, limit)"),
    "loop_of_at_most": lambda: bounded("few", "Identity(go)"),
    "loop_of_at_most_while": lambda: bounded("few", "Identity(small)"),
    "loop_ended_by_its_turn": lambda: bounded("most", "Identity(both)"),
    "loop_without_count": lambda: bounded("", "Identity(both)"),
    "loop_growing": growing,
    "scan": scanned,
    "sequences": sequences,
    "sequence_loop_map": collected,
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


def test_a_loops_weights_are_shared() -> None:
    source, _ = growing()
    assert [tuple(w.shape) for w in exported(source).model.trainable_weights] == [(5, 5)]


@pytest.mark.parametrize("most", [0, 1, 9])
def test_a_loop_runs_as_often_as_it_is_told(most: int) -> None:
    source, feeds = bounded("few", "Identity(go)")
    feeds["most"] = np.array(most)
    result = exported(source, free=False)
    session = Session(source)
    actual = run(result, feeds, session.names)
    assert differences(result, session.names, session.run(feeds), actual) == []


@pytest.mark.parametrize(("count", "condition"), [("most", "Identity(go)"), ("", "Identity(small)")])
def test_a_loop_without_a_bound_is_refused(count: str, condition: str) -> None:
    source, _ = bounded(count, condition)
    with pytest.raises(onnx_nhwc.ConversionError, match=r"known at run time only.*constant trip count"):
        exported(source)


def test_a_loop_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_nhwc.export.loops._NODES", 5)
    text = """(float[2] x) => (float[2] y) <bool true = {1}> {
        y = Loop ( , true, x) <body = turn (int64 i, bool go, float[2] h) => (bool again, float[2] next) {
            again = Identity(go)
            next = Add(h, h)
        }>
    }"""
    with pytest.raises(onnx_nhwc.ConversionError, match="does not end within 5 turns"):
        exported(model(text))
