"""Writing a model weight by weight.

A weight that is still where it was read from is copied by the system, from file to file. One that
was re-laid is a view of such a weight, which is put into its order piece by piece on its way out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from onnx_nhwc.files import wire
from onnx_nhwc.files.weights import in_order, is_plain, release, serialize

__all__ = ["write_external", "write_single"]

Array = npt.NDArray[Any]

PROTOBUF_LIMIT = 2**31 - 1  # bytes; a larger message cannot be parsed
_EXTERNAL = 1024  # bytes; smaller weights stay in the model, where runtimes look for shapes
_STREAMED = 4096  # bytes; streaming a smaller weight gains nothing
_ALIGNMENT = 64  # bytes, so that every type is aligned when mapped
_PIECE = 1 << 24  # bytes of a weight that are put in order at a time


def write_single(model: ir.Model, path: Path) -> bool:
    """Write ``model`` into one file; if that would be too large, write nothing, return False.

    The file is what protobuf would have written, but for the order of the fields: the graph
    comes last, and in it the initializers.

    Raises:
        OSError: The file cannot be written.
    """
    streamed = {str(value.name): tensor for value, tensor in _weights([model.graph], _STREAMED)}
    proto = serialize(
        model,
        ((value, _reference(tensor, "", 0)) for value, tensor in _weights([model.graph], _STREAMED)),
    )
    entries = [_entry(tensor, streamed.get(tensor.name)) for tensor in proto.graph.initializer]
    proto.graph.ClearField("initializer")
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    rest = proto.SerializeToString()

    size = len(graph) + sum(len(head) + (t.nbytes if t else 0) for head, t in entries)
    if len(rest) + size + 16 > PROTOBUF_LIMIT:
        return False
    with open(path, "wb") as file:
        file.write(rest + wire.prefix(wire.GRAPH, size) + graph)
        for head, tensor in entries:
            file.write(head)
            if tensor is not None:
                _stream(tensor, file)
                release(model)
    return True


def write_external(model: ir.Model, path: Path) -> None:
    """Write ``model`` with its weights in ``<path>.data``.

    Raises:
        OSError: A file cannot be written.
    """
    data = path.with_name(path.name + ".data")
    references: list[tuple[ir.Value, ir.ExternalTensor]] = []
    with open(data, "wb") as file:
        for value, tensor in _weights(model.graphs(), _EXTERNAL):
            file.write(bytes(-file.tell() % _ALIGNMENT))
            references.append((value, _reference(tensor, data.name, file.tell())))
            _stream(tensor, file)
            release(model)
    with open(path, "wb") as file:
        file.write(serialize(model, references).SerializeToString())


def _weights(graphs: Iterable[ir.Graph], threshold: int) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    """Yield the initializers of at least ``threshold`` bytes."""
    for graph in graphs:
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.dtype == ir.DataType.STRING:
                continue
            if tensor.nbytes >= threshold:
                yield value, tensor


def _reference(tensor: ir.TensorProtocol, location: str, offset: int) -> ir.ExternalTensor:
    return ir.ExternalTensor(
        location,
        offset,
        tensor.nbytes,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name or "",
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
    )


def _entry(
    proto: onnx.TensorProto, tensor: ir.TensorProtocol | None
) -> tuple[bytes, ir.TensorProtocol | None]:
    """Return an initializer's bytes up to its data, and its data if they are to be streamed."""
    size = 0
    ending = b""
    if tensor is not None:
        proto.ClearField("data_location")
        proto.ClearField("external_data")
        size = tensor.nbytes
        ending = wire.prefix(wire.RAW_DATA, size)
    head = proto.SerializeToString() + ending
    return wire.prefix(wire.INITIALIZER, len(head) + size) + head, tensor


def _stream(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    start = file.tell()
    if isinstance(tensor, ir.LazyTensor):
        tensor = tensor.raw()  # evaluate, and keep nothing of it
    if isinstance(tensor, ir.Tensor) and is_plain(tensor.dtype):
        for piece in _pieces(tensor.numpy()):
            file.write(piece.reshape(-1).view(np.uint8).data)
    elif isinstance(tensor, ir.ExternalTensor):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())
    if file.tell() - start != tensor.nbytes:  # would corrupt all that follows
        raise AssertionError(f"weight '{tensor.name}' is not of its size, {tensor.nbytes} bytes")


def _pieces(array: Array) -> Iterator[Array]:
    """Yield the elements of ``array`` in order, in contiguous arrays of a bounded size."""
    if array.flags.c_contiguous:
        yield array
    elif array.nbytes <= _PIECE or array.ndim < 2:
        yield in_order(array)
    else:
        rows = max(1, _PIECE * len(array) // array.nbytes)
        for start in range(0, len(array), rows):
            part = array[start : start + rows]
            yield from _pieces(part[0] if rows == 1 else part)
