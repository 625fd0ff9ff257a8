"""Inputs to run a model on, when all that is known of the model is what its inputs declare.

Sizes that are not declared are guessed, in an order that starts with what finds most faults:
more than one sample, height unlike width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onnx_nhwc.passes.errors import VerificationError
from onnx_nhwc.verification.demands.following import Demands

__all__ = ["Input", "candidates"]

Array = npt.NDArray[Any]

# (samples, sizes of further dimensions in their order, the last for all that follow)
_GUESSES: tuple[tuple[int, tuple[int, ...]], ...] = (
    (2, (64, 96, 32)),
    (2, (64,)),
    (1, (64, 96, 32)),
    (1, (64,)),
    (2, (224,)),
    (1, (224,)),
    (2, (32,)),
    (1, (32,)),
    (2, (16, 8)),
    (1, (512,)),
    (1, (1,)),
)
_INT_LIMITS = (8, 2, 1)  # exclusive upper limits of integer inputs, which may be indices
_CHANNELS = 3

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(string)": np.str_,
}


@dataclass(frozen=True)
class Input:
    """One input as a model declares it; ``type`` as onnxruntime writes it: ``tensor(float)``."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    @property
    def is_dynamic(self) -> bool:
        """Is some size not declared?"""
        return not all(isinstance(size, int) for size in self.shape)


def candidates(
    inputs: Sequence[Input], seed: int, given: Mapping[str, Array], demands: Demands | None = None
) -> Iterator[dict[str, Array]]:
    """Yield sets of values for ``inputs``, no two alike in sizes and range.

    Floats are normally distributed, integers small and not negative (those of 8 bits without a
    sign, which are images, cover their range), booleans even at first. Dimensions of one name have one
    size. The same ``seed`` gives the same values.

    Args:
        inputs: What the model declares.
        seed: Seed of the random numbers.
        given: Values that are used as they are.
        demands: What the operators demand of what they read; it is satisfied.

    Raises:
        VerificationError: An input is of a type for which nothing can be made up.
    """
    for entry in inputs:
        if entry.name not in given and entry.type not in _TYPES:
            raise VerificationError(
                f"no values can be made up for input '{entry.name}' of type {entry.type}",
                "Give them to verify(inputs=...), or use --no-verify.",
            )
    seen: set[object] = set()
    for limit in _INT_LIMITS:
        for samples, sizes in _GUESSES:
            shapes = _shapes(inputs, samples, sizes, given)
            integers = any(
                np.dtype(_TYPES[entry.type]).kind in "iub" for entry in inputs if entry.name not in given
            )
            key = (tuple(shapes.items()), limit if integers else 0)
            if key not in seen:
                seen.add(key)
                chosen = dict(given)
                if demands is not None:
                    types = {entry.name: _TYPES[entry.type] for entry in inputs if entry.name not in given}
                    chosen |= demands.values(shapes, types, np.random.default_rng(seed), given)
                yield _values(inputs, shapes, limit, seed, chosen)


def _shapes(
    inputs: Sequence[Input], samples: int, sizes: tuple[int, ...], given: Mapping[str, Array]
) -> dict[str, tuple[int, ...]]:
    named: dict[str, int] = {}
    for entry in inputs:
        if entry.name in given:
            shape = given[entry.name].shape
            pairs = zip(entry.shape, shape, strict=False)
            named.update({key: size for key, size in pairs if isinstance(key, str)})
    shapes = {}
    for entry in inputs:
        if entry.name in given:
            shapes[entry.name] = tuple(given[entry.name].shape)
            continue
        shape_list: list[int] = []
        spatial = 0
        for axis, size in enumerate(entry.shape):
            if isinstance(size, int):
                shape_list.append(size)
                continue
            guess = samples
            if axis == _channel_axis(entry.shape):
                guess = _CHANNELS
            elif axis > 0:
                guess = sizes[min(spatial, len(sizes) - 1)]
                spatial += 1
            if isinstance(size, str) and size:
                guess = named.setdefault(size, guess)
            shape_list.append(guess)
        shapes[entry.name] = tuple(shape_list)
    return shapes


def _channel_axis(shape: tuple[int | str | None, ...]) -> int | None:
    """Return the axis that holds channels in an image or a video whose sizes are not known."""
    if len(shape) < 4:
        return None
    last_is_known = isinstance(shape[-1], int) and not isinstance(shape[1], int)
    return len(shape) - 1 if last_is_known else 1


def _values(
    inputs: Sequence[Input],
    shapes: Mapping[str, tuple[int, ...]],
    limit: int,
    seed: int,
    given: Mapping[str, Array],
) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    values: dict[str, Array] = {}
    for entry in inputs:
        shape = shapes[entry.name]
        if entry.name in given:
            values[entry.name] = given[entry.name]
            continue
        dtype: Any = _TYPES[entry.type]
        if issubclass(dtype, np.floating):
            values[entry.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype is np.bool_:
            # further tries are all true, then all false: one branch of an If may be none that runs
            even = limit == _INT_LIMITS[0]
            values[entry.name] = (rng.integers(0, 2, shape) if even else np.full(shape, limit == 2)).astype(
                dtype
            )
        elif dtype is np.str_:
            values[entry.name] = rng.choice(np.array(["a", "b", "c"], dtype=object), shape)
        else:
            top = 256 if dtype is np.uint8 and limit == _INT_LIMITS[0] else limit
            values[entry.name] = rng.integers(0, top, shape).astype(dtype)
    return values
