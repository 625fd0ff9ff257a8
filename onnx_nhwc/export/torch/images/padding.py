"""Windows over images, and what is padded around these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx_nhwc.export.torch.call import Call, literal
from onnx_nhwc.export.values import UnsupportedError

__all__ = ["Window", "padded"]


@dataclass
class Window:
    """The windows of a convolution or a pool.

    Attributes:
        size: Of a window, along each axis.
        strides: Between windows.
        dilations: Between the elements of a window.
        pads: What is padded before and behind each axis.
    """

    size: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[tuple[int, int]]

    @staticmethod
    def of(call: Call, size: Sequence[int]) -> Window:
        n = len(size)
        strides = list(call.attribute("strides") or [1] * n)
        dilations = list(call.attribute("dilations") or [1] * n)
        flat = call.attribute("pads") or [0] * (2 * n)
        window = Window(list(size), strides, dilations, list(zip(flat[:n], flat[n:], strict=True)))
        auto = call.attribute("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            window.pads = window._same(call.shape(0)[2:], auto == "SAME_LOWER")
        elif auto == "VALID":
            window.pads = [(0, 0)] * n
        return window

    def _same(self, sizes: Sequence[int | None], lower: bool) -> list[tuple[int, int]]:
        pads = []
        for axis, size in enumerate(sizes):
            extent = (self.size[axis] - 1) * self.dilations[axis] + 1
            if size is None and self.strides[axis] > 1:
                raise UnsupportedError("it needs to know the image's size")
            total = extent - 1
            if size is not None:
                total = max((-(-size // self.strides[axis]) - 1) * self.strides[axis] + extent - size, 0)
            small, large = total // 2, total - total // 2
            pads.append((large, small) if lower else (small, large))
        return pads

    @property
    def symmetric(self) -> list[int]:
        """What a module pads by itself: as much before as behind."""
        even = all(a == b for a, b in self.pads)
        return [a for a, _ in self.pads] if even else [0] * len(self.pads)


def padded(call: Call, window: Window, value: float = 0.0, most: Sequence[int] | None = None) -> str:
    """The image, padded by what a module does not pad by itself.

    Args:
        call: The node.
        window: Its windows; what is padded here is taken out of it.
        value: What is padded with.
        most: The most that the module pads along each axis; without, that is no matter.
    """
    x = str(call.tensor(0))
    even = all(a == b for a, b in window.pads)
    few = most is None or all(a <= m for (a, _), m in zip(window.pads, most, strict=True))
    if even and few:
        return x
    flat = [str(n) for before, behind in reversed(window.pads) for n in (before, behind)]
    window.pads = [(0, 0)] * len(window.pads)
    more = "" if value == 0.0 else f", value={literal(value)}"
    return f"F.pad({x}, ({', '.join(flat)}){more})"
