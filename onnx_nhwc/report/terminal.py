"""The terminal of whoever runs a command: what libraries say of themselves does not reach it."""

from __future__ import annotations

import faulthandler
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["hushed"]

_STDERR = 2


@contextmanager
def hushed(enabled: bool = True) -> Iterator[TextIO]:
    """Let nothing that libraries write to standard error be seen, from Python or from C++.

    TensorFlow and absl write to the file descriptor, past ``sys.stderr``, much of it before they can be
    told not to. If the process crashes, Python says where.

    Args:
        enabled: If not, everything is seen.

    Yields:
        What to write to for the user.
    """
    user = sys.stderr
    if not enabled or user is None:
        yield user
        return
    user.flush()
    try:
        kept = os.dup(_STDERR)
    except OSError:  # it is closed: nothing is seen as it is
        yield user
        return
    crashes = faulthandler.is_enabled()
    with open(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace") as terminal:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)
        if not crashes:
            faulthandler.enable(terminal)
        own = terminal if _descriptor(user) == _STDERR else user
        # what libraries keep of it stays valid
        sys.stderr = user if own is terminal else open(_STDERR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        try:
            yield own
        finally:
            sys.stderr.flush()
            sys.stderr = user
            own.flush()
            if not crashes:
                faulthandler.disable()
            os.dup2(kept, _STDERR)


def _descriptor(stream: TextIO) -> int:
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, AttributeError, ValueError):
        return -1
