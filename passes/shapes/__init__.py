"""Sizes, ranks and integers of all values, as formulas of the inputs' sizes; constants computed.

Imports rules and the algebra.
"""
