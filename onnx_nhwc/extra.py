"""Importing what the extras ``keras`` and ``torch`` bring, when it is first needed."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from onnx_nhwc.passes.errors import UsageError

__all__ = ["ONEDNN", "import_extra", "with_onednn"]

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
"""What switches TensorFlow's oneDNN on or off, when TensorFlow is started."""


def import_extra(name: str, subject: str = "") -> ModuleType:
    """Import a module that needs Keras, TensorFlow, tf2onnx or torch, or is one of them.

    Args:
        name: The module.
        subject: What needs it, to begin the error with.

    Raises:
        UsageError: Something of the extra is not installed.
    """
    try:
        with _uncollected():
            return importlib.import_module(name)
    except ImportError as error:
        missing = error.name or "keras"
        if missing.startswith("onnx_nhwc"):
            raise
        extra = "torch" if missing.partition(".")[0] == "torch" else "keras"
        raise UsageError(
            f"{subject}this needs '{missing}', which is not installed",
            f'Install it with: pip install "onnx-nhwc[{extra}]"',
        ) from error


@contextmanager
def with_onednn(wanted: bool) -> Iterator[None]:
    """Let a TensorFlow that is started now have oneDNN, unless the user has said whether it is to.

    Without it, TensorFlow has no channels-first operators on CPUs. One that is running stays as it is.
    """
    if not wanted or ONEDNN in os.environ or "tensorflow" in sys.modules:
        yield
        return
    os.environ[ONEDNN] = "1"
    try:
        yield
    finally:
        os.environ.pop(ONEDNN, None)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Do not look for garbage: of importing TensorFlow that is a quarter, and it finds none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
