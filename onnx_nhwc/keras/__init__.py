"""Keras models from ONNX: the exporter behind ``onnx_nhwc.to_keras``.

Importing this package imports Keras, which the rest of ``onnx_nhwc`` does not need.
"""
