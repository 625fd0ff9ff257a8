"""PyTorch modules from ONNX: source code that one would have written by hand, and its weights.

The exporter writes code; what ``to_torch`` returns is that code, run. The mappings give expressions,
the program gathers them as steps, scopes put these into a tree of modules, and the source is written
from it. Imports torch only where code is run.
"""
