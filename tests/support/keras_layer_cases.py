"""A builder for every layer of Keras that speaks of channels or of axes, which takes the layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.keras_models import keras

layers, ops = keras.layers, keras.ops

DISTINCT = {1: (7,), 2: (5, 7), 3: (3, 5, 4)}
CHANNELS = 6


@dataclass(frozen=True)
class Images:
    """What a builder is to know of its layout; ``lead`` are the axes between batch and image."""

    order: str
    spatial: int
    equal: bool
    lead: tuple[int, ...] = ()

    @property
    def suffix(self) -> str:
        return "equal" if self.equal else "distinct"

    @property
    def sizes(self) -> tuple[int, ...]:
        return (CHANNELS,) * self.spatial if self.equal else DISTINCT[self.spatial]

    @property
    def filters(self) -> int:
        return CHANNELS if self.equal else 4

    @property
    def channels(self) -> int:
        """The axis of the channels."""
        return 1 + len(self.lead) if self.order == "channels_first" else 1 + len(self.lead) + self.spatial

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes."""
        first = 1 + len(self.lead) + (self.order == "channels_first")
        return tuple(range(first, first + self.spatial))

    def join(self, channels: Any, spatial: Sequence[Any]) -> tuple[Any, ...]:
        """An entry per axis of an image, without the batch."""
        return (channels, *spatial) if self.order == "channels_first" else (*spatial, channels)

    def layer(self, cls: Any, name: str = "layer", **config: Any) -> Any:
        return cls(data_format=self.order, name=f"{name}_{self.suffix}", **config)

    def named(self, cls: Any, name: str = "layer", **config: Any) -> Any:
        """A layer that states no layout."""
        return cls(name=f"{name}_{self.suffix}", **config)

    def stem(self, x: Any) -> Any:
        """A convolution, by which it is known that this is an image."""
        cls = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}[self.spatial]
        return self.layer(cls, "stem", filters=self.filters, kernel_size=1, use_bias=False)(x)


@dataclass(frozen=True)
class Case:
    """A builder, and what is to be expected of its result.

    Attributes:
        spatial: The number of the image's spatial axes.
        build: Makes outputs of an input.
        kept: Is every ``layer`` of the original one of the same name, class and configuration?
        image: Are outputs of rank 3 and more images?
        lead: Sizes between batch and image.
    """

    spatial: int
    build: Callable[[Images, Any], Any]
    kept: bool = True
    image: bool = True
    lead: tuple[int, ...] = ()


def stated(spatial: int, cls: Any, kept: bool = True, **config: Any) -> Case:
    """A layer with a data format."""
    needs_filters = "Conv" in cls.__name__ and "Depthwise" not in cls.__name__

    def build(i: Images, x: Any) -> Any:
        # not as many as the result has rows: Keras itself adds the bias of such ones along a wrong axis
        more = {"filters": 16} if needs_filters else {}
        return i.layer(cls, **more, **config)(x)

    return Case(spatial, build, kept)


def after_stem(spatial: int, make: Callable[[Images], Any], **expected: Any) -> Case:
    """A layer that states no data format, on what is an image by the layer before it."""
    return Case(spatial, lambda i, x: make(i)(i.stem(x)), **expected)


def dense_after(make: Callable[[Images], Any], **expected: Any) -> Case:
    """A layer that flattens, and a Dense, whose rows are in its order."""

    def build(i: Images, x: Any) -> Any:
        return i.named(layers.Dense, "dense", units=3)(make(i)(i.stem(x)))

    return Case(2, build, **expected)


def per_spatial(name: str, **config: Any) -> dict[str, Case]:
    """The layer for signals, images and volumes."""
    classes = {n: getattr(layers, f"{name}{n}D") for n in (1, 2, 3)}
    return {f"{name}{n}D {config or ''}".strip(): stated(n, cls, **config) for n, cls in classes.items()}


CASES: dict[str, Case] = {
    # Convolutions.
    **per_spatial("Conv", kernel_size=3, padding="same", strides=2),
    "Conv1D causal": stated(1, layers.Conv1D, kernel_size=3, padding="causal", dilation_rate=2),
    "Conv2D uneven": stated(2, layers.Conv2D, kernel_size=(3, 2), strides=(1, 2), activation="relu"),
    "Conv2D dilated": stated(2, layers.Conv2D, kernel_size=2, dilation_rate=(2, 1), use_bias=False),
    "Conv2D groups": stated(2, layers.Conv2D, kernel_size=2, groups=2),
    "Conv3D groups": stated(3, layers.Conv3D, kernel_size=2, groups=2),
    "DepthwiseConv1D": stated(1, layers.DepthwiseConv1D, kernel_size=3, strides=2, padding="same"),
    "DepthwiseConv2D": stated(2, layers.DepthwiseConv2D, kernel_size=(3, 2), depth_multiplier=2),
    "SeparableConv1D": stated(1, layers.SeparableConv1D, kernel_size=3, padding="same", depth_multiplier=2),
    "SeparableConv2D": stated(2, layers.SeparableConv2D, kernel_size=3, strides=2, activation="tanh"),
    "Conv1DTranspose": stated(1, layers.Conv1DTranspose, kernel_size=3, strides=2, padding="same"),
    "Conv2DTranspose": stated(2, layers.Conv2DTranspose, kernel_size=(3, 2), strides=(2, 3)),
    "Conv2DTranspose same": stated(2, layers.Conv2DTranspose, kernel_size=4, strides=2, padding="same"),
    "Conv2DTranspose more": stated(
        2, layers.Conv2DTranspose, kernel_size=3, strides=2, padding="same", output_padding=(1, 0)
    ),
    "Conv3DTranspose": stated(3, layers.Conv3DTranspose, kernel_size=2, strides=2),
    # Pools.
    **per_spatial("MaxPooling", pool_size=2),
    **per_spatial("AveragePooling", pool_size=3, strides=2, padding="same"),
    **per_spatial("GlobalMaxPooling"),
    **per_spatial("GlobalAveragePooling"),
    "GlobalMaxPooling2D keepdims": stated(2, layers.GlobalMaxPooling2D, keepdims=True),
    "GlobalAveragePooling1D keepdims": stated(1, layers.GlobalAveragePooling1D, keepdims=True),
    "MaxPooling2D same": stated(2, layers.MaxPooling2D, pool_size=(3, 2), strides=(2, 1), padding="same"),
    # Sizes.
    "UpSampling1D": after_stem(1, lambda i: i.named(layers.UpSampling1D, size=2), kept=False),
    "UpSampling2D": stated(2, layers.UpSampling2D, size=(2, 3)),
    "UpSampling2D bilinear": stated(2, layers.UpSampling2D, interpolation="bilinear"),
    "UpSampling2D bicubic": stated(2, layers.UpSampling2D, kept=False, interpolation="bicubic"),
    "UpSampling3D": stated(3, layers.UpSampling3D, size=(1, 2, 3)),
    "ZeroPadding1D": stated(1, layers.ZeroPadding1D, padding=(1, 2)),
    "ZeroPadding2D": stated(2, layers.ZeroPadding2D, padding=((1, 0), (2, 1))),
    "ZeroPadding3D": stated(3, layers.ZeroPadding3D, padding=((1, 0), (2, 1), (0, 1))),
    "Cropping1D": after_stem(1, lambda i: i.named(layers.Cropping1D, cropping=(1, 2)), kept=False),
    "Cropping2D": stated(2, layers.Cropping2D, cropping=((1, 0), (2, 1))),
    "Cropping3D": stated(3, layers.Cropping3D, cropping=((1, 0), (2, 1), (0, 1))),
    "Resizing": stated(2, layers.Resizing, kept=False, height=4, width=9),
    "CenterCrop": stated(2, layers.CenterCrop, kept=False, height=3, width=4),
    # Normalisation.
    "BatchNormalization": after_stem(2, lambda i: i.named(layers.BatchNormalization, axis=i.channels)),
    "BatchNormalization 1D": after_stem(
        1, lambda i: i.named(layers.BatchNormalization, axis=i.channels, center=False)
    ),
    "BatchNormalization 3D": after_stem(
        3, lambda i: i.named(layers.BatchNormalization, axis=i.channels, scale=False)
    ),
    "LayerNormalization": after_stem(2, lambda i: i.named(layers.LayerNormalization, axis=i.channels)),
    "LayerNormalization 1D": after_stem(
        1, lambda i: i.named(layers.LayerNormalization, axis=i.channels, center=False)
    ),
    "LayerNormalization all": after_stem(
        2, lambda i: i.named(layers.LayerNormalization, axis=sorted((i.channels, *i.axes)))
    ),
    "LayerNormalization image": after_stem(2, lambda i: i.named(layers.LayerNormalization, axis=i.axes)),
    "LayerNormalization some": after_stem(
        2, lambda i: i.named(layers.LayerNormalization, axis=sorted((i.channels, i.axes[1])), scale=False)
    ),
    "GroupNormalization": after_stem(
        2, lambda i: i.named(layers.GroupNormalization, groups=2, axis=i.channels)
    ),
    "GroupNormalization 1D": after_stem(
        1, lambda i: i.named(layers.GroupNormalization, groups=-1, axis=i.channels, scale=False)
    ),
    "RMSNormalization": after_stem(2, lambda i: i.named(layers.RMSNormalization), kept=False),
    "UnitNormalization": after_stem(
        2, lambda i: i.named(layers.UnitNormalization, axis=i.channels), kept=False
    ),
    "Normalization": after_stem(
        2,
        lambda i: i.named(
            layers.Normalization, axis=i.channels, mean=[0.5] * i.filters, variance=[2.0] * i.filters
        ),
    ),
    "Rescaling": after_stem(2, lambda i: i.named(layers.Rescaling, scale=0.5, offset=1.0), kept=False),
    # Activations, and what is left out when a model is not trained.
    "PReLU": after_stem(2, lambda i: i.named(layers.PReLU)),
    "PReLU shared": after_stem(2, lambda i: i.named(layers.PReLU, shared_axes=list(i.axes))),
    "PReLU shared 3D": after_stem(3, lambda i: i.named(layers.PReLU, shared_axes=list(i.axes[:2]))),
    "Softmax": after_stem(2, lambda i: i.named(layers.Softmax, axis=i.channels)),
    "Softmax of rows": after_stem(2, lambda i: i.named(layers.Softmax, axis=i.axes[0])),
    "Dropout": after_stem(2, lambda i: i.named(layers.Dropout, rate=0.5), kept=False),
    "SpatialDropout1D": after_stem(1, lambda i: i.named(layers.SpatialDropout1D, rate=0.5), kept=False),
    "SpatialDropout2D": after_stem(2, lambda i: i.layer(layers.SpatialDropout2D, rate=0.5), kept=False),
    "SpatialDropout3D": after_stem(3, lambda i: i.layer(layers.SpatialDropout3D, rate=0.5), kept=False),
    # Merging.
    "Concatenate": Case(2, lambda i, x: i.named(layers.Concatenate, axis=i.channels)([x, i.stem(x)])),
    "Concatenate of rows": Case(2, lambda i, x: _twice(i, layers.Concatenate, x, axis=i.axes[0])),
    "Add": Case(2, lambda i, x: _twice(i, layers.Add, x)),
    # Shapes.
    "Flatten stated": dense_after(lambda i: i.layer(layers.Flatten), kept=False),
    "Flatten": dense_after(lambda i: i.named(layers.Flatten), kept=False),
    "Reshape": dense_after(
        lambda i: i.named(layers.Reshape, target_shape=(i.filters * i.sizes[0] * i.sizes[1],)), kept=False
    ),
    "Permute": dense_after(lambda i: _permuted(i), kept=False),
    "Permute after Dense": Case(2, lambda i, x: _tokens(i, x), image=False, kept=False),
    "Reshape to image": Case(2, lambda i, x: _image_again(i, x), kept=False),
    "RepeatVector": Case(2, lambda i, x: _repeated(i, x), image=False, kept=False),
    # Time.
    "TimeDistributed": Case(2, lambda i, x: _each(i, x), lead=(3,), kept=False),
    "ConvLSTM1D": Case(1, lambda i, x: _conv_lstm(i, x, layers.ConvLSTM1D), lead=(3,), kept=False),
    "ConvLSTM2D": Case(
        2,
        lambda i, x: _conv_lstm(i, x, layers.ConvLSTM2D, return_sequences=True, strides=2),
        lead=(3,),
        kept=False,
    ),
    # More than layers.
    "MultiHeadAttention": Case(2, lambda i, x: _attention(i, x), image=False, kept=False),
    "keras.ops": Case(2, lambda i, x: _operations(i, x), kept=False),
}


def _twice(i: Images, cls: Any, x: Any, **config: Any) -> Any:
    y = i.stem(x)
    return i.named(cls, **config)([y, i.named(layers.ReLU, "relu")(y)])


def _permuted(i: Images) -> Any:
    """A Permute of the image's axes that the original has, then a Flatten."""
    turned = i.named(layers.Permute, dims=i.join(3, (2, 1)) if i.order == "channels_last" else (1, 3, 2))
    flat = i.named(layers.Flatten, "flat")
    return lambda x: flat(turned(x))


def _tokens(i: Images, x: Any) -> Any:
    """Axes that are no image's any more are left as they are."""
    y = i.layer(layers.Flatten, "flat")(i.stem(x))
    y = layers.Reshape((4, 6))(layers.Dense(24, name=f"dense_{i.suffix}")(y))
    return layers.Permute((2, 1))(y)


def _image_again(i: Images, x: Any) -> Any:
    """A vector that becomes an image where the model says so."""
    y = i.layer(layers.GlobalAveragePooling2D, "mean")(i.stem(x))
    y = layers.Dense(4 * 5 * i.filters, name=f"dense_{i.suffix}")(y)
    y = layers.Reshape(i.join(i.filters, (4, 5)))(y)
    return i.layer(layers.Conv2D, "last", filters=3, kernel_size=2)(y)


def _repeated(i: Images, x: Any) -> Any:
    y = layers.RepeatVector(4)(i.layer(layers.GlobalMaxPooling2D, "largest")(i.stem(x)))
    return layers.Dense(3, name=f"dense_{i.suffix}")(y)


def _each(i: Images, x: Any) -> Any:
    inner = i.layer(layers.Conv2D, "inner", filters=i.filters, kernel_size=2)
    y = i.named(layers.TimeDistributed, layer=inner)(x)
    pool = i.layer(layers.MaxPooling2D, "pool")
    return i.named(layers.TimeDistributed, "pooled", layer=pool)(y)


def _conv_lstm(i: Images, x: Any, cls: Any, **config: Any) -> Any:
    return i.layer(cls, filters=i.filters, kernel_size=2, **config)(x)


def _attention(i: Images, x: Any) -> Any:
    """Attention over the pixels of an image; channels first it is turned before, by a Permute."""
    y, count = i.stem(x), i.sizes[0] * i.sizes[1]
    if i.order == "channels_first":
        y = layers.Permute((2, 1))(layers.Reshape((i.filters, count))(y))
    else:
        y = layers.Reshape((count, i.filters))(y)
    return i.named(layers.MultiHeadAttention, num_heads=2, key_dim=3)(y, y)


def _operations(i: Images, x: Any) -> Any:
    y = i.stem(x)
    mean = ops.mean(y, axis=i.axes, keepdims=True)
    largest = ops.max(y, axis=i.channels, keepdims=True)
    y = ops.sigmoid(ops.subtract(y, mean)) * largest
    parts = ops.split(y, 2, axis=i.channels)
    y = ops.concatenate([ops.flip(parts[1], axis=i.axes[0]), parts[0]], axis=i.channels)
    return ops.pad(y, [(0, 0), *i.join((1, 0), ((0, 1), (2, 0)))])
