"""The source that a network becomes in PyTorch: classes by scopes, equal ones once, the original's keys.

The source is written without torch; what it computes is looked at where torch is installed.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest

from onnx_nhwc import files
from onnx_nhwc.export.preparation import is_channels_last, prepared
from onnx_nhwc.export.torch.program import Program
from onnx_nhwc.export.torch.source import source_of
from onnx_nhwc.export.torch.table import OPERATORS
from onnx_nhwc.export.torch.target import program_of
from onnx_nhwc.export.walk import UnsupportedNodesError
from onnx_nhwc.passes.options import Options
from tests.models.catalogue import CASES, Case, by_name
from tests.support.running import Session

pytestmark = pytest.mark.filterwarnings("ignore")

NETWORKS = [case for case in CASES if case.family == "torch"]


def program(model: onnx.ModelProto) -> Program:
    read = files.from_proto(model)
    move = is_channels_last(read)
    graph = prepared(read, Options(to="channels-first", io="keep"), OPERATORS, move=move)
    return program_of(graph.model)


def classes(source: str) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


RESNET = """
class Block2(nn.Module):
    def __init__(self, in_channels, out_channels, stride, out_channels_2) -> None:
        super().__init__()
"""


def test_a_resnet_is_its_blocks() -> None:
    """Two classes of blocks, with and without a projection, in a Sequential; no layer is listed twice."""
    source = source_of(program(by_name("torch/resnet_bottleneck.ts.batch").load()))
    assert RESNET in source
    found = classes(source)
    assert len(found) <= 5
    assert len(source.splitlines()) < 80
    *_, model = found.values()
    assert [base.attr for base in model.bases if isinstance(base, ast.Attribute)] == ["Sequential"]


@pytest.mark.parametrize("name", ["resnet_basic", "mobilenetv2", "densenet", "vit"])
def test_keys_are_the_originals(name: str) -> None:
    """What the file names as a parameter of the network has that name, and its shape, in the state dict."""
    model = by_name(f"torch/{name}.ts.batch").load()
    found = {key: load().shape for key, load in program(model).weights().items()}
    original = {t.name: tuple(t.dims) for t in model.graph.initializer if "::" not in t.name}
    original = {key: shape for key, shape in original.items() if key.endswith((".weight", ".bias"))}
    assert original
    assert original.items() <= found.items()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in NETWORKS])
def test_a_network_has_a_source(case: Case) -> None:
    """It is Python, every class of it is used, and each weight has a place in it."""
    made = program(case.load())
    source = source_of(made)
    found = classes(source)
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    assert found.keys() - names <= {list(found)[-1]}
    assert len(made.weights()) >= 2
    assert "§" not in source


def test_what_it_does_not_know_is_refused() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 18]>
    g (float[1,3,8,8] x, float[2,4] rois, int64[2] batch) => (float[2,3,2,2] y) {
        y = RoiAlign <output_height = 2, output_width = 2> (x, rois, batch)
    }
    """
    with pytest.raises(UnsupportedNodesError, match="cannot be expressed in PyTorch: RoiAlign 'y'"):
        program(onnx.parser.parse_model(text))


def test_it_needs_no_torch_to_be_written() -> None:
    code = (
        "import sys, onnx_nhwc.export.torch.source, onnx_nhwc.export.torch.target\n"
        "print(*{'torch', 'keras', 'tensorflow'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_without_torch_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import onnx_nhwc\n"
        "try: onnx_nhwc.to_torch('model.onnx')\n"
        "except onnx_nhwc.UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "this needs 'torch', which is not installed" in done.stdout
    assert 'pip install "onnx-nhwc[torch]"' in done.stdout


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in NETWORKS])
def test_it_computes_the_same(case: Case) -> None:
    torch = pytest.importorskip("torch")
    from onnx_nhwc.export.torch.api import run

    made = program(case.load())
    model = run(source_of(made), made)
    for sizes in range(case.sizes):
        feeds = case.inputs(1, sizes)
        expected = Session(case.load()).run(feeds)
        with torch.no_grad():
            results: Any = model(*map(torch.from_numpy, feeds.values()))
        results = [results] if isinstance(results, torch.Tensor) else results
        for a, b in zip(expected, results, strict=True):
            scale = float(np.abs(a).max()) if a.size else 1.0
            np.testing.assert_allclose(b.numpy(), a, rtol=0, atol=2e-4 * max(scale, 1e-6))
