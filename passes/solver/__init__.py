"""The optimum of a network of choices and costs. Knows nothing of ONNX."""
