"""Mappings of operators that stand for whole formulas: normalisations, recurrent and quantised ones.

May import the rooms of images and of tensors.
"""
