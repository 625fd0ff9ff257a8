"""Addition that can be trusted.

``keras.ops.add`` on TensorFlow takes a second operand with one axis longer than 1 for a bias of the
last axis, or of axis 1, whichever has its size, wherever that axis really lies: of shapes
(6, 16, 16) and (16, 1), the sum is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

__all__ = ["plus", "safe"]

Sizes = tuple[int | None, ...]


def plus(a: Any, b: Any) -> Any:
    """``a + b``, in an order, or as ``a - -b``, that Keras adds as NumPy does."""
    first, second = _shape(a), _shape(b)
    if safe(first, second):
        return ops.add(a, b)
    if safe(second, first):
        return ops.add(b, a)
    return ops.subtract(a, ops.negative(b))


def _shape(x: Any) -> Sizes:
    return tuple(x.shape) if hasattr(x, "shape") else tuple(np.shape(x))


def safe(first: Sizes, second: Sizes) -> bool:
    """Does Keras add operands of these shapes as NumPy does?

    It does if the second is never taken for a bias, or rightly so.

    >>> safe((6, 16, 16), (16, 1)), safe((16, 1), (6, 16, 16)), safe((2, 8, 8, 3), (3,))
    (False, True, True)
    >>> safe((2, 8, 9), (8, 1)), safe((2, 8, None), (8, 1))
    (True, False)
    """
    if len(first) < 2 or first == second:
        return True
    long = [i for i, size in enumerate(second) if size != 1]
    if not long or sum(second[i] is not None for i in long) > 1:
        return True
    if second[-1] is not None and second[-1] > 1:
        return first[-1] == second[-1] or (second[-1] not in (first[1], None) and (first[1] is not None))
    if len(long) == 1 and second[long[0]] is not None:
        size = second[long[0]]
        if len(first) - len(second) + long[0] == 1:
            return first[-1] is not None and first[-1] != size
        known = first[1] is not None and first[-1] is not None
        return known and size not in (first[1], first[-1])
    return False
