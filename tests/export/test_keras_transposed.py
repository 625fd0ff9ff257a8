"""Transposed convolutions, dilated and in groups: as what every TensorFlow runs, with oneDNN or without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from tests.support.keras_models import exported, keras, once_saved

pytestmark = pytest.mark.filterwarnings("ignore")

CHANNELS = 4
SIZES = {1: (7,), 2: (7, 6), 3: (5, 6, 4)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}
KINDS = {  # strides, dilations, groups, other attributes
    "dilated": (1, 2, 1, ""),
    "dilated and strided": (2, 3, 1, "pads = [{1}{0}]"),
    "dilated groups": (1, 2, 2, "pads = [{1}{1}]"),
    "dilated depthwise": (2, 2, 4, "pads = [{0}{1}]"),
    "depthwise": (2, 1, 4, "pads = [{1}{1}], output_padding = [{1}]"),
    "depthwise further": (3, 1, 4, "pads = [{2}{1}], output_padding = [{2}]"),
    "groups": (2, 1, 2, "pads = [{0}{1}], output_padding = [{1}]"),
    "same": (1, 2, 1, 'auto_pad = "SAME_UPPER"'),
    "same depthwise": (2, 1, 4, 'auto_pad = "SAME_LOWER"'),
}


def attributes(kind: str, spatial: int) -> str:
    stride, dilation, group, more = KINDS[kind]
    text = f"strides = [{{{stride}}}], dilations = [{{{dilation}}}], group = {group}"
    text += f", {more}" if more else ""
    for number in range(4):
        text = text.replace(f"{{{number}}}", f"{number}," * spatial)
    return text.replace(",]", "]")


def model(kind: str, spatial: int, *, free: bool) -> onnx.ModelProto:
    sizes = [f"h{i}" if free else size for i, size in enumerate(SIZES[spatial])]
    listed = ",".join(map(str, sizes))
    result = ",".join(f"s{i}" for i in range(spatial))
    filters = 8
    text = f"""<ir_version: 8, opset_import: ["" : 18]> agraph (float[n,{CHANNELS},{listed}] x)
        => (float[n,{filters},{result}] y) {{
            y = ConvTranspose <{attributes(kind, spatial)}> (x, w, b) }}"""
    rng = np.random.default_rng(3)
    proto = onnx.parser.parse_model(text)
    kernel = rng.standard_normal((CHANNELS, filters // KINDS[kind][2], *KERNELS[spatial]), np.float32)
    bias = rng.standard_normal(filters, np.float32)
    proto.graph.initializer.extend([numpy_helper.from_array(kernel, "w"), numpy_helper.from_array(bias, "b")])
    return proto


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("spatial", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_they_compute_the_same(kind: str, spatial: int, free: bool, tmp_path: Path) -> None:
    source = model(kind, spatial, free=free)
    image = np.random.default_rng(5).standard_normal((2, CHANNELS, *SIZES[spatial]), np.float32)
    assert once_saved(source, {"x": image}, tmp_path / "m.keras") == []


@pytest.mark.parametrize("kind", ["dilated", "dilated groups", "dilated depthwise", "depthwise"])
@pytest.mark.parametrize("spatial", [1, 2])
def test_they_keep_their_parameters_in_one_layer(kind: str, spatial: int) -> None:
    """As many as the source has: no zeros between the taps that training would fill."""
    source = model(kind, spatial, free=False)
    result = exported(source).model
    count = sum(int(np.prod(tensor.dims)) for tensor in source.graph.initializer)
    held = [layer for layer in result.layers if layer.weights]
    assert len(held) == 1
    assert result.count_params() == sum(int(np.prod(w.shape)) for w in result.trainable_weights) == count
    assert isinstance(held[0], keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D) == (
        "depthwise" in kind
    )


EVERYWHERE = """
import sys
from pathlib import Path
import onnx_nhwc
import tensorflow as tf

try:
    tf.nn.conv2d(tf.zeros((1, 1, 1, 1)), tf.zeros((1, 1, 1, 1)), 1, "VALID", data_format="NCHW")
    sys.exit("TensorFlow has oneDNN after all")
except tf.errors.UnimplementedError:
    pass
for source in map(Path, sys.argv[1:]):
    for suffix in (".keras", ".tflite", ""):
        report = onnx_nhwc.convert_file(source, source.with_suffix(suffix))
        assert report.verification and report.verification.ok
    loaded = tf.saved_model.load(source.with_suffix(""))
    (spec,) = loaded.serve.input_signature
    loaded.serve(tf.zeros([2 if size is None else size for size in spec.shape]))
"""


def test_they_run_without_onednn(tmp_path: Path) -> None:
    """All three formats, verified and run in a TensorFlow that was started without it."""
    paths = []
    for index, kind in enumerate(KINDS):
        paths.append(tmp_path / f"{index}.onnx")
        onnx.save(model(kind, 1 + index % 3, free=False), paths[-1])
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", EVERYWHERE, *map(str, paths)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
