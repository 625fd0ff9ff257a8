"""Reading and writing ``.onnx`` files without holding the weights.

Weights are memory-mapped when read, whether they lie in external data files or in the ``.onnx``
file itself, and streamed one at a time when written. Everything is written into a hidden folder
beside the destination and moved into place at the end, so that a destination is either as it was
or complete.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from onnx_nhwc.files import unusual, weights, wire
from onnx_nhwc.files.definitions import single_definitions
from onnx_nhwc.files.weights import Origin, in_memory
from onnx_nhwc.files.writing import write_external, write_single
from onnx_nhwc.passes.errors import ConversionError, FileError, UsageError
from onnx_nhwc.passes.forms.normalize import tidy

__all__ = ["Staged", "check_destination", "from_proto", "read", "staged"]

# ---------------------------------------------------------------------------------------- reading


def read(path: str | os.PathLike[str]) -> ir.Model:
    """Read an ONNX file; its large weights are mapped, not loaded.

    Weights are ``ir.ExternalTensor`` objects with absolute paths, whose memory
    :func:`onnx_nhwc.files.weights.release` gives back. The file, and its external data, must stay in
    place while the model is in use.

    Raises:
        UsageError: There is no file of that name.
        FileError: The file is empty, truncated or no ONNX model, or its external data are
            missing, too short or outside its folder.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"the file '{path}' does not exist")
    if not path.is_file():
        raise UsageError(f"'{path}' is not a file")
    try:
        real = path.resolve()
        proto = _parse(path, str(real))
    except OSError as error:
        raise FileError(f"'{path}' cannot be read: {error.strerror or error}") from error
    model = _deserialize(proto, f"'{path}'", str(path.parent))
    try:
        _locate_weights(model, path, real)
    except (TypeError, ValueError) as error:  # a type without a size, a negative offset
        raise FileError(f"'{path}' is not a valid ONNX model: {error}") from error
    return model


def from_proto(proto: onnx.ModelProto) -> ir.Model:
    """Return ``proto`` as an ``ir.Model``; it must not change as long as that is in use.

    Raises:
        FileError: It is no valid model.
    """
    return _deserialize(proto, "the model")


def _parse(path: Path, location: str) -> onnx.ModelProto:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise FileError(f"'{path}' is empty")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    started_well = view[0] == 0x08  # ir_version, with which every ONNX file starts
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(wire.skim(view, location))
    except wire.TruncatedError as error:
        if started_well:
            reason = f"'{path}' is truncated after {size:,} bytes"
            raise FileError(reason, "Copy or export it again.") from error
        raise FileError(f"'{path}' is not an ONNX file") from error
    except (ValueError, DecodeError) as error:
        raise FileError(f"'{path}' is not an ONNX file, or it is damaged") from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise FileError(f"'{path}' is not an ONNX file: it holds no graph")
    if not proto.opset_import and proto.ir_version >= 3:
        raise FileError(f"'{path}' is truncated or damaged: it names no opset", "Copy or export it again.")
    return proto


def _deserialize(proto: onnx.ModelProto, name: str, folder: str = "") -> ir.Model:
    proto = single_definitions(proto)
    try:
        proto, types = unusual.readable(proto, folder)
        model = weights.from_proto(proto)
        unusual.remember(model, types)
        tidy(model)
    except Exception as error:  # onnx_ir wraps whatever went wrong, several levels deep
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, ConversionError):
            cause = cause.__cause__
        raise FileError(f"{name} is not a valid ONNX model: {cause}") from error
    return model


def _locate_weights(model: ir.Model, path: Path, real: Path) -> None:
    """Check every reference to external data, and make it absolute."""
    origin = Origin()
    sizes = {real: real.stat().st_size}

    def located(tensor: ir.ExternalTensor) -> ir.ExternalTensor:
        if os.fspath(tensor.location) == str(real):  # in the .onnx file itself
            data = real
        else:
            data = _external_file(tensor, path)
            origin.external = True
        size = sizes.setdefault(data, data.stat().st_size)
        offset = tensor.offset or 0
        end = offset + (tensor.nbytes if tensor.length is None else tensor.length)
        if end > size or (tensor.length is not None and tensor.length < tensor.nbytes):
            raise FileError(
                f"the external data file '{data.name}' of '{path}' is too short: weight "
                f"'{tensor.name}' needs bytes {offset:,} to {offset + tensor.nbytes:,} of {size:,}",
                "Copy or export it again.",
            )
        tensor = ir.ExternalTensor(
            str(data), offset, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()),
            name=tensor.name, doc_string=tensor.doc_string,
            metadata_props=dict(tensor.metadata_props),
        )  # fmt: skip
        origin.mapped.append(tensor)
        return tensor

    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = located(value.const_value)
    for node in weights.nodes(model):
        for attribute in list(node.attributes.values()):
            if isinstance(attribute.value, ir.ExternalTensor):
                tensor = in_memory(located(attribute.value))
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, tensor)
    origin.attach(model)


def _external_file(tensor: ir.ExternalTensor, path: Path) -> Path:
    """Return the file that holds ``tensor``, if it is one that the model may refer to."""
    folder = path.parent.resolve()
    data = (folder / tensor.location).resolve()
    if not data.is_relative_to(folder):
        raise FileError(
            f"'{path}' keeps weight '{tensor.name}' in '{tensor.location}', outside its own folder",
            "Put the model and its data files into one folder, without symbolic links.",
        )
    if not data.is_file():
        raise FileError(
            f"the external data file '{tensor.location}' of '{path}' is missing",
            f"Put it beside '{path.name}'.",
        )
    return data


# ---------------------------------------------------------------------------------------- writing


@dataclass(frozen=True)
class Staged:
    """A file on its way: written beside its destination, not yet moved there.

    Attributes:
        out: The destination.
        path: Where it lies now. The file has its final name already, in a folder of its own, so
            that it can be opened, together with its external data.
    """

    out: Path
    path: Path

    def write(self, model: ir.Model, *, external: bool | None = None) -> None:
        """Write ``model`` to :attr:`path`, weight by weight.

        Args:
            model: The model; unchanged by the call.
            external: Put weights into ``<name>.data`` beside the file. By default they go where
                those of the file went that the model was read from, unless the model gets too
                large for a single file.

        Raises:
            FileError: The files cannot be written: the disk is full, for instance.
        """
        if external is None:
            external = Origin.of(model).external
        try:
            if external or not write_single(model, self.path):
                write_external(model, self.path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise FileError(f"'{self.out}' cannot be written: {reason}", "It is as it was before.") from error

    def commit(self) -> None:
        """Move the files to their destination, replacing what is there."""
        staged = sorted(self.path.parent.iterdir(), key=lambda file: file == self.path)
        replaced: list[tuple[Path, Path]] = []
        try:
            for file in staged:  # the model last: what it refers to is there before it
                _sync(file)
                target = self.out.parent / file.name
                backup = file.with_name(file.name + ".old")
                if file != self.path and target.exists():
                    os.replace(target, backup)
                    replaced.append((backup, target))
                if target.is_file():
                    shutil.copymode(target, file)
                os.replace(file, target)
            _sync(self.out.parent)
        except OSError as error:
            for backup, target in replaced:
                os.replace(backup, target)
            raise FileError(f"'{self.out}' cannot be replaced: {error.strerror}") from error


@contextmanager
def staged(out: str | os.PathLike[str]) -> Iterator[Staged]:
    """Open a destination for writing; what is not committed is gone when the block ends.

    Raises:
        UsageError: The folder of ``out`` does not exist, or ``out`` is a folder.
        FileError: The folder of ``out`` cannot be written to.

    Example::

        with staged("model.onnx") as file:
            file.write(model)
            ...  # look at file.path; an exception leaves model.onnx as it was
            file.commit()
    """
    out = Path(out)
    check_destination(out)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    except OSError as error:
        raise FileError(f"'{out}' cannot be written: {error.strerror}") from error
    try:
        yield Staged(out, folder / out.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_destination(out: Path) -> None:
    """Raise a UsageError if nothing can be written to ``out``, before any work is done."""
    if not out.parent.is_dir():
        raise UsageError(f"the folder '{out.parent}' does not exist", "Create it first.")
    if out.exists() and not out.is_file():
        raise UsageError(f"'{out}' exists and is not a file")


def _sync(path: Path) -> None:
    """Have the system write a file, or the entries of a folder, to the disk now."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
