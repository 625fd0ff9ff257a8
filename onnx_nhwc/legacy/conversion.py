"""``convert_weights``: HDF5 files of Keras 1 and 2 between backends and between data formats."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_nhwc.files.models import check_destination, staged
from onnx_nhwc.legacy import keras3
from onnx_nhwc.legacy.hdf5 import LegacyFile, opened, write_keras3, write_legacy
from onnx_nhwc.legacy.job import BACKENDS, Converted, Job
from onnx_nhwc.legacy.kernels import (
    FIRST,
    LAST,
)
from onnx_nhwc.legacy.models import architecture_for
from onnx_nhwc.passes.errors import UsageError

__all__ = ["convert_weights"]


def convert_weights(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    from_backend: str | None = None,
    to_backend: str = "tensorflow",
    data_format: str | None = None,
    source_data_format: str | None = None,
    keras_version: str | None = None,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    flatten: Mapping[str, Sequence[int]] | None = None,
    classes: Mapping[str, str] | None = None,
) -> Converted:
    """Convert a weights file of Keras 1 or 2 between backends and between data formats.

    Theano's convolution kernels are turned by 180 degrees; kernels in the order of Keras 1 are put
    into that of Keras 2 and 3; where ``data_format`` asks for another one, the rows of a Dense
    after a Flatten follow it, the columns of one that a Reshape makes an image of, and whatever else
    has one weight per feature or pixel.

    A ``dst`` that ends in ``.weights.h5`` is written as Keras 3 writes it, any other ``.h5`` as
    Keras 2 does; ``load_weights`` of Keras 3 reads both. A file that holds a whole model keeps it in
    a ``.h5`` that keeps its data format, where ``load_model`` of Keras 3 reads it.

    Args:
        src: An HDF5 file of Keras 1 or 2, a whole model or weights alone.
        dst: The file to write, which is replaced at the end.
        from_backend: ``"theano"``, ``"tensorflow"`` or ``"cntk"``; by default what the file says.
        to_backend: The backend that the result is for; those of Keras 3 are all as TensorFlow.
        data_format: ``"channels_first"`` or ``"channels_last"``: what the model that loads the
            result has. By default the file's own. Its Flatten is taken to keep the order of what
            it gets; in a channels-first model state ``Flatten(data_format="channels_last")``.
        source_data_format: The data format of the file, where neither its architecture nor
            ``config`` says.
        keras_version: The version that wrote the file, where it does not say; Keras 1 by default.
        config: For weights alone, their architecture: what ``model.to_json()`` returned, as a
            mapping or as the path of a file.
        flatten: For weights alone, the shape that is flattened before a Dense, by the name of
            the Dense, without the batch, in the file's data format: ``{"fc1": (512, 7, 7)}``. Empty
            if there is none. It beats what the architecture says.
        classes: For weights alone, the class of a layer whose name does not tell it, e.g.
            ``{"up1": "Conv2DTranspose"}``.

    Returns:
        What was done to which layer.

    Raises:
        UsageError: An argument is wrong, or there is no such file.
        FileError: The file is damaged, or not one of Keras 1 or 2.
        ConversionError: The file does not say enough, and what to state.
    """
    src, dst = Path(src), Path(dst)
    _check(dst, from_backend, to_backend, data_format, source_data_format)
    check_destination(dst)
    with opened(src) as file, staged(dst) as out:
        job = Job(file, to_backend, data_format, dict(flatten or {}), dict(classes or {}))
        job.flatten_stated = flatten is not None
        job.version = (keras_version or file.version)[0]
        job.architecture = _architecture(file, config)
        job.prepare(from_backend, source_data_format)
        groups = (job.convert(group) for group in file.groups())
        if dst.name.endswith(".weights.h5"):
            write_keras3(out.path, keras3.places(groups, job.order(), job.layers, job.kind))
        else:
            whole = None if job.reorders else architecture_for(job)
            write_legacy(out.path, file, groups, job.said(), whole)
        job.check_all_used()
        out.commit()
    return job.done


def _check(dst: Path, backend: str | None, to: str, *formats: str | None) -> None:
    for given in (backend, to):
        if given not in (None, *BACKENDS):
            raise UsageError(f"the backend '{given}' is not known", f"One of {', '.join(BACKENDS)}")
    for data_format in formats:
        if data_format not in (None, FIRST, LAST):
            raise UsageError(f"the data format '{data_format}' is not {FIRST} or {LAST}")
    if dst.suffix.lower() not in (".h5", ".hdf5"):
        raise UsageError(f"'{dst}': weights are written as .weights.h5 or .h5")


def _architecture(file: LegacyFile, given: Any) -> Mapping[str, Any] | None:
    if given is None:
        return file.config
    if not isinstance(given, Mapping):
        try:
            given = json.loads(Path(given).read_text())
        except (OSError, ValueError) as error:
            raise UsageError(f"the architecture '{given}' cannot be read: {error}") from error
    found: Mapping[str, Any] = given
    if "class_name" not in found or "config" not in found:
        raise UsageError("the architecture is not what model.to_json() returns")
    return found
