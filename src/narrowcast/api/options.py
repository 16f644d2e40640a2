"""What several verbs take: how files become inputs, and whom to tell of progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar, cast

from narrowcast.errors import UsageError, did_you_mean
from narrowcast.model import Array, Feed

__all__ = [
    "CompareOptions",
    "Data",
    "DataOptions",
    "DiffOptions",
    "EditOptions",
    "FileOptions",
    "FinetuneOptions",
    "IoLayout",
    "LoadOptions",
    "MetricName",
    "PreprocessingOptions",
    "Progress",
    "QuantizeOptions",
    "ReduceOptions",
    "ReferenceKind",
    "SaveOptions",
    "TranscribeOptions",
    "TuneOptions",
    "pick",
    "refuse_unknown",
    "silent",
]

Data: TypeAlias = str | Path | Array | Mapping[str, Array] | Iterable[Feed]
"""A data set: a path to a folder, .npz or .npy; one array of samples; arrays by input name; or feeds, taken once."""


IoLayout: TypeAlias = Literal["target", "source"]

ReferenceKind: TypeAlias = Literal["auto", "original", "canonical"]
"""What a file is compared with: the original file on its own runtime wherever that is installed; the graph that was
read, on ONNX Runtime; or, with "auto", the original for ONNX files, and for Keras files only where Keras is loaded
already, as loading it takes longer than a conversion."""


MetricName: TypeAlias = str | Callable[..., Any]
"""A metric by its name, as "FILE.py:function", or as the function itself."""


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
        sample_rate: samples per second that recordings have to have; any one rate if None.
        seed: chooses the samples.
    """

    label_offset: int
    sample_rate: int | None
    seed: int


class EditOptions(TypedDict, total=False):
    """How a network is changed while it is read.

    Attributes:
        edits: a JSON file of edits, or what it would hold (docs/guide/edits.md).
        cut_inputs, cut_outputs: tensors that become inputs, and the outputs, after the edits.
        substitute: operators to replace by others in the canonical graph, as `{"swish": "hard_swish"}`.
    """

    edits: str | Path | Mapping[str, Any] | None
    cut_inputs: Sequence[str]
    cut_outputs: Sequence[str]
    substitute: Mapping[str, str] | None


class LoadOptions(EditOptions, total=False):
    """How a model is read.

    Attributes:
        source_format: the format's name, where neither content nor suffix tells, or tell wrong.
        batch: size of a symbolic first dimension; "dynamic" leaves it open.
        input_shapes: full shapes by input name, for inputs with other symbolic dimensions.
        freeze: inputs to make constant, and the number that fills them.
        shapes: sizes of the dimensions that are open after that; of several, a TFLite file holds a graph for each.
        signature: the key of the graph that is meant, in files of several; empty for the first.
        labels: a text file with one class name a line, in output order.
        keep_custom: whether operators of a .tflite file's own making, as of MediaPipe or for detection, stay such in a
            TFLite file; elsewhere, and without, they become others.
    """

    source_format: str | None
    batch: int | Literal["dynamic"]
    input_shapes: Mapping[str, tuple[int | None, ...]] | None
    freeze: Mapping[str, float] | None
    shapes: Sequence[tuple[int, ...]]
    signature: str
    labels: str | Path | None
    keep_custom: bool


class ReduceOptions(LoadOptions, total=False):
    """How the smallest part of a network is looked for on which a command fails.

    Attributes:
        most_runs: of the command; 200 if left out.
        seconds: that a run may take, 60 if left out. What takes longer is stopped with all that it has started, and
            counts as a failure of its own kind.
        opset: of the files that it is run on; the newest that is written if None.
        seed: of random weights.
    """

    most_runs: int
    seconds: float
    opset: int | None
    seed: int


class QuantizeOptions(DataOptions, total=False):
    """How a model is quantised, and how the data for that becomes inputs.

    Attributes:
        opset: version of the operator set, where the format has versions; its writer's own choice if None.
        samples: how many samples to calibrate on, at most.
        held: how many are set aside before, as in the recipe of a search that they have judged.
        weights: "per-channel" or "per-tensor" scales.
        weight_bits: 4 or 8, of integer weights; the scheme's own, mostly 8, if None. Where the target has kernels for 8
            alone, weights have 8, and a note says so.
        block_size: how many weights of 4 bits along the inputs share a scale; all of an output channel if None.
        observer: "auto" for the best of some by the network's outputs; or "minmax", "activation", "moving_average",
            "percentile", "mse" or "entropy".
        io_type: type of inputs and outputs, "int8", "uint8" or "float32"; the scheme's own if None.
        overrides: other schemes for nodes of some names, as `{"head/*": "float32", "*/stem": "int16x8"}`.
        repairs: names of `quantization.repairs.REPAIRS`, in the order in which they are made.
        global_scale: the largest magnitude of every activation, for int8_pow2: it takes the place of calibration data.
    """

    opset: int | None
    samples: int
    held: int
    weights: str
    weight_bits: int | None
    block_size: int | None
    observer: str
    io_type: str | None
    overrides: Mapping[str, str] | None
    repairs: Sequence[str]
    global_scale: float | None


class FinetuneOptions(QuantizeOptions, total=False):
    """How a quantised model learns; see `training.Recipe` for the defaults of what is left out.

    Attributes:
        piece_epochs: how often each piece of the network sees each sample before the whole does.
        learning_rate: in steps of the weights; chosen by the number of updates if None.
        batch_size: samples of one update.
        device: "cpu" or "cuda".
        learned_steps: whether scales learn too.
    """

    piece_epochs: int
    learning_rate: float | None
    batch_size: int
    device: str
    learned_steps: bool


class DiffOptions(LoadOptions, QuantizeOptions, total=False):
    """How two networks are compared block by block; the options of `quantize` concern a scheme alone.

    Attributes:
        compared: on how many samples, at most; 32 if left out.
        sensitivity: whether to measure what single blocks cost the outputs: only one quantised, and all but it.
        seconds: for that, 60 if left out; blocks that there is no time for are left out, those that seem best first.
        metric: what else to tell of both: a name of `evaluation.task_metrics`, "FILE.py:function", or a function.
    """

    compared: int
    sensitivity: bool
    seconds: float
    metric: MetricName | None


class SaveOptions(DataOptions, total=False):
    """How a model is written and proven, and how the data for that becomes inputs.

    Attributes:
        opset: as for `QuantizeOptions`.
        inline_limit: bytes of a tensor beyond which JSON has its elements in a file beside it; never if None.
        io_layout: "target" for the target's own layout of image inputs and outputs, "source" to keep the source's.
        verify: whether to run the file; without it nothing is proven.
        reference: what it is compared with: "original", the source file on its own runtime; "canonical", the graph that
            was read from it; or "auto", the original unless that is a Keras file and Keras is not loaded.
    """

    opset: int | None
    inline_limit: int | None
    io_layout: IoLayout
    verify: bool
    reference: ReferenceKind


class TranscribeOptions(TypedDict, total=False):
    """How a file becomes JSON, or JSON a file.

    Attributes:
        source_format: as for `LoadOptions`.
        inline_limit: as for `SaveOptions`.
    """

    source_format: str | None
    inline_limit: int | None


class FileOptions(LoadOptions, QuantizeOptions, SaveOptions, total=False):
    """All that concerns the making of a file."""


class CompareOptions(FileOptions, total=False):
    """How files are made, measured and chosen from; `io_type` concerns full_int8 alone.

    Attributes:
        threads: the numbers of threads to measure latency with.
        metric: what the files are judged by: a name of `evaluation.task_metrics`, "FILE.py:function", or a function
            of the source's outputs, the file's, the label and the feed; top-1, or agreement, if None.
        max_drop: what a recommended file may lose of that, in its own unit (a fraction of top-1).
        min_metric: what of it a recommended file has to keep, in place of `max_drop`.
        prefer: what the recommended file is best in.
    """

    threads: Iterable[int]
    metric: MetricName | None
    max_drop: float
    min_metric: float | None
    prefer: Literal["latency", "size"]


class TuneOptions(FileOptions, total=False):
    """How the file is made and proven that a search starts from; what it does not say is as for `quantize`."""


Record = TypeVar("Record")


def refuse_unknown(record: type[Any], options: Mapping[str, Any]) -> None:
    """Raises UsageError where an option is none of a record's."""
    known = record.__annotations__
    for name in options:
        if name not in known:
            raise UsageError(f"unknown option {name!r}", hint=did_you_mean(name, known) or ", ".join(sorted(known)))


def pick(record: type[Record], options: Mapping[str, Any]) -> Record:
    """Those of some options that a record has."""
    return cast(Record, {name: value for name, value in options.items() if name in record.__annotations__})
