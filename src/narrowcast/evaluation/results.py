"""What the tool has to say, as frozen data: made by evaluation and the api, rendered by `report`, not computed again.

Units: bytes, seconds, decibels; accuracies and agreements are fractions in 0..1; None means "not measured".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from narrowcast.evaluation.trials import Trial

__all__ = [
    "Accuracy",
    "Benchmark",
    "Comparison",
    "Guess",
    "Inspection",
    "Latency",
    "OperatorCount",
    "OutputParity",
    "Parity",
    "Prediction",
    "Refusal",
    "Row",
    "TensorFacts",
    "WrittenFile",
]


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output compared with the source's, over all samples.

    Attributes:
        name: the output's name in the source.
        max_abs_error: the largest absolute difference.
        sqnr_db: 10 log10(sum(source^2) / sum((source - written)^2)); infinite for equal arrays.
        top1_agreement: how often both have the same largest class; None where the output has no class axis.
    """

    name: str
    max_abs_error: float
    sqnr_db: float
    top1_agreement: float | None


@dataclass(frozen=True, slots=True)
class Parity:
    """A written file run on its own runtime beside its source.

    Attributes:
        reference: what the source was run on, e.g. "onnxruntime 1.31.1, original file".
        runtime: what the written file was run on, e.g. "ONNX Runtime 1.32.0".
        samples: how many samples were compared, and whether they were the user's own or random.
        threshold_db: the SQNR asked of every output; None where the scheme only reports.
        warn_db: below this SQNR a warning is due, though the file stands.
    """

    reference: str
    runtime: str
    samples: int
    random_samples: bool
    outputs: tuple[OutputParity, ...]
    threshold_db: float | None
    warn_db: float | None

    @property
    def sqnr_db(self) -> float:
        """The worst output's SQNR."""
        return min((output.sqnr_db for output in self.outputs), default=float("inf"))

    @property
    def passed(self) -> bool:
        """Whether every output reaches the threshold."""
        return self.threshold_db is None or self.sqnr_db >= self.threshold_db

    @property
    def doubtful(self) -> bool:
        """Whether the file stands but is further from its source than its scheme usually is."""
        return self.warn_db is not None and self.sqnr_db < self.warn_db


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file on the disk and the proof of it.

    Attributes:
        path: where it lies (`*.unverified` when the verification failed).
        bytes: its size.
        format: the writer's name ("onnx").
        scheme: the quantisation scheme it carries.
        parity: the verification, None when it was not asked for or cannot be run here (see `unverified_because`).
        notes: what the user should know: layouts that changed, operators left in float, replaced operators.
    """

    path: Path
    bytes: int
    format: str
    scheme: str
    parity: Parity | None = None
    unverified_because: str = ""
    notes: tuple[str, ...] = ()

    @property
    def verified(self) -> bool | None:
        """Whether it was run and does what its source does; None where it was not run."""
        return None if self.parity is None else self.parity.passed


@dataclass(frozen=True, slots=True)
class Latency:
    """Wall-clock seconds of single inferences at a number of threads: median, and the quartiles around it."""

    threads: int
    median_s: float
    q1_s: float
    q3_s: float
    runs: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Classification accuracy over a labelled data set; `agreement` is with the source's own prediction."""

    samples: int
    top1: float | None
    top5: float | None
    agreement: float | None


@dataclass(frozen=True, slots=True)
class OperatorCount:
    """How many operators a file holds and how many of them the runtime's default delegate leaves to its own kernels.

    `by_type` pairs an operator's name with its count, most frequent first.
    """

    total: int
    undelegated: int | None
    transposes: int
    by_type: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison: the source model or one written file.

    Attributes:
        name: "source", or the scheme, and the format where there are several.
        peak_memory_bytes: peak resident memory that opening and running the file adds to a fresh process.
        trial: what the file was made by; None for the source, and for files that were there already.
    """

    name: str
    path: Path
    bytes: int
    runtime: str
    accuracy: Accuracy | None = None
    latencies: tuple[Latency, ...] = ()
    peak_memory_bytes: int | None = None
    operators: OperatorCount | None = None
    written: WrittenFile | None = None
    failure: str = ""
    trial: Trial | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The source and its files side by side, and the one recommended.

    Attributes:
        rows: the source first.
        recommended: name of the recommended row, None when no file stays within the budget.
        reason: why, in one sentence.
        max_drop: the accuracy budget, as a fraction.
        data: description of the data set measured on; `calibration` likewise.
        machine: processor, cores, versions of the runtimes.
    """

    source: Path
    rows: tuple[Row, ...]
    recommended: str | None
    reason: str
    max_drop: float
    data: str
    calibration: str
    machine: str
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Files measured alternately in one run; their rows carry no accuracy."""

    rows: tuple[Row, ...]
    machine: str


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """An input or output as a file declares it; real = (stored - zero_point) * scale where `scale` is not None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rewrite that looked possible and was not made.

    Attributes:
        rule: name of the rule.
        nodes: names of the nodes concerned.
        reason: why it was refused.
    """

    rule: str
    nodes: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Lacking:
    """An operator of a graph that a target cannot run as it is.

    Attributes:
        node: its name.
        operator: what it is.
        why: what the target lacks, in words that complete the target's title.
        replaced: whether the target runs something equivalent, which a file for it would hold instead.
    """

    node: str
    operator: str
    why: str
    replaced: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a model file holds.

    Attributes:
        format: the reader's name ("keras", "onnx").
        producer: what wrote the file, empty where it does not say.
        quantization: in words ("float32", "int8 weights and activations, float32 inputs").
        parameters: number of constant elements (weights, biases, scales).
        parameter_types: bytes of constants by numpy dtype, largest first.
        refusals: only where they were asked for.
        target: title of the target that was asked about; empty for none.
        lacking: what that cannot run as it is.
    """

    path: Path
    bytes: int
    format: str
    producer: str
    quantization: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    operators: OperatorCount
    parameters: int
    parameter_types: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    target: str = ""
    lacking: tuple[Lacking, ...] = ()


@dataclass(frozen=True, slots=True)
class Guess:
    """One class of a prediction; `label` is empty where no names are known, `score` is the output's real value."""

    index: int
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The best classes of one image, best first; `seconds` is the time of the one inference."""

    path: Path
    image: Path
    guesses: tuple[Guess, ...]
    runtime: str
    seconds: float
    preprocessing: str
