"""Keras models, LiteRT files and SavedModels from ONNX.

The table of mappings and what builds a functional model with them; the mappings are in the rooms below,
by what they work on. Imports keras, so that it is itself imported only when it is needed.
"""
