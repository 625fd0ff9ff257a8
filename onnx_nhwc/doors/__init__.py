"""At the door: other layouts for arrays, and for finished models that are not to be touched."""

from onnx_nhwc.doors.arrays import to_layout
from onnx_nhwc.doors.wrapping import wrap
from onnx_nhwc.passes.plausible import LayoutWarning

__all__ = ["LayoutWarning", "to_layout", "wrap"]
