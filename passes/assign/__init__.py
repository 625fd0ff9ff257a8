"""One layout for every value: the graph as a flow of axes, what moves cost, and the choice.

Imports shapes, rules and the solver.
"""
