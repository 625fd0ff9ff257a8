"""Converts neural networks between channels first and channels last, and proves it.

>>> import onnx_nhwc
>>> model = onnx_nhwc.to_channels_last("model.onnx")  # doctest: +SKIP
>>> report = onnx_nhwc.convert_file("model.onnx", "nhwc.onnx")  # doctest: +SKIP

What is named here is imported when it is first used, so that importing the package, or a single
pass of it, costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_nhwc.api import (
        convert_channels_first_to_last,
        convert_channels_last_to_first,
        convert_file,
        to_channels_first,
        to_channels_last,
        to_keras,
        to_torch,
    )
    from onnx_nhwc.doors import LayoutWarning, to_layout, wrap
    from onnx_nhwc.legacy import convert_weights
    from onnx_nhwc.passes.errors import ConversionError, FileError, UsageError, VerificationError
    from onnx_nhwc.report.report import Report
    from onnx_nhwc.verification.verdict import Verification, verify

__all__ = [
    "ConversionError",
    "FileError",
    "LayoutWarning",
    "Report",
    "UsageError",
    "Verification",
    "VerificationError",
    "convert_channels_first_to_last",
    "convert_channels_last_to_first",
    "convert_file",
    "convert_weights",
    "to_channels_first",
    "to_channels_last",
    "to_keras",
    "to_layout",
    "to_torch",
    "verify",
    "wrap",
]

_HOMES = {
    "onnx_nhwc.api": {
        *("convert_channels_first_to_last", "convert_channels_last_to_first", "convert_file"),
        *("to_channels_first", "to_channels_last", "to_keras", "to_torch"),
    },
    "onnx_nhwc.doors": {"LayoutWarning", "to_layout", "wrap"},
    "onnx_nhwc.legacy": {"convert_weights"},
    "onnx_nhwc.passes.errors": {"ConversionError", "FileError", "UsageError", "VerificationError"},
    "onnx_nhwc.report.report": {"Report"},
    "onnx_nhwc.verification.verdict": {"Verification", "verify"},
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(importlib.import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
