"""Outputs of two runs side by side, over a few samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from narrowcast.errors import ModelFileError
from narrowcast.evaluation.metrics import Noise, is_classifier
from narrowcast.evaluation.parts import parts_of
from narrowcast.evaluation.results import Leg, OutputParity
from narrowcast.model import Array, Model

__all__ = ["Comparison"]


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

    @property
    def exact(self) -> bool:
        """Whether every number was the same."""
        return self.samples > 0 and all(noise.largest == 0 for noise in self.noises.values())

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
