"""Names of layers: those of ONNX nodes, made legal and unique.

Keras forbids ``/``, TensorFlow most other signs, and torch forbids ``.``; what is left is the
least that all backends take.

>>> names = Names()
>>> names.of_node("/layer1/layer1.0/conv1/Conv", "Conv", "onnx::Conv_12")
'layer1_0_conv1'
>>> names.of_node("node_conv2d_7", "Conv", "layer1.0.conv2.weight")
'layer1_0_conv2'
>>> names.unique("layer1_0_conv2")
'layer1_0_conv2_1'
"""

from __future__ import annotations

import re

__all__ = ["Names", "io_name", "legal", "module_path"]

_PARTS = re.compile(r"\.(weight|bias|kernel|gamma|beta|running_mean|scale|B|W)$")


def legal(name: str) -> str:
    """Return a name that every backend takes.

    >>> legal("onnx::Conv_12"), legal("x.1"), legal("_x")
    ('onnx_Conv_12', 'x_1', 'x')
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).lstrip("_-") or "unnamed"


def io_name(name: str) -> str:
    """Return what an input or output is called: its own name, as far as that is legal.

    >>> io_name("input.1"), io_name("serving/x:0")
    ('input.1', 'serving_x_0')
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip("_-.") or "value"


def module_path(path: str) -> str:
    """Return the dotted path of the module in a node's scope as torch.onnx writes it."""
    parts: list[str] = []
    for part in path.split("/"):
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()  # torch writes "body/body.0/body.0.1" for the module body.0.1
        parts.append(part)
    return ".".join(parts)


class Names:
    """The names of one model that are taken."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def unique(self, wanted: str) -> str:
        """Take a name: ``wanted``, or that with the first free number behind it."""
        base = name = legal(wanted)
        while name in self._taken:
            self._taken[base] += 1
            name = f"{base}_{self._taken[base]}"
        self._taken[name] = 0
        return name

    def of_node(self, name: str, op_type: str, weight: str) -> str:
        """Take a name for what a node becomes.

        Args:
            name: The node's name.
            op_type: The node's operator.
            weight: The name of its main weight, if it has one.
        """
        scoped = "/" in name.strip("/")
        path = module_path(name.strip("/"))
        if weight and scoped:
            path = path.removesuffix(f".{op_type}")
        elif weight and _PARTS.search(weight):
            path = _PARTS.sub("", weight)
        return self.unique(path or op_type)
