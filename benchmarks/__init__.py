"""Benchmarks: ``python -m benchmarks`` counts first, then times; see ``results/``."""
