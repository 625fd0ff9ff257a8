"""Collapses chains of Reshape, Transpose and their kin into the shortest equivalent.

before:  x - Reshape - Transpose - Reshape - Transpose - Reshape - y
after:   x - Reshape - Transpose - Reshape - y      (or less: a chain that undoes itself vanishes)
"""

from __future__ import annotations

import onnx_ir as ir

from .assign.choice import unchanged
from .assign.flow import analyse
from .rewrite import Rewritten, rewrite
from .shapes.infer import infer


def collapse_views(model: ir.Model) -> Rewritten:
    """Give every reader of a view the shortest chain from the view's root; no layout changes."""
    flow = analyse(model, infer(model))
    return rewrite(flow, unchanged(flow))
