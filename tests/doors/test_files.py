"""Reading and writing: nothing is lost, nothing is half written, nothing is held in memory."""

from __future__ import annotations

import copy
import os
import resource
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_nhwc import files
from onnx_nhwc.files import writing
from onnx_nhwc.files.weights import to_proto
from onnx_nhwc.passes.errors import FileError, UsageError


def make_model(*weights: np.ndarray, **kwargs: object) -> onnx.ModelProto:
    """A chain of Adds, one for each weight."""
    names = [f"w{i}" for i in range(len(weights))]
    nodes = [
        helper.make_node("Add", [f"y{i - 1}" if i else "x", name], [f"y{i}"]) for i, name in enumerate(names)
    ]
    out = f"y{len(names) - 1}"
    shape = np.broadcast_shapes((1,), *(w.shape for w in weights))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(w, name) for w, name in zip(weights, names, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="k", value="v")
    return model


def large(seed: int = 0, shape: tuple[int, ...] = (64, 32, 3, 5)) -> np.ndarray:
    """More bytes than the threshold above which a weight is mapped."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def small(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((5,)).astype(np.float32)


def write(model: ir.Model, out: Path, external: bool | None = None) -> None:
    with files.staged(out) as staged:
        staged.write(model, external=external)
        staged.commit()


def weights_of(path: Path) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def permuted(tensor: ir.TensorProtocol, perm: tuple[int, ...]) -> ir.LazyTensor:
    """What the compiler makes of a weight: a view, evaluated when it is written."""
    return ir.LazyTensor(
        lambda: ir.tensor(np.transpose(tensor.numpy(), perm)),
        dtype=tensor.dtype,
        shape=ir.Shape([tensor.shape.numpy()[axis] for axis in perm]),
    )


# ------------------------------------------------------------------------------------ round trips


@pytest.mark.parametrize("external", [False, True])
def test_a_model_survives(tmp_path: Path, external: bool) -> None:
    source = make_model(large(), small(), large(2), np.float32(3.5).reshape(()))
    onnx.save(
        copy.deepcopy(source),
        tmp_path / "in.onnx",
        save_as_external_data=external,
        size_threshold=100,
    )
    write(files.read(tmp_path / "in.onnx"), tmp_path / "out.onnx")

    written = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(str(tmp_path / "out.onnx"), full_check=True)
    written.graph.ClearField("value_info")  # onnx_ir describes the weights there
    for tensor in written.graph.initializer:
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")
    assert written == source
    assert (tmp_path / "out.onnx.data").exists() == external


def test_a_large_weight_is_mapped_where_it_lies(tmp_path: Path) -> None:
    onnx.save(make_model(large(), small()), tmp_path / "in.onnx")
    model = files.read(tmp_path / "in.onnx")
    first, second = (v.const_value for v in model.graph.initializers.values())
    assert isinstance(first, ir.ExternalTensor)
    assert first.path == str((tmp_path / "in.onnx").resolve())
    assert not isinstance(second, ir.ExternalTensor)
    np.testing.assert_array_equal(first.numpy(), large())


@pytest.mark.parametrize("external", [False, True])
def test_a_relaid_weight_is_written_in_its_new_order(tmp_path: Path, external: bool) -> None:
    onnx.save(make_model(large()), tmp_path / "in.onnx")
    model = files.read(tmp_path / "in.onnx")
    (value,) = model.graph.initializers.values()
    assert value.const_value is not None
    value.const_value = permuted(value.const_value, (2, 3, 1, 0))
    write(model, tmp_path / "out.onnx", external)
    np.testing.assert_array_equal(weights_of(tmp_path / "out.onnx")["w0"], large().transpose(2, 3, 1, 0))


@pytest.mark.parametrize("dtype", ["INT4", "UINT4", "BFLOAT16", "FLOAT8E4M3FN", "BOOL", "INT64"])
@pytest.mark.parametrize("perm", [(0, 1), (1, 0)])
def test_every_width_is_written_as_onnx_stores_it(tmp_path: Path, dtype: str, perm: tuple[int, int]) -> None:
    data = np.arange(400 * 301).reshape(400, 301) % 7
    kind = getattr(TensorProto, dtype)
    source = make_model(small())
    source.graph.initializer.append(helper.make_tensor("q", kind, data.shape, data.flatten()))
    onnx.save(source, tmp_path / "in.onnx")
    model = files.read(tmp_path / "in.onnx")
    tensor = model.graph.initializers["q"].const_value
    assert tensor is not None
    model.graph.initializers["q"].const_value = permuted(tensor, perm)
    write(model, tmp_path / "out.onnx")
    got = weights_of(tmp_path / "out.onnx")["q"].astype(np.float32)
    np.testing.assert_array_equal(got, (data > 0 if dtype == "BOOL" else data).transpose(perm))


def test_pieces_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_PIECE", 1000)
    array = np.arange(3 * 1 * 37 * 41, dtype=np.int16).reshape(3, 1, 37, 41)
    for perm in [(0, 1, 2, 3), (1, 2, 3, 0), (3, 2, 1, 0), (2, 3, 1, 0), (0, 3, 1, 2)]:
        view = array.transpose(perm)
        pieces = list(writing._pieces(view))
        assert np.array_equal(np.concatenate([p.reshape(-1) for p in pieces]), view.reshape(-1))
        assert all(piece.flags.c_contiguous for piece in pieces)


def test_a_model_beyond_the_limit_gets_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PROTOBUF_LIMIT", 200_000)
    model = files.from_proto(make_model(large(0), large(1)))
    write(model, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size < 2000
    assert sorted(weights_of(tmp_path / "out.onnx")) == ["w0", "w1"]


def test_reading_again_what_was_written_over_its_own_data(tmp_path: Path) -> None:
    """OUT is IN, and the weights are mapped from the very file that is replaced."""
    path = tmp_path / "m.onnx"
    onnx.save(make_model(large(0), large(1)), path, save_as_external_data=True,
              location="m.onnx.data", size_threshold=0)  # fmt: skip
    for _ in range(2):
        model = files.read(path)
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            value.const_value = permuted(value.const_value, (1, 0, 3, 2))
        write(model, path)
    np.testing.assert_array_equal(weights_of(path)["w1"], large(1))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]


def test_a_constant_with_external_data_is_kept(tmp_path: Path) -> None:
    (tmp_path / "c.bin").write_bytes(large().tobytes())
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=large().shape)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="c.bin")
    source = make_model(small())
    source.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=tensor))
    (tmp_path / "in.onnx").write_bytes(source.SerializeToString())
    write(files.read(tmp_path / "in.onnx"), tmp_path / "out.onnx")
    (tmp_path / "c.bin").unlink()
    constant = onnx.load(tmp_path / "out.onnx").graph.node[0].attribute[0].t
    np.testing.assert_array_equal(numpy_helper.to_array(constant), large())


def test_to_proto_holds_all_weights_and_shares_none(tmp_path: Path) -> None:
    source = make_model(large(), small())
    onnx.save(source, tmp_path / "in.onnx", save_as_external_data=True, size_threshold=0)
    source = onnx.load(tmp_path / "in.onnx")
    proto = to_proto(files.read(tmp_path / "in.onnx"))
    (tmp_path / "in.onnx").unlink()
    np.testing.assert_array_equal(numpy_helper.to_array(proto.graph.initializer[0]), large())

    before = source.SerializeToString()
    model = files.from_proto(source)
    for value in list(model.graph.initializers.values()):
        value.name = f"renamed_{value.name}"
    assert source.SerializeToString() == before


def test_released_memory_can_be_read_again(tmp_path: Path) -> None:
    onnx.save(make_model(large()), tmp_path / "in.onnx")
    model = files.read(tmp_path / "in.onnx")
    (value,) = model.graph.initializers.values()
    assert value.const_value is not None
    array = value.const_value.numpy()
    writing.release(model)
    np.testing.assert_array_equal(array, large())


# --------------------------------------------------------------------------------------- bad files


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        files.read(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="not a file"):
        files.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello world, this is no model", "not an ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file"),
        (b"PK\x03\x04" + bytes(range(200)), "not an ONNX file"),
        (bytes(1000), "not an ONNX file"),
        (b"\x08\x07", "holds no graph"),
    ],
)
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "in.onnx").write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        files.read(tmp_path / "in.onnx")
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_never_taken_for_a_model(tmp_path: Path) -> None:
    model = make_model(large(), small())
    model.ClearField("metadata_props")  # which come last, and can be missing
    data = model.SerializeToString()
    path = tmp_path / "in.onnx"
    for length in [*range(1, 300), *range(300, len(data), 997), *range(len(data) - 60, len(data))]:
        path.write_bytes(data[:length])
        with pytest.raises(FileError, match=r"truncated|damaged|no graph"):
            files.read(path)


def test_random_damage_never_crashes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = np.frombuffer(make_model(large(), small()).SerializeToString(), np.uint8)
    for _ in range(200):
        damaged = data.copy()
        where = rng.integers(0, 400, 5)
        damaged[where] = rng.integers(0, 256, 5)
        (tmp_path / "in.onnx").write_bytes(damaged.tobytes())
        try:
            files.read(tmp_path / "in.onnx")
        except FileError as error:
            assert "\n" not in str(error)  # noqa: PT017 (not every damage is an error)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data.unlink(), "is missing"),
        (lambda data: os.truncate(data, 1000), "too short"),
    ],
)
def test_external_data_missing_or_short(tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    onnx.save(make_model(large()), tmp_path / "in.onnx", save_as_external_data=True,
              location="in.data", size_threshold=0)  # fmt: skip
    damage(tmp_path / "in.data")
    with pytest.raises(FileError, match=f"in.data.*{message}"):
        files.read(tmp_path / "in.onnx")


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "link"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(large().tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    model = make_model(large())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "in.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FileError, match="outside its own folder"):
        files.read(folder / "in.onnx")


# --------------------------------------------------------------------------------- atomic writing


def test_nothing_is_left_without_a_commit(tmp_path: Path) -> None:
    (tmp_path / "out.onnx").write_text("as it was")
    model = files.from_proto(make_model(large()))
    with (  # noqa: PT012
        pytest.raises(ZeroDivisionError),
        files.staged(tmp_path / "out.onnx") as staged,
    ):
        staged.write(model, external=True)
        assert onnx.load(staged.path).graph.initializer  # can be opened where it is
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.iterdir()] == ["out.onnx"]
    assert (tmp_path / "out.onnx").read_text() == "as it was"


@pytest.mark.parametrize("external", [False, True])
def test_a_full_disk_leaves_the_destination_as_it_was(tmp_path: Path, external: bool) -> None:
    out, data = tmp_path / "out.onnx", tmp_path / "out.onnx.data"
    out.write_text("as it was")
    data.write_text("this too")
    model = files.from_proto(make_model(large(0), large(1)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limits[1]))
    try:
        with pytest.raises(FileError, match="cannot be written: File too large"):
            write(model, out, external)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.onnx", "out.onnx.data"]
    assert (out.read_text(), data.read_text()) == ("as it was", "this too")


def test_both_files_are_replaced_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, data = tmp_path / "out.onnx", tmp_path / "out.onnx.data"
    out.write_text("as it was")
    data.write_text("this too")
    replace = os.replace

    def fail_for_the_model(source: Path, target: Path) -> None:
        if Path(target) == out:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_for_the_model)
    with pytest.raises(FileError, match="cannot be replaced"):
        write(files.from_proto(make_model(large())), out, external=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.onnx", "out.onnx.data"]
    assert (out.read_text(), data.read_text()) == ("as it was", "this too")


def test_destinations_that_cannot_be(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"folder .* does not exist"),
        files.staged(tmp_path / "none" / "out.onnx"),
    ):
        pass
    with pytest.raises(UsageError, match="is not a file"), files.staged(tmp_path):
        pass


def test_permissions_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.touch()
    out.chmod(0o640)
    write(files.from_proto(make_model(small())), out)
    assert out.stat().st_mode & 0o777 == 0o640


# ------------------------------------------------------------------------------------------ memory

# ------------------------------------------------------------------------------------ wire format
