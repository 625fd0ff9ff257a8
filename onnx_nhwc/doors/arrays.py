"""``to_layout``: arrays of any framework, through that framework."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TypeVar

from onnx_nhwc.doors.names import Layout, permutation
from onnx_nhwc.passes.errors import UsageError
from onnx_nhwc.passes.plausible import warn_if_odd

__all__ = ["to_layout"]

_Array = TypeVar("_Array")


def to_layout(array: _Array, source: Layout, target: Layout) -> _Array:
    """Return ``array`` with its axes in another order.

    NumPy arrays and torch tensors come back as views, which share their memory; TensorFlow and JAX
    have no views and copy, except where only axes of size 1 move (TensorFlow reshapes). If nothing
    moves, ``array`` itself is returned. No framework is imported.

    Args:
        array: A NumPy, TensorFlow, torch or JAX array, a Keras tensor, or what else follows the
            Python array API.
        source: The layout it has: letters, one for each axis (``"NCHW"``, ``"HWC"``), or a
            permutation as in ``metadata_props["onnx_nhwc.layouts"]``: stored axis ``i`` is the
            source model's axis ``perm[i]``.
        target: The layout wanted, in the same way.

    Raises:
        UsageError: The layouts do not fit each other, or the array.

    Warns:
        LayoutWarning: The shape speaks against ``source``.

    >>> import numpy as np
    >>> to_layout(np.zeros((8, 3, 224, 200)), "NCHW", "NHWC").shape
    (8, 224, 200, 3)
    """
    perm = permutation(source, target)
    shape = getattr(array, "shape", None)
    if shape is None:
        raise UsageError(
            f"{type(array).__name__} is not an array", "Make it one, with numpy.asarray for instance."
        )
    try:
        sizes = tuple(shape)
    except (TypeError, ValueError) as error:  # TensorFlow: not even the rank is known
        raise UsageError("the rank of the tensor is not known", "Set its shape.") from error
    if len(sizes) != len(perm):
        raise UsageError(f"an array of shape {sizes} has {len(sizes)} axes, {source} has {len(perm)}")
    warn_if_odd("the array", sizes, source)
    if perm == tuple(range(len(perm))):
        return array
    result: _Array = _transpose(array, perm, sizes)
    return result


def _transpose(array: Any, perm: Sequence[int], sizes: Sequence[int | None]) -> Any:
    for home in _homes(array):
        module = sys.modules.get(home)
        if home in ("numpy", "jax", "jaxlib", "cupy"):
            return array.transpose(perm)
        if home == "torch":
            return array.permute(*perm)
        if home == "keras" and module is not None:
            return module.ops.transpose(array, perm)
        if home == "tensorflow" and module is not None:
            moved = [axis for axis in perm if sizes[axis] != 1]
            if moved == sorted(moved) and None not in sizes:
                return module.reshape(array, [sizes[axis] for axis in perm])
            return module.transpose(array, perm)
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__().permute_dims(array, tuple(perm))
    raise UsageError(
        f"{type(array).__module__}.{type(array).__name__} is not an array of a known framework",
        "Make it one of NumPy, TensorFlow, torch or JAX.",
    )


def _homes(array: object) -> list[str]:
    """The packages that the array's classes come from, its own first."""
    return [base.__module__.partition(".")[0] for base in type(array).__mro__]
