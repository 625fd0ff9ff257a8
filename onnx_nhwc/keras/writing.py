"""Writing what Keras writes: ``.keras``, a SavedModel folder, ``.tflite``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import keras
import numpy as np

from onnx_nhwc import files
from onnx_nhwc.keras.api import Exported, export
from onnx_nhwc.keras.checking import Feeds, Runner, check, runner
from onnx_nhwc.keras.names import io_name
from onnx_nhwc.keras.values import Array
from onnx_nhwc.passes.errors import ConversionError, FileError, UsageError
from onnx_nhwc.passes.pipeline import Options
from onnx_nhwc.verification import Verification

__all__ = ["check_destination", "write"]


def write(
    src: Path,
    dst: Path,
    options: Options,
    *,
    verify: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda phase: None,
) -> tuple[Exported, Verification | None, int]:
    """Convert an ONNX file, compare the result with the source, and only then write it.

    Returns:
        The result, how it compares, and how many bytes were written.
    """
    check_destination(dst)
    suffix = dst.suffix.lower()
    if suffix != ".keras" and keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"'{dst}': only TensorFlow writes this, and Keras runs on {keras.backend.backend()}",
            "Set KERAS_BACKEND=tensorflow.",
        )
    exported = export(files.read(src), options, free=suffix != ".tflite", progress=progress)
    arguments: dict[str, Any] = {"rtol": rtol, "atol": atol, "seed": seed, "legal": io_name}
    arguments["shapes"] = options.shapes

    def compared(run: Callable[[Sequence[str]], Runner]) -> Verification:
        result = check(src, run, exported.summary, exported.batch, **arguments)
        result.raise_if_different()
        return result

    found = None
    if verify and suffix != ".tflite":
        progress("verify")
        found = compared(lambda outputs: runner(exported.model, outputs))
    progress("write")
    folder = Path(tempfile.mkdtemp(prefix=f".{dst.name}.", suffix=".tmp", dir=dst.parent))
    try:
        staged = folder / dst.name
        _save(exported.model, staged)
        if verify and suffix == ".tflite":
            progress("verify")
            found = compared(lambda outputs: _lite(staged, exported.model, outputs))
        size = sum(file.stat().st_size for file in (staged, *staged.rglob("*")) if file.is_file())
        _commit(staged, dst, folder)
    except OSError as error:
        raise FileError(f"'{dst}' cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return exported, found, size


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
            path.write_bytes(_to_lite(model))
        else:
            model.export(path, format="tf_saved_model", verbose=False)


def _to_lite(model: Any) -> bytes:
    """Convert to LiteRT through a SavedModel, with the names of inputs and outputs."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            data: bytes = converter.convert()
        except Exception as error:  # the converter raises what it likes
            reason = str(error).strip().split("\n")[0][:300]
            raise ConversionError(
                f"LiteRT has no form for some operator of this model: {reason}",
                "Write .keras or a SavedModel folder instead.",
            ) from error
    return data


def _lite(path: Path, model: Any, outputs: Sequence[str]) -> Runner:
    """What runs a ``.tflite`` file."""
    interpreter = _interpreter(path)
    signature = interpreter.get_signature_runner("serving_default")

    def run(feeds: Feeds) -> list[Array]:
        details = signature.get_input_details()
        names = {tensor.name: tensor.name for tensor in model.inputs}
        given = {}
        for key in details:
            name = key if key in feeds else names.get(key, next(iter(feeds)))
            given[key] = feeds[name]
        results = signature(**given)
        if len(outputs) == 1:
            return [np.asarray(next(iter(results.values())))]
        return [np.asarray(results[name]) for name in outputs]

    return run


def _interpreter(path: Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter  # noqa: N806
    return Interpreter(model_path=str(path), num_threads=1)


def _commit(staged: Path, dst: Path, folder: Path) -> None:
    """Move the result to its destination; what was there before goes last."""
    if dst.is_dir():
        os.rename(dst, folder / "replaced")
    os.replace(staged, dst)
