"""Whole models of Keras 1 and 2, as Keras 3 reads them."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnx_nhwc.legacy.hdf5 import LegacyFile, opened, write_legacy
from onnx_nhwc.legacy.job import Job
from onnx_nhwc.legacy.kernels import ROTATED
from onnx_nhwc.legacy.upgrade import upgraded
from onnx_nhwc.passes.errors import ConversionError, FileError

__all__ = ["LegacyWarning", "architecture_for", "readable"]


class LegacyWarning(UserWarning):
    """A file of Keras 1 or 2 does not say enough, or a layer of it is not what it was."""


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Yield an HDF5 file that ``load_model`` of Keras 3 reads as the Keras that wrote ``path`` did.

    It is ``path`` itself, if nothing in it has to change. Its hard_sigmoid may be
    :data:`onnx_nhwc.legacy.upgrade.HARD_SIGMOID`.

    Raises:
        FileError: It is no HDF5 file, or holds no model.
        ConversionError: A layer has no counterpart.
    """
    with opened(path) as file:
        if file.config is None:
            raise FileError(
                f"'{path}' holds weights alone, no model",
                "Build the model in Keras, load_weights, and save it as .keras.",
            )
        if file.version[0] not in "12":
            yield path
            return
        job = Job(file, "tensorflow", None, {}, {})
        job.version, job.architecture = file.version[0], file.config
        job.prepare(file.backend or "tensorflow", None)
        _warn_of_doubt(file, job)
        config = _upgraded(job, exact=True)
        if config == file.config and job.version == "2" and not job.rotates:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="onnx-nhwc-") as folder:
            result = Path(folder, "model.h5")
            write_legacy(result, file, map(job.convert, file.groups()), job.said(), config)
            yield result


def architecture_for(job: Job) -> dict[str, Any] | None:
    """The architecture that goes with the weights that ``job`` converts, if their file has one."""
    if job.file.config is None:
        return None
    try:
        as_it_is = job.version != "1" and job.to_backend == "theano"  # Keras 2 is to read it
        config = dict(job.file.config) if as_it_is else _upgraded(job)
    except ConversionError as error:
        warnings.warn(f"the result holds weights alone: {error}", LegacyWarning, stacklevel=3)
        return None
    return {**config, "backend": job.to_backend}


def _upgraded(job: Job, exact: bool = False) -> dict[str, Any]:
    assert job.file.config is not None
    theano = job.rotates and job.backend == "theano"
    config, changed = upgraded(job.file.config, job.version, theano=theano, exact=exact)
    if changed:
        warnings.warn(
            f"'{job.file.path}': these layers do not compute exactly what they did: {', '.join(changed)}",
            LegacyWarning,
            stacklevel=4,
        )
    return config


def _warn_of_doubt(file: LegacyFile, job: Job) -> None:
    if file.backend is None and job.version == "1" and any(x.kind in ROTATED for x in job.named.values()):
        warnings.warn(
            f"'{file.path}' does not say which backend wrote it; its convolutions are taken for "
            "TensorFlow's. If it was Theano, take the result of this instead: "
            f"python -m onnx_nhwc.legacy {file.path.name} new.h5 --from theano",
            LegacyWarning,
            stacklevel=3,
        )
