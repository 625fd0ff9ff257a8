"""Models of other frameworks, read as ONNX. One room a framework."""
