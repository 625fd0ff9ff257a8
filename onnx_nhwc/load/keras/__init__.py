"""A Keras model becomes a graph: layers as their forms, where they have one, all else by tf2onnx.

Imports files, the compiler and the legacy readers, and no exporter. What exporter and reader have to
agree on, such as how a parameter without a layer is written, is here.
"""
