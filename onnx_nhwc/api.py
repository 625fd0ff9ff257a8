"""The functions of the package: models in, models out."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from onnx_nhwc import files
from onnx_nhwc.extra import import_extra, with_onednn
from onnx_nhwc.files.formats import format_of
from onnx_nhwc.files.weights import release, to_proto
from onnx_nhwc.passes.errors import UsageError
from onnx_nhwc.passes.pipeline import Options, convert
from onnx_nhwc.report.report import Report
from onnx_nhwc.verification.verdict import verify as run_verification

__all__ = [
    "convert_channels_first_to_last",
    "convert_channels_last_to_first",
    "convert_file",
    "to_channels_first",
    "to_channels_last",
    "to_keras",
]

Model = onnx.ModelProto | ir.Model | str | os.PathLike[str]
Layouts = Mapping[str, str | tuple[int, ...]]
Shapes = Mapping[str, tuple[int | None, ...]]


def to_channels_last(
    model: Model,
    *,
    dialect: str = "functions",
    io: str = "auto",
    layouts: Layouts | None = None,
    shapes: Shapes | None = None,
) -> onnx.ModelProto:
    """Return a model that computes the same with channels last.

    Args:
        model: A model, which is left as it is, or the path of an ``.onnx`` file.
        dialect: ``"functions"`` writes channels-last operators as model-local functions
            (``onnx_nhwc.Conv2D``, ...), ``"standard"`` uses operators of ONNX only.
        io: ``"auto"`` lets the model's own inputs and outputs change their layout where they are
            images (or signals, or volumes); ``"keep"`` does not.
        layouts: Layouts of inputs and outputs by name, as letters (``"NHWC"``) or as a
            permutation (``(0, 2, 3, 1)``: stored axis ``i`` is the source's axis ``perm[i]``).
        shapes: Sizes of inputs by name, which fix dynamic dimensions, in the source's layout.

    Returns:
        The converted model. ``metadata_props["onnx_nhwc.layouts"]`` states the layout of every
        input and output.

    Raises:
        ConversionError: The model cannot be converted.
    """
    return _converted(model, _options("channels-last", dialect, io, layouts, shapes))


def to_channels_first(
    model: Model,
    *,
    dialect: str = "functions",
    io: str = "auto",
    layouts: Layouts | None = None,
    shapes: Shapes | None = None,
) -> onnx.ModelProto:
    """Return a model that computes the same with channels first.

    Arguments, result and exceptions are those of :func:`to_channels_last`.
    """
    return _converted(model, _options("channels-first", dialect, io, layouts, shapes))


def to_keras(
    model: Model,
    *,
    io: str = "auto",
    layouts: Layouts | None = None,
    shapes: Shapes | None = None,
) -> Any:
    """Return a functional Keras model that computes the same, channels last.

    It is made of Keras's own layers and operations: saved, it loads wherever Keras is, on every
    backend. Weights are trainable where Keras's are, layers are called as the nodes were, and the
    batch is free, also where the source fixes it at 1, if it provably only passes through.

    Args:
        model: A model, which is left as it is, or the path of an ``.onnx`` file.
        io: As in :func:`to_channels_last`.
        layouts: As in :func:`to_channels_last`.
        shapes: As in :func:`to_channels_last`.

    Returns:
        A ``keras.Model``. With several outputs, it returns a dictionary by their names.

    Raises:
        ConversionError: The model cannot be converted. If Keras cannot express some of its nodes,
            the error names all of them, and is raised before any weight is moved.
        UsageError: Keras is not installed.
    """
    return import_extra("onnx_nhwc.export.keras.api").to_keras(model, io=io, layouts=layouts, shapes=shapes)


def convert_channels_first_to_last(model: Any) -> Any:
    """Return a Keras model that computes the same as ``model``, with channels last.

    Layers keep their names and parameters, as far as they are one layer in the result, too.
    Images, signals and volumes are taken and returned channels last.

    Args:
        model: A ``keras.Model``, which is left as it is. Keras must run on TensorFlow.

    Returns:
        A functional ``keras.Model`` of Keras's own layers, with inputs and outputs nested as before.

    Raises:
        ConversionError: The model cannot be converted.
        UsageError: Keras, TensorFlow or tf2onnx is not installed, or Keras runs on another backend.
    """
    return import_extra("onnx_nhwc.export.keras.conversion").channels_first_to_last(model)


def convert_channels_last_to_first(model: Any) -> Any:
    """Return a Keras model that computes the same as ``model``, with channels first.

    Argument, result and exceptions are those of :func:`convert_channels_first_to_last`.
    """
    return import_extra("onnx_nhwc.export.keras.conversion").channels_last_to_first(model)


def convert_file(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    to: str = "channels-last",
    dialect: str = "functions",
    io: str = "auto",
    layouts: Layouts | None = None,
    shapes: Shapes | None = None,
    verify: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Convert a file, compare the result with the source, and only then write it.

    Weights are streamed from file to file. ``dst`` is replaced at the end: it is either as it was
    or complete, together with its external data. It may be the same file as ``src``.

    Args:
        src: The file to read.
        dst: The file to write.
        to: ``"channels-last"`` or ``"channels-first"``.
        dialect: As in :func:`to_channels_last`.
        io: As in :func:`to_channels_last`.
        layouts: As in :func:`to_channels_last`.
        shapes: As in :func:`to_channels_last`.
        verify: Run both models on onnxruntime and compare their outputs.
        rtol: Relative tolerance of that comparison, by default 1e-4 for float32.
        atol: Absolute tolerance of that comparison, by default 1e-5 for float32.
        seed: Seed of the inputs that both are run on.
        progress: Is called with the name of each phase as it starts.

    Returns:
        What was done.

    Raises:
        UsageError: An option is wrong, or a file or a folder does not exist.
        FileError: A file cannot be read or written.
        VerificationError: The result differs from the source, or cannot be compared with it.
        ConversionError: The model cannot be converted. All of the above are ConversionErrors too.
    """
    src, dst = Path(src), Path(dst)
    options = _options(to, dialect, io, layouts, shapes)
    reader, target = format_of(src, "read").read, format_of(dst, "write")
    if reader is not None and reader is not files.read:
        return _convert_via_onnx(
            src, reader, dst, to=to, dialect=dialect, io=io, layouts=layouts, shapes=shapes,
            verify=verify, rtol=rtol, atol=atol, seed=seed, progress=progress,
        )  # fmt: skip
    clock = _Clock(progress)
    if target.keras:
        if to != "channels-last" and target.name == "LiteRT":
            raise UsageError(f"'{dst}': LiteRT has channels-last operators only")
        clock.start("convert")
        with with_onednn(to == "channels-first"):
            written = import_extra("onnx_nhwc.export.keras.writing").write(
                src, dst, options, verify=verify, rtol=rtol, atol=atol, seed=seed, progress=clock.start
            )
        seconds, exported = clock.stop(), written.exported
        return Report(
            str(src), str(dst), to, dialect, exported.summary, written.verification, written.size, seconds,
            exported.batch.describe(), written.runs_on,
        )  # fmt: skip
    writer = target.write
    assert reader is not None
    assert writer is not None
    files.check_destination(dst)
    clock.start("read")
    model = reader(src)

    def phase(name: str) -> None:
        release(model)
        if progress is not None:
            progress(name)

    clock.start("convert")
    summary = convert(model, options, phase)
    with files.staged(dst) as staged:
        clock.start("write")
        writer(staged, model)
        size = sum(file.stat().st_size for file in staged.path.parent.iterdir())
        result = None
        if verify:
            clock.start("verify")
            result = run_verification(
                src,
                staged.path,
                rtol=rtol,
                atol=atol,
                seed=seed,
                values=getattr(summary, "values", None),
            )
            result.raise_if_different()
        clock.start("commit")
        staged.commit()
    return Report(str(src), str(dst), to, dialect, summary, result, size, clock.stop())


def _convert_via_onnx(src: Path, reader: Callable[[Path], ir.Model], dst: Path, **options: Any) -> Report:
    """Convert a file of another kind, which is read into an ONNX file first."""
    clock = _Clock(options["progress"])
    clock.start("read")
    # reading starts TensorFlow, which runs the result too
    first = options["to"] == "channels-first" and format_of(dst, "write").keras
    with with_onednn(first), tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
        between = Path(folder, "source.onnx")
        with files.staged(between) as staged:
            staged.write(reader(src))
            staged.commit()
        seconds = clock.stop()
        report = convert_file(between, dst, **options)
    return replace(report, source=str(src), seconds={**seconds, **report.seconds})


def _options(to: str, dialect: str, io: str, layouts: Layouts | None, shapes: Shapes | None) -> Options:
    return Options(to=to, dialect=dialect, io=io, layouts=layouts or {}, shapes=shapes or {})


def _converted(model: Model, options: Options) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        work = files.from_proto(model)
    elif isinstance(model, ir.Model):
        work = files.from_proto(to_proto(model))
    else:
        work = files.read(model)
    convert(work, options)
    return to_proto(work)


class _Clock:
    """Measures phases, one after the other, and announces them."""

    def __init__(self, progress: Callable[[str], None] | None) -> None:
        self._progress = progress
        self._seconds: dict[str, float] = {}
        self._running = ""
        self._since = 0.0

    def start(self, name: str) -> None:
        self.stop()
        self._running, self._since = name, time.perf_counter()
        if self._progress is not None:
            self._progress(name)

    def stop(self) -> dict[str, float]:
        if self._running:
            self._seconds[self._running] = time.perf_counter() - self._since
            self._running = ""
        return self._seconds
