"""The page of operators: ``python -m onnx_nhwc.keras.operators``, by the name that the README gave it."""

from __future__ import annotations

from onnx_nhwc.export.keras.operators import markdown

__all__ = ["markdown"]

if __name__ == "__main__":
    print(markdown(), end="")
