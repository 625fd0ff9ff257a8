"""Models of other frameworks, made from a graph of the functions dialect.

What lives here knows no framework: the walk over the graph, what is known of its values, settings that
sizes determine, names of layers, and the forms that all targets want a graph in. A target is a room of
its own, such as :mod:`onnx_nhwc.export.keras`. Imports the compiler and files, and no target.
"""
