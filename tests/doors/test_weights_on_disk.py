"""Weights are not held while a file is read and written, and the wire format is skimmed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_nhwc.files import wire
from tests.doors.test_files import large, make_model, small

_MEASURE = """
import resource, sys
import numpy as np, onnx_ir as ir
from onnx_nhwc import files
sys.path.insert(0, {tests!r})
from test_files import permuted, write
from pathlib import Path
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = files.read({path!r})
for value in model.graph.initializers.values():
    value.const_value = permuted(value.const_value, (1, 0))
write(model, Path({path!r} + ".out.onnx"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures the resident set as Linux counts it")
@pytest.mark.parametrize("external", [False, True])
def test_weights_are_not_held(tmp_path: Path, external: bool) -> None:
    """400 MB of weights, all of them re-laid, take less than 120 MB."""
    path = tmp_path / "in.onnx"
    blocks = [np.full((5000, 1000), i, np.float32) for i in range(20)]
    onnx.save(make_model(*blocks), path, save_as_external_data=external)
    code = _MEASURE.format(path=str(path), tests=str(Path(__file__).parent))
    root = Path(__file__).parents[2]
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root
    ).stdout
    assert int(output) * 1024 < 120e6


def test_skimming_only_moves_the_weights(tmp_path: Path) -> None:
    source = make_model(large(), small(), large(3))
    data = source.SerializeToString()
    proto = onnx.ModelProto.FromString(wire.skim(memoryview(data), "here"))
    assert len(wire.skim(memoryview(data), "here")) < 2000
    for tensor in proto.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            offset, length = int(entries["offset"]), int(entries["length"])
            tensor.raw_data = data[offset : offset + length]
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    assert proto == source
