"""Outputs of two runs side by side, over a few samples; and a graph run on real values, whatever its ports store."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from narrowcast.errors import ModelFileError
from narrowcast.evaluation.metrics import Noise, is_classifier
from narrowcast.evaluation.parts import parts_of
from narrowcast.evaluation.ports import feed_for, graph_ports, outputs_as_source
from narrowcast.evaluation.results import Leg, OutputParity
from narrowcast.evaluation.source import THREADS
from narrowcast.model import Array, Feed, Model
from narrowcast.reference import Reference

__all__ = ["Comparison", "RealGraph"]


class RealGraph:
    """A graph on ONNX Runtime; one that is quantised without optimisations, which compute it in another arithmetic.

    Args:
        model: canonical, perhaps quantised; it is not changed.
    """

    def __init__(self, model: Model) -> None:
        self.ports = graph_ports(model)
        quantised = any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph)
        self._reference = Reference(model, threads=THREADS, optimize=not quantised)

    def feed(self, feed: Feed) -> dict[str, Array]:
        """A feed of real values as the graph's inputs store them."""
        return feed_for(self.ports, feed)

    def run(self, feed: Feed) -> dict[str, Array]:
        """Real outputs by name."""
        return outputs_as_source(self.ports.outputs, self._reference.run(self.feed(feed)))


class Comparison:
    """The outputs of a model as two runs give them.

    Args:
        model: whose outputs they are, by names and shapes.
    """

    def __init__(self, model: Model) -> None:
        self.samples = 0
        self.noises = {
            spec.name: Noise(parts_of(value), classes=is_classifier(spec.shape))
            for spec, value in zip(model.outputs, model.graph.outputs, strict=True)
        }

    def update(self, wanted: Mapping[str, Array], found: Mapping[str, Array], where: str = "") -> None:
        """Takes one sample's real outputs by name.

        Raises:
            ModelFileError: an output is missing, or its shape differs in more than axes of size 1.
        """
        self.samples += 1
        for name, noise in [*self.noises.items()]:
            if name not in wanted or name not in found:
                which = "source's" if name in found else "file's"
                raise ModelFileError(f"the output {name!r} is none of the {which}", where=where)
            want, have = wanted[name], found[name]
            if [dim for dim in want.shape if dim != 1] != [dim for dim in have.shape if dim != 1]:
                raise ModelFileError(
                    f"the output {name!r} has the shape {have.shape} where the source's is {want.shape}", where=where
                )
            if noise.parts.size > 1 and want.shape[noise.parts.axis] != noise.parts.size:  # as long as the data make it
                noise = self.noises[name] = Noise(classes=noise.classes)
            noise.update(want, have.reshape(want.shape))

    def below(self, least: float) -> list[str]:
        """The outputs that do not reach so many dB, in all or in a part."""
        return [name for name, noise in self.noises.items() if min(noise.decibels, noise.worst()) < least]

    def leg(self, required: float | None, usual: float | None = None, resolved: Collection[str] = ()) -> Leg:
        """The figures, and what is asked of them.

        Args:
            required: dB that every output and every part of one must reach, but only those parts that vanish where
                `usual` says what quantisation may lose; None for none.
            usual: dB below which a loss is warned of.
            resolved: the outputs whose error is that of roundings.
        """
        outputs = []
        for name, noise in self.noises.items():
            lost = noise.lost(usual)
            worst = noise.worst() if usual is None else min((part.sqnr_db for part in lost), default=float("inf"))
            outputs.append(
                OutputParity(
                    name,
                    noise.largest,
                    noise.decibels,
                    noise.agreement,
                    min(worst, noise.decibels),
                    lost,
                    name in resolved,
                    noise.samples > 0 and not noise.signal.any(),
                )
            )
        return Leg(tuple(outputs), required, usual)
