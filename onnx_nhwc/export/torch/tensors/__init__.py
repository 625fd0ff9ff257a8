"""Mappings to PyTorch of operators that treat all axes alike. May import the call and its means only."""
