"""Mappings of operators that treat all axes alike: element by element, shapes, places, reductions.

May import what is above the rooms of mappings (the call, its means), and neither images nor blocks.
"""
