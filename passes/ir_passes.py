"""The passes as onnx_ir passes, alone and together. All of them edit the model in place."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes import InPlacePass, PassResult

from . import recognize, views
from .assign.flow import analyse
from .forms import normalize
from .lower import lower
from .options import DEFAULTS, Options
from .pipeline import convert
from .shapes.infer import infer
from .summary import Summary


class _Pipeline(InPlacePass):
    """The whole conversion towards one layout."""

    to = ""

    def __init__(
        self,
        dialect: str = DEFAULTS.dialect,
        io: str = DEFAULTS.io,
        layouts: Mapping[str, str | tuple[int, ...]] | None = None,
        shapes: Mapping[str, tuple[int | None, ...]] | None = None,
    ) -> None:
        super().__init__()
        self.options = Options(self.to, dialect, io, layouts or {}, shapes or {})
        self.summary: Summary | None = None
        """What the last call did."""

    def call(self, model: ir.Model) -> PassResult:
        """Convert the model; raises :class:`ConversionError` if that cannot be done."""
        self.summary = convert(model, self.options)
        return PassResult(model, modified=True)


class ChannelsLast(_Pipeline):
    """Store images channels last, and everything else such that the fewest bytes are transposed.

    before:  x[N,C,H,W] - Conv - Relu - Transpose[0,2,3,1] - LayerNormalization - ...
    after:   x[N,H,W,C] - onnx_nhwc.Conv2D - Relu - LayerNormalization - ...

    The options are those of :class:`onnx_nhwc.passes.options.Options`; the law is that every value of the
    result is the source's, permuted as ``metadata_props["onnx_nhwc.layouts"]`` states for inputs and outputs.
    """

    to = "channels-last"


class ChannelsFirst(_Pipeline):
    """Store images channels first.

    before:  x[N,H,W,C] - Transpose[0,3,1,2] - Conv - Transpose[0,2,3,1] - Relu - ...
    after:   x[N,C,H,W] - Conv - Relu - ...
    """

    to = "channels-first"


class Normalize(InPlacePass):
    """Bring a model into the form that the rules know.

    before:  f(x), a call of a model-local function;  Constant - Add
    after:   the function's nodes;  an initializer - Add
    """

    def call(self, model: ir.Model) -> PassResult:
        normalize.normalize(model)
        return PassResult(model, modified=True)


class Recognize(InPlacePass):
    """Put whole operators in the place of the pieces that exporters write.

    before:  x - Reshape(n,c,r,r,h,w) - Transpose[0,1,4,2,5,3] - Reshape(n,c,hr,wr) - y
    after:   x - DepthToSpace - y

    What is recognised as GroupNormalization below opset 21 is meant for :class:`ChannelsLast` alone,
    which writes it as a function; here only pixel shuffles and their inverse are replaced.
    """

    def call(self, model: ir.Model) -> PassResult:
        flow = analyse(model, infer(model))
        return PassResult(model, modified=recognize.recognize_shuffles(flow))


class CollapseViews(InPlacePass):
    """Collapse chains of Reshape, Transpose, Squeeze, Unsqueeze and Flatten.

    before:  x - Transpose[0,2,3,1] - Reshape - Reshape - Transpose[0,2,1] - y
    after:   x - Reshape - y
    """

    def call(self, model: ir.Model) -> PassResult:
        views.collapse_views(model)
        return PassResult(model, modified=True)


class Lower(InPlacePass):
    """Define the functions of domain ``onnx_nhwc`` that a model calls.

    before:  onnx_nhwc.Conv2D(x, w, b), undefined
    after:   the same, with the function's body: Transpose - Conv - Transpose
    """

    def call(self, model: ir.Model) -> PassResult:
        lower(model)
        return PassResult(model, modified=True)
