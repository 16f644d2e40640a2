"""What several verbs take: how files become inputs, and whom to tell of progress."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias, TypedDict

from narrowcast.model import Array, Feed

__all__ = ["Data", "DataOptions", "PreprocessingOptions", "Progress", "silent"]

Data: TypeAlias = str | Path | Array | Mapping[str, Array] | Iterable[Feed]
"""A data set: a path to a folder, .npz or .npy; one array of samples; arrays by input name; or feeds, taken once."""


class Progress(Protocol):
    """Is told how far a verb has come; may raise to stop it."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Takes note that `done` of `total` steps of `stage` are done; None for an unknown number of steps."""


def silent(stage: str, done: int, total: int | None) -> None:
    """A `Progress` that takes no notice."""


class PreprocessingOptions(TypedDict, total=False):
    """How a photograph becomes an input; options that are None or left out take the model's own or the default.

    Attributes:
        preprocess: "tf", "torch", "caffe" or "none", as Keras names them.
        mean: subtracted from each channel, in units of 0..255; one value, or one for each channel.
        std: divides each channel after the mean.
        scale: multiplies each value.
        channel_order: "rgb", "bgr" or "gray".
        normalize: an expression in x, as "(x - 127.5) / 127.5", in place of mean, std and scale.
        resize: side in pixels; the model's own input size otherwise.
        crop: central fraction of the short side that is cut out before the resize.
    """

    preprocess: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    scale: float | None
    channel_order: str | None
    normalize: str | None
    resize: int | None
    crop: float | None


class DataOptions(PreprocessingOptions, total=False):
    """How a data set is read.

    Attributes:
        label_offset: added to each label.
        seed: chooses the samples.
    """

    label_offset: int
    seed: int
