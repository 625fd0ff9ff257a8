"""What can be read and written, by suffix."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from onnx_nhwc import files
from onnx_nhwc.extra import import_extra
from onnx_nhwc.passes.errors import UsageError

__all__ = ["FORMATS", "Format", "format_of"]


@dataclass(frozen=True)
class Format:
    """How files of one kind are read and written.

    Attributes:
        name: What people call it.
        read: Reads a file; None if that is not possible.
        write: Writes a model to a file that is staged; None if that is not possible.
        keras: Is it written by Keras?
    """

    name: str
    read: Callable[[Path], ir.Model] | None = None
    write: Callable[[files.Staged, ir.Model], None] | None = None
    keras: bool = False


def _write_onnx(file: files.Staged, model: ir.Model) -> None:
    file.write(model)


def _read_keras(path: Path) -> ir.Model:
    """Read a Keras model, which takes Keras, TensorFlow and tf2onnx."""
    if not path.exists():
        raise UsageError(f"'{path}' does not exist")
    level = "TF_CPP_MIN_LOG_LEVEL"
    said = os.environ.get(level)
    os.environ.setdefault(level, "3")  # TensorFlow looks at it when it is loaded
    try:
        reading = import_extra("onnx_nhwc.load.keras.reading", f"'{path}': ")
        import_extra("tf2onnx", f"'{path}': ")
    finally:
        os.environ.pop(level, None)
        if said is not None:
            os.environ[level] = said
    model: ir.Model = reading.read(path)
    return model


FORMATS: dict[str, Format] = {
    ".onnx": Format("ONNX", files.read, _write_onnx),
    ".keras": Format("Keras", _read_keras, keras=True),
    ".h5": Format("Keras (HDF5)", _read_keras),
    ".tflite": Format("LiteRT", keras=True),
    "": Format("SavedModel", _read_keras, keras=True),
}


def format_of(path: Path, verb: str) -> Format:
    """Return the format of ``path``, which can be read (``verb="read"``) or written (``"write"``).

    Raises:
        UsageError: Files of this kind cannot be.
    """
    known = [suffix or "a folder" for suffix, entry in FORMATS.items() if _can(entry, verb)]
    entry = FORMATS.get(path.suffix.lower())
    done = {"read": "read", "write": "written"}[verb]
    remedy = f"These can be {done}: {', '.join(known)}"
    if entry is None:
        raise UsageError(f"'{path}': the suffix '{path.suffix}' is not known", remedy)
    if not _can(entry, verb):
        raise UsageError(f"'{path}': {entry.name} files cannot be {done} yet", remedy)
    return entry


def _can(entry: Format, verb: str) -> bool:
    return getattr(entry, verb) is not None or (verb == "write" and entry.keras)
