"""Where the axes of images are (or of signals, or of volumes): channels last, or channels first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Images"]


@dataclass(frozen=True)
class Images:
    """The axes of data that have ``spatial`` spatial axes.

    >>> Images(2).axes, Images(2, first=True).axes
    ((1, 2), (2, 3))
    >>> Images(2, first=True).join("n", "c", "hw")
    ('n', 'c', 'h', 'w')
    """

    spatial: int
    first: bool = False
    """Channels first?"""

    @property
    def data_format(self) -> str:
        """The same in Keras's words."""
        return "channels_first" if self.first else "channels_last"

    @property
    def channels(self) -> int:
        """The axis of the channels."""
        return 1 if self.first else -1

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes."""
        start = 2 if self.first else 1
        return tuple(range(start, start + self.spatial))

    def sizes(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """What a shape, or anything else with an entry per axis, says of the spatial axes."""
        return tuple(shape[axis] for axis in self.axes)

    def join(self, batch: Any, channels: Any, spatial: Iterable[Any]) -> tuple[Any, ...]:
        """An entry per axis."""
        return (batch, channels, *spatial) if self.first else (batch, *spatial, channels)
