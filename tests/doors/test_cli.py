"""The command line: one clear line for every wrong use, and OUT as it was."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx_nhwc
from onnx_nhwc.optimize import main
from onnx_nhwc.passes.errors import ConversionError, VerificationError
from onnx_nhwc.report.report import describe, human_bytes

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def small_network(shape: Any = (1, 3, 13, 11), width: int = 5) -> onnx.ModelProto:
    """Two convolutions and a ReLU."""
    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.standard_normal((width, 3, 3, 3)).astype(np.float32),
        "w1": rng.standard_normal((7, width, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w1"], ["y"], name="second"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a model and an OUT, which is looked at after each test that fails to write."""
    onnx.save(small_network(), tmp_path / "in.onnx")
    (tmp_path / "out.onnx").write_text("as it was")
    return tmp_path


def run(folder: Path, *arguments: str, src: str = "in.onnx", dst: str = "out.onnx") -> int:
    return main([str(folder / src), str(folder / dst), *arguments])


# ----------------------------------------------------------------------------------- what works


@pytest.mark.parametrize("dialect", ["functions", "standard"])
@pytest.mark.parametrize("to", ["channels-last", "channels-first"])
def test_a_conversion(folder: Path, capsys: pytest.CaptureFixture[str], dialect: str, to: str) -> None:
    assert run(folder, "--dialect", dialect, "--to", to) == 0
    output = capsys.readouterr()
    assert "verified" in output.out
    assert "1 output agrees" in output.out
    assert output.err == ""
    onnx.checker.check_model(str(folder / "out.onnx"), full_check=True)
    assert onnx_nhwc.verify(folder / "in.onnx", folder / "out.onnx")
    assert sorted(file.name for file in folder.iterdir()) == ["in.onnx", "out.onnx"]


def test_out_may_be_in(folder: Path) -> None:
    source = onnx.load(folder / "in.onnx")
    assert run(folder, "-q", dst="in.onnx") == 0
    assert onnx_nhwc.verify(source, folder / "in.onnx")


@pytest.mark.parametrize("same", [False, True])
def test_external_data(folder: Path, same: bool) -> None:
    source = small_network(width=64)
    onnx.save(source, folder / "in.onnx", save_as_external_data=True, location="in.onnx.data",
              size_threshold=0)  # fmt: skip
    dst = "in.onnx" if same else "out.onnx"
    assert run(folder, "-q", dst=dst) == 0
    assert (folder / f"{dst}.data").stat().st_size > 20_000
    assert onnx_nhwc.verify(small_network(width=64), folder / dst)
    expected = {"in.onnx", "in.onnx.data", "out.onnx", f"{dst}.data"}
    assert {file.name for file in folder.iterdir()} == expected


def test_quiet_and_verbose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert run(folder, "-v", "--explain") == 0
    assert "No Transpose remains." in capsys.readouterr().out


def test_explain_names_what_remains(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--io", "keep", "--explain") == 0
    text = capsys.readouterr().out
    assert "Transposes that remain" in text
    assert "first" in text


def test_layout_and_shape(folder: Path) -> None:
    onnx.save(small_network(["n", 3, "h", "w"]), folder / "in.onnx")
    assert run(folder, "-q", "--layout", "x=NCHW", "--layout", "y=0,3,2,1",
               "--shape", "x=2,3,20,?") == 0  # fmt: skip
    model = onnx.load(folder / "out.onnx")
    layouts = json.loads({p.key: p.value for p in model.metadata_props}["onnx_nhwc.layouts"])
    assert layouts == {"inputs": {"x": [0, 1, 2, 3]}, "outputs": {"y": [0, 3, 2, 1]}}
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in sizes] == [2, 3, 20, 0]


def test_report_as_data(folder: Path) -> None:
    assert run(folder, "-q", "--report", str(folder / "r.json")) == 0
    report = json.loads((folder / "r.json").read_text())
    assert report["verified"] is True
    assert report["summary"]["inputs"] == {"x": [0, 2, 3, 1]}
    assert report["summary"]["transposes_after"] == 0
    assert report["bytes_written"] == (folder / "out.onnx").stat().st_size


def test_the_module_runs(folder: Path) -> None:
    """As the README says; and nothing but the report is printed."""
    root = Path(__file__).parents[2]
    for module in ("onnx_nhwc.optimize", "onnx_nhwc"):
        result = subprocess.run(
            [sys.executable, "-m", module, folder / "in.onnx", folder / "out.onnx"],
            check=False, capture_output=True, text=True, cwd=root,
        )  # fmt: skip
        assert result.returncode == 0
        assert result.stderr == ""
        assert "Transposes" in result.stdout


def test_help_and_import_are_light() -> None:
    code = (
        "import sys, onnx_nhwc; from onnx_nhwc.optimize import main; main(['--help']); "
        "heavy = {'keras', 'tensorflow', 'torch', 'onnxruntime', 'scipy'} & set(sys.modules); "
        "assert not heavy, heavy; "
        "onnx_nhwc.to_channels_last; "
        "heavy = {'keras', 'tensorflow', 'torch', 'onnxruntime'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=root
    )
    assert result.returncode == 0, result.stderr
    assert "--dialect" in result.stdout


@pytest.mark.parametrize("name", ["light_squeezenet.onnx", "light_shufflenet.onnx"])
def test_networks_of_the_onnx_package(folder: Path, name: str) -> None:
    (folder / "in.onnx").write_bytes((LIGHT / name).read_bytes())
    assert run(folder, "-q") == 0


# --------------------------------------------------------------------------------- what does not


def expect(folder: Path, capsys: pytest.CaptureFixture[str], status: int, message: str, result: int) -> None:
    """One line on stderr, the right status, and nothing else has changed."""
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.startswith("onnx-nhwc: error: ")
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert result == status
    assert (folder / "out.onnx").read_text() == "as it was"
    assert not [file for file in folder.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "channels-middle"], "argument --to: invalid choice"),
        (["--dialect", "x"], "argument --dialect: invalid choice"),
        (["--io", "x"], "argument --io: invalid choice"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--layout", "x"], "'x' is not of the form"),
        (["--layout", "x=0,1,1,2"], "not a permutation"),
        (["--layout", "x=NHWC", "--layout", "x=NCHW"], "given twice for 'x'"),
        (["--layout", "z=NHWC"], "'z'"),
        (["--layout", "x=NWC"], "x"),
        (["--layout", "x=0,2,1"], "x"),
        (["--layout", "x=QQQQ"], "QQQQ"),
        (["--shape", "x=1,3,-1,4"], "not a list of sizes"),
        (["--shape", "x=1,3,a,4"], "not a list of sizes"),
        (["--shape", "z=1"], "'z'"),
        (["--shape", "x=1,3"], "rank"),
        (["--shape", "x=1,4,13,11"], "fixed size 3"),
        (["--rtol", "much"], "not a tolerance"),
        (["--atol", "nan"], "not a tolerance"),
        (["--seed", "-1"], "not a whole number"),
        (["--report", "r.html"], ".json only"),
        (["--report", "none/r.json"], "folder 'none' does not exist"),
        (["-q", "-v"], "not allowed with"),
    ],
)
def test_wrong_options(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    expect(folder, capsys, 2, message, run(folder, *arguments))


@pytest.mark.parametrize(
    ("src", "message"),
    [
        ("none.onnx", "does not exist"),
        ("folder.onnx", "is not a file"),
        ("model.pb", "'.pb' is not known"),
        ("none.keras", "does not exist"),
        ("savedmodel", "does not exist"),
    ],
)
def test_wrong_inputs(folder: Path, capsys: pytest.CaptureFixture[str], src: str, message: str) -> None:
    (folder / "folder.onnx").mkdir()
    expect(folder, capsys, 2, message, run(folder, src=src))


@pytest.mark.parametrize(
    ("dst", "message"),
    [
        ("none/out.onnx", "does not exist"),
        ("folder.onnx", "is not a file"),
        ("out.h5", "cannot be written yet"),
        ("out.txt", "'.txt' is not known"),
    ],
)
def test_wrong_outputs(folder: Path, capsys: pytest.CaptureFixture[str], dst: str, message: str) -> None:
    (folder / "folder.onnx").mkdir()
    expect(folder, capsys, 2, message, run(folder, dst=dst))


def test_litert_is_channels_last(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(folder, "--to", "channels-first", dst="out.tflite")
    expect(folder, capsys, 2, "channels-last operators only", code)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: b"this is no model at all", "not an ONNX file"),
        (lambda data: data[: len(data) // 2], "is truncated"),
    ],
)
def test_damaged_files(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes],
    message: str,
) -> None:
    path = folder / "in.onnx"
    path.write_bytes(damage(path.read_bytes()))
    expect(folder, capsys, 1, message, run(folder))


def test_unknown_rank(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No kernel says it: the pool takes images of any rank."""
    node = onnx.helper.make_node("GlobalAveragePool", ["x"], ["y"], name="first")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy")
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    imports = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=imports), folder / "in.onnx")
    result = run(folder)
    expect(folder, capsys, 1, "GlobalAveragePool 'first'", result)
    assert run(folder, "-q", "--shape", "x=1,3,13,11") == 0


def test_a_rank_that_the_kernel_says(folder: Path) -> None:
    model = small_network()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, folder / "in.onnx")
    assert run(folder, "-q") == 0
    assert run(folder, "-q", "--shape", "x=1,3,13,11") == 0


@pytest.mark.parametrize("external", [False, True])
def test_full_disk(folder: Path, capsys: pytest.CaptureFixture[str], external: bool) -> None:
    onnx.save(small_network(width=500), folder / "in.onnx", save_as_external_data=external)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        result = run(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    expect(folder, capsys, 1, "cannot be written: File too large. It is as it was", result)


def test_verification_failure(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler is made to err: its result is that of another network."""
    from onnx_nhwc import api

    api_convert = api.convert

    def err(model: Any, *arguments: Any) -> Any:
        summary = api_convert(model, *arguments)
        weight = next(v for v in model.graph.initializers.values() if v.const_value.size > 100)
        weight.const_value = ir.tensor(weight.const_value.numpy() + 1)
        return summary

    monkeypatch.setattr(api, "convert", err)
    expect(folder, capsys, 1, "output 'y' of the converted model differs", run(folder))
    with pytest.raises(VerificationError):
        onnx_nhwc.convert_file(folder / "in.onnx", folder / "out.onnx")
    assert run(folder, "-q", "--no-verify") == 0


def test_a_network_that_onnxruntime_does_not_know(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = small_network()
    model.graph.node[1].domain = "strange"
    model.graph.value_info.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 5, 13, 11]))
    model.opset_import.append(helper.make_opsetid("strange", 1))
    onnx.save(model, folder / "in.onnx")
    expect(folder, capsys, 1, "--no-verify", run(folder))
    assert run(folder, "--no-verify") == 0
    assert "left as it is" in capsys.readouterr().out


def test_an_internal_error_is_one_line_too(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx_nhwc import api

    def fail(*_: Any) -> Any:
        raise KeyError("a fault\nof ours")

    monkeypatch.setattr(api, "convert", fail)
    expect(folder, capsys, 1, "internal error, KeyError", run(folder))
    assert run(folder, "-v") == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_unwritable_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "r.json").mkdir()
    assert run(folder, "--report", str(folder / "r.json")) == 1
    assert "the report" in capsys.readouterr().err


# --------------------------------------------------------------------------------------- the API


def test_the_source_is_left_as_it_is() -> None:
    source = small_network()
    before = source.SerializeToString()
    converted = onnx_nhwc.to_channels_last(source)
    assert source.SerializeToString() == before
    assert onnx_nhwc.verify(source, converted)
    assert onnx_nhwc.verify(source, onnx_nhwc.to_channels_first(source))


def test_wrong_values_in_python() -> None:
    with pytest.raises(ConversionError, match="dialect"):
        onnx_nhwc.to_channels_last(small_network(), dialect="x")
    with pytest.raises(AttributeError, match="no attribute 'to_nowhere'"):
        onnx_nhwc.to_nowhere  # noqa: B018
    assert set(onnx_nhwc.__all__) <= set(dir(onnx_nhwc))


def test_numbers_and_layouts_are_readable() -> None:
    assert [human_bytes(n) for n in (0, 1023, 99_949, 999_600, 5 * 10**9)] == [
        "0 B", "1.0 kB", "99.9 kB", "1.0 MB", "5.0 GB",
    ]  # fmt: skip
    assert describe((0, 1)) == "as in the source"
    assert describe((0, 2, 1)) == "channels last (0,2,1)"
    assert describe((1, 0)) == "permuted (1,0)"
    assert describe(()) == "as in the source"
