"""What a process has besides its models, which no conversion may change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from keras.src.backend.common import global_state

__all__ = ["untouched"]

_COUNTERS = "object_name_uids"


@contextmanager
def untouched() -> Iterator[None]:
    """Draw no random number, and count no layer.

    Keras seeds what it creates by Python's ``random``, and names it by counters: the next ``Dense`` is
    to be called as if there had been no conversion. Keras can reset the counters, but not set them.
    """
    state = random.getstate()
    before = dict(global_state.get_global_attribute(_COUNTERS) or {})
    try:
        yield
    finally:
        random.setstate(state)
        counters = global_state.get_global_attribute(_COUNTERS)
        if counters is not None:
            counters.clear()
            counters.update(before)
