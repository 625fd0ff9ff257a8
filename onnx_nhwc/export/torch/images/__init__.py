"""Mappings to PyTorch of operators that know where images are. May import the mappings of tensors."""
