"""Layouts as permutations with groups, and sizes as formulas. Imports nothing of the compiler."""
