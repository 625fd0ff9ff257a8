"""Paths of modules and parameters: the original's, where names carry them.

>>> paths = Paths()
>>> paths.module("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1.weight", "conv")
'layer1.0.conv1'
>>> paths.module("node_conv2d_7", "onnx::Conv_12", "conv")
'conv'
>>> paths.module("", "", "conv")
'conv_1'
"""

from __future__ import annotations

import keyword
import re

from onnx_nhwc.export.names import module_path

__all__ = ["Paths", "scope_of"]

_PARAMETER = re.compile(r"\.(weight|bias|kernel|gamma|beta|running_mean|running_var|weight_[ih]h_l\d+)$")
_PART = re.compile(r"[A-Za-z_]\w*|\d+")


def scope_of(node: str) -> str | None:
    """The module in whose scope a node is, if its name tells; the model itself is the empty path.

    >>> scope_of("/layer1/layer1.0/Add"), scope_of("/Relu"), scope_of("node_add_7")
    ('layer1.0', '', None)
    """
    if not node.startswith("/"):
        return None
    path = module_path(node.strip("/")).rpartition(".")[0]
    path = re.sub(r"(^|\.)(\d+_)", r"\1n\2", path)  # torch's name for a second call of the module 2
    return path if not path or _is_path(path) else None


def _is_path(path: str) -> bool:
    parts = path.split(".")
    return all(_PART.fullmatch(part) and not keyword.iskeyword(part) for part in parts)


class Paths:
    """The paths of one model that are taken."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, wanted: str) -> str:
        """Take a path: ``wanted``, or that with the first free number behind it."""
        for taken in self._taken:
            if wanted.startswith(f"{taken}."):  # nothing can be in what is no scope
                wanted = f"{taken}_{wanted[len(taken) + 1 :].replace('.', '_')}"
                break
        base = re.sub(r"(^|\.)(\d+)$", r"\1n\2", wanted)
        path, number = wanted, 0
        while path in self._taken or any(taken.startswith(f"{path}.") for taken in self._taken):
            number += 1
            path = f"{base}_{number}"
        self._taken.add(path)
        return path

    def module(self, node: str, weight: str, kind: str) -> str:
        """Take a path for a module with parameters.

        Args:
            node: The name of its node.
            weight: The name of its main weight.
            kind: What to call it if nothing tells.
        """
        named = _PARAMETER.sub("", weight)
        if named != weight and _is_path(named):
            return self.unique(named)
        return self.unique(scope_of(node) or kind)

    def parameter(self, name: str, kind: str) -> str:
        """Take a path for a parameter that no module holds."""
        name = re.sub(r"\.(\d+)$", r"_\1", name)
        return self.unique(name if _is_path(name) and not name[0].isdigit() else kind)
