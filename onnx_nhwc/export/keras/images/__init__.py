"""Mappings of operators that know where the axes of images are: convolutions, pools, sizes, regions.

May import :mod:`onnx_nhwc.export.keras.tensors`, and no blocks.
"""
