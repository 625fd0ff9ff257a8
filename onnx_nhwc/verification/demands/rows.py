"""What each operator demands of its inputs: one row an input.

What is free is drawn small; where the file declares the size of a result, the values lead to that size.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx_nhwc.verification.demands.demand import Demand, Row, Site, between, exactly
from onnx_nhwc.verification.demands.indexed import (
    boxes_of,
    columns_of,
    gathered,
    permuted,
    scattered,
    unpooled,
    unpooled_target,
)
from onnx_nhwc.verification.demands.resized import grid_size, new_sizes, region_of, scaled
from onnx_nhwc.verification.demands.sized import (
    any_axis,
    axes_of,
    cropped,
    depth_of,
    expanded,
    filled,
    one_hot,
    padded,
    parts_of,
    ranged,
    reshaped,
    sliced,
    taken,
)

__all__ = ["ROWS"]


def _below(axis_of: int = 0, default: int = 0, first: int = 0) -> Row:
    """An index along the node's axis of another input."""

    def row(site: Site) -> Demand | None:
        shape, axis = site.shape(axis_of), site.axis(default, axis_of)
        size = None if shape is None or axis is None else shape[axis]
        return between(first, max(first, size - 1)) if size else between(first, first)

    return row


def _of_axis(axis: int, source: int = 0, first: int = 0, last: int = -1) -> Row:
    """A number from ``first`` to the size of this axis of an input, plus ``last``."""

    def row(site: Site) -> Demand | None:
        shape = site.shape(source)
        size = shape[axis] if shape and -len(shape) <= axis < len(shape) else None
        return between(first, max(first, size + last)) if size else between(first, first)

    return row


def _always(demand: Demand) -> Row:
    return lambda site: demand


def _if_integer(demand: Demand) -> Row:
    return lambda site: demand if site.is_integer(site.index) else None


def _ones(site: Site) -> list[int] | None:
    count = site.count
    return None if count is None else [1] * count


def _trips(site: Site) -> Demand | None:
    results = [site.result(i) for i in range(len(site.node.output))]
    carried = len(site.node.input) - 2
    turns = [shape[0] for shape in results[carried:] if shape and shape[0]]
    return exactly(turns[0]) if turns else between(2, 3)


def _positive(site: Site) -> Demand | None:
    return between(0.02, 0.1)


def _mel(values: Sequence[float]) -> Row:
    def row(site: Site) -> Demand | None:
        result = site.result()
        if result is not None and site.index == 0 and result[1]:
            return exactly(result[1])
        if result is not None and site.index == 1 and result[0]:
            return exactly(2 * (result[0] - 1))
        return exactly(values[site.index])

    return row


def _spectrum(site: Site) -> Demand | None:
    """The length of a DFT or STFT, its frames and its steps."""
    shape = site.sizes()
    if shape is None:
        return None
    if site.node.op_type == "DFT":
        axis = site.attribute("axis", 1 if site.opset < 20 else -2) % len(shape)
        return exactly(shape[axis])
    window = site.shape(2) if site.index != 2 else None
    length = window[0] if window and window[0] else max(2, shape[1] // 2)
    return exactly(max(1, length // 2) if site.index == 1 else length)


def _window(site: Site) -> Demand | None:
    result = site.result()
    return exactly((result[0] if result else None) or 8)


_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
_QUANTISED = {
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
}

ROWS: dict[tuple[str, int], Row] = {
    # Shapes.
    ("Reshape", 1): reshaped,
    ("Expand", 1): expanded,
    ("ConstantOfShape", 0): filled,
    ("Tile", 1): _always(between(1, 2)),
    ("Range", 0): ranged(0),
    ("Range", 1): ranged(1),
    ("Range", 2): ranged(2),
    # Axes.
    ("Squeeze", 1): axes_of,
    ("Unsqueeze", 1): axes_of,
    **{(name, 1): axes_of for name in _REDUCTIONS},
    ("CumSum", 1): any_axis,
    ("CumProd", 1): any_axis,
    ("DFT", 2): _always(exactly(1)),
    # Pieces.
    **{("Slice", number): sliced(number) for number in (1, 2, 3, 4)},
    ("Split", 1): parts_of,
    ("SplitToSequence", 1): parts_of,
    ("Pad", 1): padded,
    ("Pad", 3): axes_of,
    ("CenterCropPad", 1): cropped,
    ("TopK", 1): taken,
    ("Trilu", 1): _always(between(-1, 1)),
    # Resizing: scales, sizes and the region came to their places one by one.
    ("Upsample", 1): scaled,
    ("Resize", 1): lambda site: scaled(site) if site.opset < 11 else region_of(site),
    ("Resize", 2): scaled,
    ("Resize", 3): new_sizes,
    ("AffineGrid", 1): grid_size,
    # Indices.
    ("Gather", 1): _below(),
    ("GatherElements", 1): _below(),
    ("GatherND", 1): gathered,
    ("Scatter", 1): permuted,
    ("ScatterElements", 1): permuted,
    ("ScatterND", 1): scattered,
    ("OneHot", 1): depth_of,
    ("OneHot", 0): one_hot,
    ("ReverseSequence", 1): lambda site: _of_axis(site.attribute("time_axis", 0), 0, 1, 0)(site),
    ("RoiAlign", 1): boxes_of,
    ("RoiAlign", 2): _of_axis(0),
    ("MaxRoiPool", 1): boxes_of,
    ("MaxUnpool", 2): unpooled_target,
    ("MaxUnpool", 1): unpooled,
    ("Col2Im", 1): columns_of(1),
    ("Col2Im", 2): columns_of(2),
    ("NegativeLogLikelihoodLoss", 1): _of_axis(1),
    ("SoftmaxCrossEntropyLoss", 1): _of_axis(1),
    ("SequenceAt", 1): _always(exactly(0)),
    ("RotaryEmbedding", 3): _of_axis(0, 1),
    # Counts, conditions, lengths.
    ("Loop", 0): _trips,
    ("Loop", 1): _always(exactly(1)),
    **{(name, 4): _of_axis(0, 0, 1, 0) for name in ("LSTM", "GRU", "RNN")},
    ("NonMaxSuppression", 2): _always(between(1, 3)),
    ("NonMaxSuppression", 3): _always(between(0.3, 0.6)),
    ("NonMaxSuppression", 4): _always(between(0.0, 0.2)),
    ("Dropout", 1): _always(between(0.1, 0.5)),
    ("Dropout", 2): _always(exactly(0)),
    ("Bernoulli", 0): _always(between(0, 1)),
    # Arithmetic that is not defined everywhere.
    ("Div", 1): _if_integer(between(1, 5)),
    ("Mod", 1): _if_integer(between(1, 5)),
    ("BitShift", 1): _always(between(0, 7)),
    ("Clip", 1): _always(between(-1.5, -0.5)),
    ("Clip", 2): _always(between(0.5, 1.5)),
    ("BatchNormalization", 4): _always(between(0.5, 1.5)),
    **{(name, index): _positive for name, numbers in _QUANTISED.items() for index in numbers},
    # Spectra.
    **{("MelWeightMatrix", i): _mel((8, 16, 8192, 0, 4096)) for i in range(5)},
    ("DFT", 1): _spectrum,
    ("STFT", 1): _spectrum,
    ("STFT", 3): _spectrum,
    **{(name, 0): _window for name in ("HannWindow", "HammingWindow", "BlackmanWindow")},
}
"""What an input of an operator, by its number, demands of its values."""
