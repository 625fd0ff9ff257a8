"""Writing what Keras writes: ``.keras``, a SavedModel folder, ``.tflite``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import keras

from onnx_nhwc import files
from onnx_nhwc.export.keras.api import Exported, export
from onnx_nhwc.export.keras.checking import Runner, check, runner
from onnx_nhwc.export.keras.lite import lite_runner, save_model, to_lite
from onnx_nhwc.export.keras.running import WITH_ONEDNN, Executor, has_channels_first
from onnx_nhwc.export.names import io_name
from onnx_nhwc.files.weights import release
from onnx_nhwc.passes.errors import FileError, UsageError
from onnx_nhwc.passes.options import Checks, Options
from onnx_nhwc.verification.verdict import Verification

__all__ = ["Written", "check_destination", "write"]


class Written(NamedTuple):
    """What was written.

    Attributes:
        exported: The result.
        verification: How it compares with the source; None if that was not asked for.
        size: How many bytes were written.
        runs_on: What runs it, where that is not every TensorFlow; else empty.
    """

    exported: Exported
    verification: Verification | None
    size: int
    runs_on: str


def write(
    src: Path,
    dst: Path,
    options: Options,
    checks: Checks,
    *,
    progress: Callable[[str], None] = lambda phase: None,
) -> Written:
    """Convert an ONNX file, compare the result with the source, and only then write it."""
    check_destination(dst)
    suffix = dst.suffix.lower()
    if suffix != ".keras" and keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"'{dst}': only TensorFlow writes this, and Keras runs on {keras.backend.backend()}",
            "Set KERAS_BACKEND=tensorflow.",
        )
    source = files.read(src)
    exported = export(source, options, free=suffix != ".tflite", progress=progress)
    release(source)
    what = "LiteRT" if suffix == ".tflite" else f"Keras with {keras.backend.backend()}"

    def compared(run: Callable[[Sequence[str]], Runner]) -> Verification:
        progress("verify")
        result = check(
            src, run, exported.summary, exported.batch, rtol=checks.rtol, atol=checks.atol,
            seed=checks.seed, legal=io_name, shapes=options.shapes, what=what,
        )  # fmt: skip
        result.raise_if_different()
        return result

    found = None
    executor = Executor(exported.model)
    if checks.verify and suffix != ".tflite":
        found = compared(lambda outputs: runner(executor, outputs))
    progress("write")
    with _folder_beside(dst) as folder:
        staged = folder / dst.name
        _save(exported.model, staged)
        if checks.verify and suffix == ".tflite":
            found = compared(lambda outputs: lite_runner(staged, outputs))
        size = sum(file.stat().st_size for file in (staged, *staged.rglob("*")) if file.is_file())
        _commit(staged, dst, folder)
    runs_on = executor.place or (WITH_ONEDNN if has_channels_first(exported.model) else "")
    return Written(exported, found, size, runs_on)


@contextmanager
def _folder_beside(dst: Path) -> Iterator[Path]:
    """A hidden folder in which a result comes about; it is gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix=f".{dst.name}.", suffix=".tmp", dir=dst.parent))
    try:
        yield folder
    except OSError as error:
        raise FileError(f"'{dst}' cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_destination(dst: Path) -> None:
    """A SavedModel may replace a SavedModel; other folders are not touched."""
    if dst.suffix == "" and dst.is_dir() and ((dst / "saved_model.pb").is_file() or not any(dst.iterdir())):
        return
    files.check_destination(dst)


def _save(model: Any, path: Path) -> None:
    suffix = path.suffix.lower()
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        if suffix == ".keras":
            model.save(path)
        elif suffix == ".tflite":
            path.write_bytes(to_lite(model))
        else:
            save_model(model, path)


def _commit(staged: Path, dst: Path, folder: Path) -> None:
    """Move the result to its destination; what was there before goes last."""
    if dst.is_dir():
        os.rename(dst, folder / "replaced")
    os.replace(staged, dst)
