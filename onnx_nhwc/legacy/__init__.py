"""Weights files of Keras 1 and 2: ``python -m onnx_nhwc.legacy IN.h5 OUT.weights.h5``.

See :func:`convert_weights`. It takes h5py, and no Keras.
"""

from onnx_nhwc.legacy.conversion import convert_weights
from onnx_nhwc.legacy.job import Converted

__all__ = ["Converted", "convert_weights"]
