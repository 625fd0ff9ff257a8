"""The functions of the package: models in, models out."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from onnx_nhwc import files
from onnx_nhwc.extra import import_extra, with_onednn
from onnx_nhwc.files.formats import Format, format_of
from onnx_nhwc.files.weights import release, to_proto
from onnx_nhwc.passes.errors import UsageError
from onnx_nhwc.passes.options import DEFAULTS, Checks, Options
from onnx_nhwc.passes.pipeline import convert
from onnx_nhwc.report.report import Report
from onnx_nhwc.verification.verdict import verify as run_verification

__all__ = [
    "convert_channels_first_to_last",
    "convert_channels_last_to_first",
    "convert_file",
    "to_channels_first",
    "to_channels_last",
    "to_keras",
    "to_torch",
]

Model = onnx.ModelProto | ir.Model | str | os.PathLike[str]
Layouts = Mapping[str, str | tuple[int, ...]]
Shapes = Mapping[str, tuple[int | None, ...]]


def to_channels_last(
    model: Model,
    *,
    dialect: str = DEFAULTS.dialect,
    io: str = DEFAULTS.io,
    layouts: Layouts | None = None,
    shapes: Shapes | None = None,
) -> onnx.ModelProto:
    """Return a model that computes the same with channels last.

    Args:
        model: A model, which is left as it is, or the path of an ``.onnx`` file.
        dialect: How channels-last operators are written.
        io: May the model's own inputs and outputs change their layout?
        layouts: Layouts of inputs and outputs by name, which beat ``io``.
        shapes: Sizes of inputs by name, which fix dynamic dimensions.

    What each may be, :class:`onnx_nhwc.passes.options.Options` says.

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
    dialect: str = DEFAULTS.dialect,
    io: str = DEFAULTS.io,
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
    io: str = DEFAULTS.io,
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


def to_torch(
    model: Model,
    *,
    io: str = DEFAULTS.io,
    layouts: Layouts | None = None,
    shapes: Shapes | None = None,
) -> Any:
    """Return a ``torch.nn.Module`` that computes the same, channels first.

    It is made by source code that is written for it: modules of torch in classes by the scopes of the
    names, each block once, with the original's keys in the state dict where the names carry them. A model
    that is channels first already keeps its own order; one that is channels last is converted. With
    several outputs, the module returns a tuple in their order. It is in evaluation mode.

    Args:
        model: A model, which is left as it is, or the path of an ``.onnx`` file.
        io: As in :func:`to_channels_first`.
        layouts: As in :func:`to_channels_first`.
        shapes: As in :func:`to_channels_first`.

    Raises:
        ConversionError: The model cannot be converted. If PyTorch cannot express some of its nodes,
            the error names all of them.
        UsageError: PyTorch is not installed.
    """
    options = _options("channels-first", DEFAULTS.dialect, io, layouts, shapes)  # before torch is looked for
    return import_extra("onnx_nhwc.export.torch.api").to_torch(model, options)


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
    to: str = DEFAULTS.to,
    dialect: str = DEFAULTS.dialect,
    io: str = DEFAULTS.io,
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
    options = _options(to, dialect, io, layouts, shapes)
    return _Job(Path(src), Path(dst), options, Checks(verify, rtol, atol, seed), progress).run()


@dataclass
class _Job:
    """One conversion of a file."""

    src: Path
    dst: Path
    options: Options
    checks: Checks
    progress: Callable[[str], None] | None

    def run(self) -> Report:
        reader, target = format_of(self.src, "read").read, format_of(self.dst, "write")
        if reader is not None and reader is not files.read:
            return self._via_onnx(reader, target)
        if target.keras:
            return self._to_keras(target)
        assert target.write is not None
        return self._to_onnx(target.write)

    def _to_onnx(self, writer: Callable[[files.Staged, ir.Model], None]) -> Report:
        clock, checks = _Clock(self.progress), self.checks
        files.check_destination(self.dst)
        clock.start("read")
        model = files.read(self.src)

        def phase(name: str) -> None:
            release(model)
            if self.progress is not None:
                self.progress(name)

        clock.start("convert")
        summary = convert(model, self.options, phase)
        with files.staged(self.dst) as staged:
            clock.start("write")
            writer(staged, model)
            size = sum(file.stat().st_size for file in staged.path.parent.iterdir())
            result = None
            if checks.verify:
                clock.start("verify")
                result = run_verification(
                    self.src, staged.path, rtol=checks.rtol, atol=checks.atol, seed=checks.seed,
                    values=getattr(summary, "values", None),
                )  # fmt: skip
                result.raise_if_different()
            clock.start("commit")
            staged.commit()
        return self._report(summary, result, size, clock.stop())

    def _to_keras(self, target: Format) -> Report:
        """Whatever Keras writes."""
        first = self.options.to == "channels-first"
        if first and target.name == "LiteRT":
            raise UsageError(f"'{self.dst}': LiteRT has channels-last operators only")
        clock = _Clock(self.progress)
        clock.start("convert")
        with with_onednn(first):
            writing = import_extra("onnx_nhwc.export.keras.writing")
            written = writing.write(self.src, self.dst, self.options, self.checks, progress=clock.start)
        exported = written.exported
        return self._report(
            exported.summary, written.verification, written.size, clock.stop(), exported.batch.describe(),
            written.runs_on,
        )  # fmt: skip

    def _via_onnx(self, reader: Callable[[Path], ir.Model], target: Format) -> Report:
        """Convert a file of another kind, which is read into an ONNX file first."""
        clock = _Clock(self.progress)
        clock.start("read")
        # reading starts TensorFlow, which runs the result too
        first = self.options.to == "channels-first" and target.keras
        with with_onednn(first), tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
            between = Path(folder, "source.onnx")
            with files.staged(between) as staged:
                staged.write(reader(self.src))
                staged.commit()
            seconds = clock.stop()
            report = replace(self, src=between).run()
        return replace(report, source=str(self.src), seconds={**seconds, **report.seconds})

    def _report(self, *results: Any) -> Report:
        options = self.options
        return Report(str(self.src), str(self.dst), options.to, options.dialect, *results)


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
