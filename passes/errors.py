"""The exceptions of this package. Every one names the node, the reason and the remedy.

All of them derive from :class:`ConversionError`, so that callers need to catch one class only.
"""

from __future__ import annotations

import re

__all__ = ["ConversionError", "FileError", "UsageError", "VerificationError", "in_one_line"]


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def in_one_line(text: str) -> str:
    r"""Return a text without line breaks and without colours, which Keras's messages have.

    >>> in_one_line("\x1b[1mno such\x1b[0m\n  operator")
    'no such operator'
    """
    return " ".join(_COLOUR.sub("", text).split())


class ConversionError(Exception):
    """A model cannot be converted, and this is why.

    The text is one line, ``<node>: <reason>. <remedy>``, whatever line breaks the parts contain
    (messages of onnx and onnxruntime are often many lines long).

    Args:
        reason: What is wrong, e.g. ``"the rank of its input 'x' is unknown"``.
        remedy: What the user can do about it, e.g. ``"Give the shape: --shape x=1,3,224,224"``.
        node: The operator and its name, e.g. ``"Conv 'stem.conv'"``; empty if the error concerns
            the model as a whole.

    >>> print(ConversionError("the rank of 'x' is unknown", "Give --shape x=1,3,8,8", "Conv 'c'"))
    Conv 'c': the rank of 'x' is unknown. Give --shape x=1,3,8,8
    """

    def __init__(self, reason: str, remedy: str = "", node: str = "") -> None:
        super().__init__(reason, remedy, node)
        self.reason = reason
        self.remedy = remedy
        self.node = node

    def __str__(self) -> str:
        text = in_one_line(self.reason)
        if self.node:
            text = f"{self.node}: {text}"
        if self.remedy:
            end = "" if text.endswith((".", "?", "!")) else "."
            text = f"{text}{end} {in_one_line(self.remedy)}"
        return text


class UsageError(ConversionError):
    """The request itself is wrong: an unknown option, name or value (exit status 2)."""


class FileError(ConversionError):
    """A file cannot be read or written."""


class VerificationError(ConversionError):
    """The converted model does not compute what the source computes, or cannot be compared."""
