"""Just enough of the protobuf wire format to leave the weights of an ONNX file where they are.

Parsing a 2 GB model with protobuf copies every weight at least once, and serializing it copies
every weight again. This module takes a file apart along its length prefixes instead: the
weights stay on disk, described as external data that lies in the ``.onnx`` file itself, and only
the rest is given to protobuf. :func:`prefix` is what writing needs: tag and length before bytes
that are then streamed.

The field numbers are those of onnx.proto: ``ModelProto.graph`` = 7, ``GraphProto.initializer`` =
5, ``TensorProto.raw_data`` = 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import onnx

__all__ = ["GRAPH", "INITIALIZER", "RAW_DATA", "TruncatedError", "prefix", "skim"]

GRAPH = 7
INITIALIZER = 5
RAW_DATA = 9

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class TruncatedError(ValueError):
    """A field reaches beyond the end of the message that holds it."""


class _Field(NamedTuple):
    number: int
    wire: int
    start: int  # where its tag starts
    body: int  # where its value starts
    end: int


def prefix(number: int, length: int) -> bytes:
    """Return tag and length of a field of ``length`` bytes, which are to follow.

    >>> prefix(7, 300).hex()
    '3aac02'
    """
    return _varint(number << 3 | _BYTES) + _varint(length)


def skim(data: memoryview, location: str, threshold: int = 1 << 16) -> bytes:
    """Return the serialized model in ``data`` without its large weights.

    Initializers of the main graph with at least ``threshold`` bytes of ``raw_data`` refer to
    ``location`` instead, as external data at their offset in ``data``.

    Raises:
        TruncatedError: The data end in the middle of a field.
        ValueError: The data are not in protobuf's wire format.
    """
    pieces: list[bytes | memoryview] = []
    for field in _fields(data, 0, len(data)):
        if field.number == GRAPH and field.wire == _BYTES:
            graph = b"".join(_skim_graph(data, field, location, threshold))
            pieces += prefix(GRAPH, len(graph)), graph
        else:
            pieces.append(data[field.start : field.end])
    return b"".join(pieces)


def _skim_graph(
    data: memoryview, graph: _Field, location: str, threshold: int
) -> Iterator[bytes | memoryview]:
    kept = graph.body
    for field in _fields(data, graph.body, graph.end):
        if field.number != INITIALIZER or field.wire != _BYTES:
            continue
        if field.end - field.body < threshold:
            continue
        parts = list(_fields(data, field.body, field.end))
        raw = next((f for f in parts if f.number == RAW_DATA and f.wire == _BYTES), None)
        if raw is None or raw.end - raw.body < threshold:
            continue
        reference = _reference(location, raw.body, raw.end - raw.body)
        tensor = b"".join(data[f.start : f.end] for f in parts if f is not raw) + reference
        yield data[kept : field.start]
        yield prefix(INITIALIZER, len(tensor)) + tensor
        kept = field.end
    yield data[kept : graph.end]


def _reference(location: str, offset: int, length: int) -> bytes:
    tensor = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
    serialized: bytes = tensor.SerializeToString()
    return serialized


def _fields(data: memoryview, start: int, end: int) -> Iterator[_Field]:
    """Walk the fields of the message ``data[start:end]``, without looking into them."""
    while start < end:
        tag, body = _read_varint(data, start, end)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("not in protobuf's wire format: field number 0")
        if wire == _BYTES:
            length, body = _read_varint(data, body, end)
            stop = body + length
        elif wire == _VARINT:
            stop = _read_varint(data, body, end)[1]
        elif wire == _FIXED64:
            stop = body + 8
        elif wire == _FIXED32:
            stop = body + 4
        else:
            raise ValueError(f"not in protobuf's wire format: wire type {wire}")
        if stop > end:
            raise TruncatedError(f"{stop - end} bytes are missing")
        yield _Field(number, wire, start, body, stop)
        start = stop


def _read_varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("not in protobuf's wire format: a number of more than 64 bits")
    raise TruncatedError("it ends within a number")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
