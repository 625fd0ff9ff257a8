"""What is known of a value of a Keras model, and its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Built", "Flat", "Free", "Image", "Layer", "Lost", "Shaped", "Value"]


@dataclass(frozen=True)
class Image:
    """A value with a channel axis."""

    channels: int | None
    data_format: str
    rank: int  # with the batch; 0 if it is not known


@dataclass(frozen=True)
class Flat:
    """The features of a flattened image, in the order of its data format."""

    channels: int
    data_format: str


@dataclass(frozen=True)
class Lost:
    """A value whose axes could not be followed, and why.

    ``made`` is true of what comes of a Reshape of features: an image, if a convolution reads it.
    """

    reason: str
    made: bool = False


@dataclass(frozen=True)
class Shaped:
    """An input, of which nothing says yet which axis is which."""

    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Free:
    """Features whose order nothing depends on but what reads them, and the layers that make them."""

    makers: tuple[Layer, ...]


@dataclass(eq=False)
class Built:
    """What a Reshape makes of :class:`Free` features: an image, as soon as a layer reads it as one."""

    shape: Sequence[int]
    makers: tuple[Layer, ...]
    name: str
    data_format: str = ""


Value = Image | Flat | Lost | Shaped | Free | Built | None  # None: it has nothing to do with an image


@dataclass
class Layer:
    """A layer of the architecture.

    Attributes:
        kind: Its class, by the name that Keras 2 gave it; of a wrapper, that of the wrapped layer.
        config: Its configuration; of a wrapper, that of the wrapped layer.
        wrapper: The class of its wrapper, if it has one.
        data_format: Its data format, empty if it has none.
        inputs: What it is called on, call by call.
        output: The order of the features that it makes, if an image is built of them.
        children: The layers of a model within the model.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    wrapper: str = ""
    inputs: list[Value] = field(default_factory=list)
    output: Flat | None = None
    children: dict[str, Layer] = field(default_factory=dict)

    @property
    def data_format(self) -> str:
        given = self.config.get("data_format") or self.config.get("dim_ordering") or ""
        return {"th": "channels_first", "tf": "channels_last"}.get(given, str(given))

    def walk(self) -> Iterator[Layer]:
        yield self
        for child in self.children.values():
            yield from child.walk()
