"""What operators demand of the values that they are fed: scales, sizes, indices, trip counts.

An input may be any number to the type checker and still be nonsense to who reads it: a Gather's index lies
within an axis, a Reshape's target has as many elements as the data, the parts of a Split add up. Each row of
:mod:`onnx_nhwc.verification.demands.rows` says so of one input of one operator, from the sizes of the others.
An input of the model is followed through what only moves or shifts it to all who read it, bodies included.
Imports onnx and NumPy, and nothing of this package.
"""
