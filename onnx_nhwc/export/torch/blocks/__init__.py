"""Mappings to PyTorch of operators that stand for whole formulas. May import those of images and tensors."""
