"""Padding of windows: what ONNX states in numbers and Keras in words.

Keras knows ``valid`` and ``same``, the latter as TensorFlow means it: as much as is needed for
``ceil(size / stride)`` windows, the odd one at the end. Anything else is a layer of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import layers, ops

from onnx_nhwc.export.images import Images
from onnx_nhwc.export.keras.call import Call
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["Window", "crop", "pad_image", "subsample"]

Pairs = list[tuple[int, int]]


@dataclass
class Window:
    """The windows of a convolution or a pool over an image.

    ``pads`` holds what is padded before and behind each axis.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: Pairs
    same: bool

    @staticmethod
    def of(call: Call, kernel: Sequence[int], ceil: bool = False) -> Window:
        n = len(kernel)
        strides = call.attribute("strides") or [1] * n
        dilations = call.attribute("dilations") or [1] * n
        flat = call.attribute("pads") or [0] * (2 * n)
        window = Window(list(kernel), list(strides), list(dilations), [], False)
        auto = call.attribute("auto_pad", "NOTSET")
        sizes = call.images.sizes(call.shape(0))
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            window.pads = window._auto(sizes, auto == "SAME_LOWER")
        else:
            flat = [0] * (2 * n) if auto == "VALID" else flat
            window.pads = list(zip(flat[:n], flat[n:], strict=True))
        window.same = window._is_same(sizes) or auto == "SAME_UPPER"
        if ceil:
            window._extend(sizes)
        return window

    @property
    def extents(self) -> list[int]:
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    @property
    def causal(self) -> bool:
        """Is a signal padded so that nothing depends on what comes later?"""
        return len(self.kernel) == 1 and self.padded and self.pads == [(self.extents[0] - 1, 0)]

    @property
    def padded(self) -> bool:
        return any(a or b for a, b in self.pads)

    def _needed(self, size: int, axis: int) -> int:
        """What ``same`` pads along an axis."""
        stride, extent = self.strides[axis], self.extents[axis]
        return max((-(-size // stride) - 1) * stride + extent - size, 0)

    def _auto(self, sizes: Sequence[int | None], lower: bool) -> Pairs:
        pads: Pairs = []
        for axis, size in enumerate(sizes):
            if size is None and self.strides[axis] > 1:
                if lower:
                    raise UnsupportedError("SAME_LOWER with strides needs to know the image's size")
                pads.append((-1, -1))
                continue
            total = self._needed(size or 1, axis) if size else self.extents[axis] - 1
            small, large = total // 2, total - total // 2
            pads.append((large, small) if lower else (small, large))
        return pads

    def _is_same(self, sizes: Sequence[int | None]) -> bool:
        if not self.padded:
            return False
        for axis, size in enumerate(sizes):
            if size is None and self.strides[axis] > 1:
                return False
            total = self._needed(size, axis) if size else self.extents[axis] - 1
            if self.pads[axis] != (total // 2, total - total // 2):
                return False
        return True

    def _extend(self, sizes: Sequence[int | None]) -> None:
        """Pad behind, so that a last window that is cut off counts as well (ceil_mode).

        With ``stride - 1`` elements more, as many windows fit whole as would begin without them; with
        ``extent - 1`` behind the image, as many as begin in it, which is the limit. More than a window
        needs does no harm where the size is not known.
        """
        for axis, size in enumerate(sizes):
            before, behind = self.pads[axis]
            stride, extent = self.strides[axis], self.extents[axis]
            if size is None:
                if stride > 1 and before >= 0:
                    self.pads[axis] = (before, max(min(behind + stride - 1, extent - 1), 0))
                    self.same = False
                continue
            room = size + before + behind - extent
            count = -(-room // stride) + 1
            if (count - 1) * stride >= size + before:
                count -= 1
            more = (count - 1) * stride - room
            if more > 0:
                self.pads[axis] = (before, behind + more)
                self.same = False
            elif more < 0 and self.same:
                self.same = False


def pad_image(call: Call, x: Any, pads: Pairs, value: float = 0.0, images: Images | None = None) -> Any:
    """Pad (or crop, where negative) the spatial axes."""
    images = images or call.images
    if any(a < 0 or b < 0 for a, b in pads):
        x = crop(call, x, [(max(-a, 0), max(-b, 0)) for a, b in pads], images)
        pads = [(max(a, 0), max(b, 0)) for a, b in pads]
    if not any(a or b for a, b in pads):
        return x
    if value == 0.0:
        cls = {1: layers.ZeroPadding1D, 2: layers.ZeroPadding2D, 3: layers.ZeroPadding3D}[len(pads)]
        return _bordered(call, x, cls, pads, "pad", images)
    return ops.pad(x, images.join((0, 0), (0, 0), pads), constant_values=value)


def crop(call: Call, x: Any, crops: Pairs, images: Images | None = None) -> Any:
    """Cut the spatial axes."""
    images = images or call.images
    if not any(a or b for a, b in crops):
        return x
    if images.first and len(crops) == 1:  # Cropping1D is channels last
        before, behind = crops[0]
        return x[..., before : -behind or None]
    cls = {1: layers.Cropping1D, 2: layers.Cropping2D, 3: layers.Cropping3D}[len(crops)]
    return _bordered(call, x, cls, crops, "crop", images)


def _bordered(call: Call, x: Any, cls: Any, pairs: Pairs, suffix: str, images: Images) -> Any:
    plain = len(pairs) == 1 and not images.first
    config = {} if plain else {"data_format": images.data_format}
    amount = tuple(pairs[0]) if len(pairs) == 1 else tuple(map(tuple, pairs))
    if call.op_type in ("Pad", "Slice"):  # nothing but this layer
        stated: dict[str, Any] = {"padding" if suffix == "pad" else "cropping": amount, **config}
        return call.layer(cls, dtype=x.dtype, **stated)(x)
    name = call.walk.names.unique(f"{call.name()}_{suffix}")
    return call.parts.keep(cls(amount, name=name, dtype=x.dtype, **config))(x)


def subsample(call: Call, x: Any, strides: Sequence[int]) -> Any:
    """Keep every so many-th element of the spatial axes."""
    if all(stride == 1 for stride in strides):
        return x
    steps = [slice(None, None, stride) for stride in strides]
    return x[call.images.join(slice(None), slice(None), steps)]
