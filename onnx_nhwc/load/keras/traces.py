"""How some layers of Keras are traced: as something that computes the same and that ONNX can say.

Keras has some convolutions compiled by XLA, calls what is distributed over time once for every step,
and runs recurrent layers in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from keras import layers, ops

from onnx_nhwc.load.keras.layer_forms import CONVOLUTION
from onnx_nhwc.load.keras.marks import Mark, mark
from onnx_nhwc.load.keras.parameters import PARAMETER, is_parameter

__all__ = ["traces_of"]

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_CONV_LSTMS = (layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)


def traces_of(layer: Any, marks: list[Mark]) -> dict[str, Callable[..., Any]]:
    """The methods of a layer that are replaced while it is traced."""
    if isinstance(layer, _CONVOLUTIONS):
        return {"convolution_op": _convolution(layer)}
    if is_parameter(layer):
        return {"call": _parameter(layer, marks)}
    if type(layer) is layers.TimeDistributed and _keras_alone(layer.layer):
        return {"call": _all_steps_at_once(layer)}
    if type(layer) in _CONV_LSTMS and layer.built and not layer.stateful:
        return {"call": _step_by_step(layer, marks)}
    return {}


def _keras_alone(layer: Any) -> bool:
    """Are a layer, and all in it, Keras's own? Those treat each sample by itself."""
    inner = [layer, *layer._flatten_layers(include_self=False)]
    return all(type(one).__module__.startswith("keras.") for one in inner)


def _convolution(layer: Any) -> Callable[..., Any]:
    own = layer.convolution_op

    def convolution_op(inputs: Any, kernel: Any) -> Any:
        import tensorflow as tf

        if layer.groups == 1 and not (layer.rank == 3 and layer.data_format == "channels_first"):
            return own(inputs, kernel)
        axes = "DHW"[-layer.rank :] if layer.rank > 1 else "W"
        return tf.nn.convolution(
            inputs,
            tf.convert_to_tensor(kernel),
            strides=list(layer.strides),
            padding="VALID" if layer.padding == "causal" else layer.padding.upper(),
            data_format=f"NC{axes}" if layer.data_format == "channels_first" else f"N{axes}C",
            dilations=list(layer.dilation_rate),
        )

    return convolution_op


def _parameter(layer: Any, marks: list[Mark]) -> Callable[..., Any]:
    """The table of an Embedding, whatever the indices: they are known to be all in order."""

    def call(inputs: Any) -> Any:
        x = ops.cast(inputs, layer.compute_dtype)
        return mark(x, layer, PARAMETER, (*x.shape, layer.output_dim), marks)

    return call


def _all_steps_at_once(layer: Any) -> Callable[..., Any]:
    """TimeDistributed: the steps of all samples are samples."""
    own = layer.call

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if mask is not None or training:
            return own(inputs, training=training, mask=mask)
        batch, steps, *rest = ops.shape(inputs)
        y = layer.layer.call(ops.reshape(inputs, (-1, *rest)))
        _, *rest = ops.shape(y)
        return ops.reshape(y, (-1 if isinstance(steps, int) else batch, steps, *rest))

    return call


def _convolutions(layer: Any) -> tuple[Any, Any]:
    """The convolutions of a ConvLSTM, of what comes in and of the state, as if they were layers."""
    cell, ones = layer.cell, (1,) * layer.cell.rank
    shared = {
        "groups": 1,
        "rank": cell.rank,
        "data_format": cell.data_format,
        "kernel_size": cell.kernel_size,
        "trainable": layer.trainable,
    }
    entering = SimpleNamespace(
        name=f"{layer.name}_input",
        path=f"{layer.path}/input",
        kernel=cell.kernel,
        bias=cell.bias,
        strides=cell.strides,
        dilation_rate=cell.dilation_rate,
        padding=cell.padding,
        **shared,
    )
    kept = SimpleNamespace(
        name=f"{layer.name}_recurrent",
        path=f"{layer.path}/recurrent",
        kernel=cell.recurrent_kernel,
        bias=None,
        strides=ones,
        dilation_rate=ones,
        padding="same",
        **shared,
    )
    return entering, kept


def _step_by_step(layer: Any, marks: list[Mark]) -> Callable[..., Any]:
    """ConvLSTM: one convolution of all that comes in, and one of the state at every step."""
    own, cell = layer.call, layer.cell
    entering, kept = _convolutions(layer)
    channels = 1 if cell.data_format == "channels_first" else cell.rank + 1

    def convolved(x: Any, convolution: Any, shape: tuple[int | None, ...]) -> Any:
        wide = [size if a != channels else 4 * cell.filters for a, size in enumerate(shape)]
        return mark(x, convolution, CONVOLUTION, wide, marks)

    def call(inputs: Any, initial_state: Any = None, mask: Any = None, training: Any = False) -> Any:
        steps = inputs.shape[1]
        if (
            mask is not None
            or training
            or initial_state is not None
            or steps is None
            or layer.zero_output_for_mask
        ):
            return own(inputs, initial_state=initial_state, mask=mask, training=training)
        image = tuple(inputs.shape[2:])
        shape = cell.compute_output_shape((None, *image))[0]
        every = convolved(ops.reshape(inputs, (-1, *image)), entering, shape)
        every = ops.reshape(every, (-1, steps, *every.shape[1:]))
        results: list[Any] = []
        memory = None
        for step in reversed(range(steps)) if layer.go_backwards else range(steps):
            gates = every[:, step]
            if results:
                gates = gates + convolved(results[-1], kept, shape)
            i, f, c, o = ops.split(gates, 4, axis=channels)
            i, f, o = (cell.recurrent_activation(gate) for gate in (i, f, o))
            new = i * cell.activation(c)
            memory = new if memory is None else f * memory + new
            results.append(o * cell.activation(memory))
        y = ops.stack(results, axis=1) if layer.return_sequences else results[-1]
        return [y, results[-1], memory] if layer.return_state else y

    return call
