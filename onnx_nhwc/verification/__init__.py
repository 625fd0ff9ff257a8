"""Proof that a result computes what its source does: legal feeds, sessions, comparison, verdicts.

Imports files and the compiler's errors; Keras is compared from :mod:`onnx_nhwc.export.keras.checking`.
"""
