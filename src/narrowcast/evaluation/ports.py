"""Between the source's arrays and a written file's: layouts are permuted, integers scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.evaluation.pixels import image_layout
from narrowcast.model import Array, Feed, Model, Preprocessing, TensorSpec, ir
from narrowcast.targets.spelling import dequantizer_after, parameters_of, quantizer_before
from narrowcast.writers.formats import Port, Written

__all__ = ["StoredSpec", "feed_for", "graph_ports", "outputs_as_source", "pixels_of", "specs_of"]


def graph_ports(model: Model) -> Written:
    """The inputs and outputs of a quantised graph as those of a file in the source's layout."""
    graph = model.graph
    inputs = (value for value in graph.inputs if not value.is_initializer())
    return Written(
        tuple(_port(value, dequantizer_after(value)) for value in inputs),
        tuple(_port(value, quantizer_before(value)) for value in graph.outputs),
    )


def _port(value: ir.Value, step: ir.Node | None) -> Port:
    name, dtype = value.name or "", value.dtype.numpy().name if value.dtype is not None else "float32"
    how = parameters_of(step)
    return Port(name, dtype=dtype) if how is None else Port(name, None, how.scale, how.zero_point, dtype)


@dataclass(frozen=True, slots=True)
class StoredSpec(TensorSpec):
    """A real input of a model whose file stores it in integers: data for it may be either.

    Attributes:
        port: how it is stored.
    """

    port: Port

    @property
    def stored(self) -> TensorSpec:
        """The input as the file has it."""
        return TensorSpec(self.name, self.shape, np.dtype(self.port.dtype))

    @property
    def pixels(self) -> Preprocessing | None:
        """What becomes of pixels that 8 bits store as they are, or less 128; None for other types."""
        shift = {"uint8": 0, "int8": 128}.get(self.port.dtype)
        return None if shift is None else Preprocessing((float(shift + self.port.zero_point),), (1 / self.port.scale,))

    def takes_real(self, preprocessing: Preprocessing) -> bool:
        """Whether numbers that are no integers are real ones already, as no other map is asked for than the file's."""
        own = self.pixels
        return own is not None and (own.mean, own.std) == (preprocessing.mean, preprocessing.std)


def specs_of(model: Model) -> tuple[TensorSpec, ...]:
    """The inputs of a model as data are fitted to them: real ones, where integers stand for real numbers."""
    ports = {port.name: port for port in graph_ports(model.read).inputs if port.scale}
    return tuple(
        StoredSpec(spec.name, spec.shape, np.dtype(np.float32), ports[spec.name]) if spec.name in ports else spec
        for spec in model.inputs
    )


def pixels_of(model: Model) -> Preprocessing | None:
    """`StoredSpec.pixels` of a model's only input, where that is an image."""
    stored = [spec for spec in specs_of(model) if isinstance(spec, StoredSpec)]
    image = len(model.inputs) == 1 and stored and image_layout(stored[0].shape) is not None
    return stored[0].pixels if image else None


def feed_for(written: Written, feed: Feed) -> dict[str, Array]:
    """A feed for the source as the written file takes it: permuted, quantised by `round(x / scale) + zero_point`.

    What is missing is the runtime's to say.
    """
    return {port.name: _stored(np.asarray(feed[port.name]), port) for port in written.inputs if port.name in feed}


def _stored(array: Array, port: Port) -> Array:
    if port.permutation is not None:
        array = array.transpose(port.permutation)
    if not port.scale or array.dtype.kind != "f":
        return np.asarray(array, order="C")
    info = np.iinfo(port.dtype)
    stored: Array = np.clip(np.rint(array / port.scale) + port.zero_point, info.min, info.max).astype(port.dtype)
    return stored


def outputs_as_source(ports: Sequence[Port], found: Mapping[str, Array]) -> dict[str, Array]:
    """The written file's outputs, as the source gives them: real values `(stored - zero_point) * scale`, permuted back.

    Raises:
        ModelFileError: the file lacks an output.
    """
    outputs = {}
    for port in ports:
        if port.name not in found:
            raise ModelFileError(f"the file has no output {port.name!r}", hint=f"it has {', '.join(map(repr, found))}")
        array = found[port.name]
        if port.scale and array.dtype.kind in "iu":
            array = (array.astype(np.float32) - port.zero_point) * np.float32(port.scale)
        if port.permutation is not None:
            array = array.transpose(np.argsort(port.permutation))
        outputs[port.name] = array
    return outputs
