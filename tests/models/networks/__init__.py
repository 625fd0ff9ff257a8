"""The networks that ``make_torch.py`` exports: faithful in their operators, narrow, shallow.

Only that script imports this package; the tests read the exported files and need no torch.
"""
