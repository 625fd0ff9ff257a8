"""The compiler: passes over onnx_ir models that decide and apply memory layouts.

The whole pipeline is an onnx_ir pass, :class:`ChannelsLast` (or :class:`ChannelsFirst`), so that it
drops into somebody else's pass pipeline; so is each of its steps on its own.

>>> import onnx_ir
>>> pipeline = onnx_ir.passes.Sequential(Normalize(), ChannelsLast(dialect="standard"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ir_passes import ChannelsFirst, ChannelsLast, CollapseViews, Lower, Normalize, Recognize

__all__ = ["ChannelsFirst", "ChannelsLast", "CollapseViews", "Lower", "Normalize", "Recognize"]


def __getattr__(name: str) -> object:
    """Import the compiler when one of its passes is first used, not with the package's errors."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import ir_passes

    value: object = getattr(ir_passes, name)
    return value
