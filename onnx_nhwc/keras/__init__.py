"""The former place of what is in :mod:`onnx_nhwc.export.keras` and :mod:`onnx_nhwc.load.keras` now."""
