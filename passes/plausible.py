"""What speaks against a model as it stands: a reason to warn, never to decide."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

__all__ = ["LayoutWarning", "SourceWarning", "contradiction", "warn", "warn_if_odd"]

_MEANING = {"C": "channels", "D": "depth", "H": "height", "W": "width", "L": "length"}
_IMAGE = (1, 3)  # channels that images and recordings come with
_SMALL = 4  # an axis that is no longer may well be one of channels


class LayoutWarning(UserWarning):
    """A shape contradicts the layout that is stated for it."""


class SourceWarning(LayoutWarning):
    """A model is read otherwise than it is written: an old opset is raised, a sparse weight made dense."""


def contradiction(shape: Sequence[object], layout: object) -> str:
    """Say what speaks against ``shape`` being in ``layout``; empty if nothing does.

    An axis that is stated to be spatial has 1 or 3 elements where the other layout would have the
    channels, while the channels would be many.

    >>> contradiction((8, 224, 200, 3), "NCHW")
    'it would have 224 channels and a width of 3'
    >>> contradiction((8, 64, 7, 7), "NCHW"), contradiction((8, 64, 1, 1), "NCHW")
    ('', '')
    """
    letters = layout.upper() if isinstance(layout, str) else ""
    if "C" not in letters or len(letters) != len(shape):
        return ""
    at = letters.index("C")
    batch = int("N" in letters)
    if at not in (batch, len(shape) - 1):
        return ""
    there = batch if at == len(shape) - 1 else len(shape) - 1  # of the channels, if not at ``at``
    spatial = [shape[i] for i in range(batch, len(shape)) if i not in (at, there)]
    known = [size for size in (shape[at], *spatial) if isinstance(size, int)]
    if shape[there] not in _IMAGE or not isinstance(shape[at], int) or min(known) <= _SMALL:
        return ""
    what = _MEANING.get(letters[there], letters[there])
    return f"it would have {shape[at]} channels and a {what} of {shape[there]}"


def warn_if_odd(name: str, shape: Sequence[object], layout: object) -> None:
    """Warn whoever called this package, if ``shape`` speaks against ``layout``."""
    reason = contradiction(shape, layout)
    if not reason:
        return
    sizes = ", ".join("?" if size is None else str(size) for size in shape)
    warn(f"{name} of shape ({sizes}) is stated to be {layout}, but {reason}")


def warn(message: str, category: type[LayoutWarning] = LayoutWarning) -> None:
    """Warn whoever called this package."""
    package, level, frame = __name__.partition(".")[0], 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
