"""Small hand-made graphs, each one thing that layout converters get wrong.

``make_pitfalls.py`` writes them to ``pitfalls/*.onnx``; see ``builder`` for how one is made.
"""
