"""What the tool has to say, as frozen data: made by evaluation and the api, rendered by `report`, not computed again.

Units: bytes, seconds, decibels; accuracies and agreements are fractions in 0..1; None means "not measured".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from narrowcast.evaluation.networks.records import Network
from narrowcast.evaluation.trials import Trial

__all__ = [
    "Accuracy",
    "Benchmark",
    "Comparison",
    "Guess",
    "Inspection",
    "Interval",
    "Latency",
    "LayerParity",
    "Leg",
    "OperatorCount",
    "OutputParity",
    "Parity",
    "PartParity",
    "Prediction",
    "Refusal",
    "Row",
    "Score",
    "TensorFacts",
    "WrittenFile",
]


@dataclass(frozen=True, slots=True)
class PartParity:
    """A part of an output, some of its channels or a branch of the Concat that makes it, that loses more than the rest.

    Attributes:
        name: where it lies, in the source's axes ("4..11 of axis 1").
        sqnr_db: as of an output, of this part alone.
    """

    name: str
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output compared with another's, over all samples.

    Attributes:
        name: the output's name in the source.
        max_abs_error: the largest absolute difference.
        sqnr_db: 10 log10(sum(wanted^2) / sum((wanted - found)^2)); infinite for equal arrays.
        top1_agreement: how often both have the same largest class; None where the output has no class axis.
        worst_db: that of the part that has least, which is what a bar is held against.
        parts: those that are lost beside the output's larger ones.
        resolved: whether the difference is within what the operators resolve on these data, whatever its ratio.
        silent: whether 0 was wanted throughout, so that there is no ratio.
    """

    name: str
    max_abs_error: float
    sqnr_db: float
    top1_agreement: float | None
    worst_db: float
    parts: tuple[PartParity, ...] = ()
    resolved: bool = False
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Leg:
    """One stretch of the way from a source to a file, walked on a few samples.

    Attributes:
        required_db: the SQNR asked of every output; None where a loss is only reported.
        usual_db: below this a warning is due, though the leg stands.
    """

    outputs: tuple[OutputParity, ...]
    required_db: float | None = None
    usual_db: float | None = None

    @property
    def sqnr_db(self) -> float:
        """The worst output's SQNR; what is silent and right has none."""
        heard = (output.sqnr_db for output in self.outputs if not (output.silent and output.resolved))
        return min(heard, default=float("inf"))

    @property
    def passed(self) -> bool:
        """Whether every output reaches what is asked for."""
        least = self.required_db
        return least is None or all(output.resolved or output.worst_db >= least for output in self.outputs)

    @property
    def doubtful(self) -> bool:
        """Whether the leg stands but loses more than is usual, in an output or in a part of one."""
        return self.usual_db is not None and any(output.worst_db < self.usual_db for output in self.outputs)

    @property
    def agreement(self) -> float | None:
        """How often the first class is the same, in the output where it is least often."""
        return min((out.top1_agreement for out in self.outputs if out.top1_agreement is not None), default=None)

    @property
    def max_abs_error(self) -> float:
        """The largest absolute difference."""
        return max((output.max_abs_error for output in self.outputs), default=0.0)


@dataclass(frozen=True, slots=True)
class LayerParity:
    """A layer of a written file beside the same layer of its graph, both on the integers that the file holds before it.

    Attributes:
        name: the tensor that it computes, as the source names it.
        tolerance: how far apart, in steps of the tensor's scale, roundings bring two integers.
        within: the share of elements that are not further apart.
        largest: the greatest difference, in steps.
        mean: the mean difference with its sign, in steps.
        mean_allowed: how large that may be.
    """

    name: str
    tolerance: int
    within: float
    largest: int
    mean: float
    mean_allowed: float

    @property
    def is_right(self) -> bool:
        """Whether roundings account for the difference; a hundredth of the elements may be twice as far apart."""
        near = self.within >= 0.99 and self.largest <= 2 * self.tolerance
        return near and abs(self.mean) <= self.mean_allowed


@dataclass(frozen=True, slots=True)
class Parity:
    """The proof of a written file: it does what its graph says, and its graph does what the source does.

    Attributes:
        reference: what the source was run on, e.g. "ONNX Runtime 1.31.1, original file".
        runtime: what the written file was run on, e.g. "ONNX Runtime 1.32.0".
        samples: how many samples were compared, and whether they were the user's own or random.
        translation: the file beside the graph that it was written from.
        quantization: that graph beside the source; the file itself beside it, where the source is quantised already.
        reading: the graph before it was quantised beside the source; None where it was not, or nobody looked.
        plain: as `translation`, of one sample on the runtime's own kernels; None where it has no others, or `needs`.
        wrong_layers: what the file computes otherwise than its graph does.
        weakest_layer: where the quantisation loses most; empty where nobody had to look.
        needs: why the runtime's own kernels do not run the file; empty where they do.
        max_drop: the fraction of samples whose first class may be another than the source's; None for any.
        substitution: the source beside the network that was read, where operators were substituted by some that compute
            something else.
        identical: whether the file gives the very numbers that a quantised source gives on the same runtime.
    """

    reference: str
    runtime: str
    samples: int
    random_samples: bool
    translation: Leg
    quantization: Leg
    reading: Leg | None = None
    plain: Leg | None = None
    wrong_layers: tuple[LayerParity, ...] = ()
    weakest_layer: str = ""
    needs: str = ""
    max_drop: float | None = None
    substitution: Leg | None = None
    identical: bool = False

    @property
    def outputs(self) -> tuple[OutputParity, ...]:
        """The outputs beside the source's."""
        return self.quantization.outputs

    @property
    def sqnr_db(self) -> float:
        """The worst output's SQNR beside the source."""
        return self.quantization.sqnr_db

    @property
    def translations(self) -> tuple[Leg, ...]:
        """The file beside its own graph, each way that it was run."""
        return tuple(leg for leg in (self.translation, self.plain) if leg is not None)

    @property
    def translated(self) -> bool:
        """Whether the file does what its graph says; or, to the last bit, what that was read from."""
        return self.identical or (all(leg.passed for leg in self.translations) and not self.wrong_layers)

    @property
    def read(self) -> bool:
        """Whether the source was understood."""
        return self.reading is None or self.reading.passed

    @property
    def kept(self) -> bool:
        """Whether the graph keeps as much of the source as is asked for."""
        drop = None if self.quantization.agreement is None else 1 - self.quantization.agreement
        return self.quantization.passed and (self.max_drop is None or drop is None or drop <= self.max_drop + 1e-9)

    @property
    def passed(self) -> bool:
        """Whether the file stands."""
        return self.read and self.translated and self.kept

    @property
    def doubtful(self) -> bool:
        """Whether the file stands but is further from its source than its scheme usually is."""
        return self.quantization.doubtful


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file on the disk and the proof of it.

    Attributes:
        path: where it lies (`*.unverified` when the verification failed).
        bytes: its size.
        format: the writer's name ("onnx").
        scheme: the quantisation scheme it carries.
        parity: the verification, None when it was not asked for or cannot be run here.
        unverified_because: why it was not run; where the format has a reader, `parity` is that of the file read back.
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
        return None if self.parity is None or self.unverified_because else self.parity.passed


@dataclass(frozen=True, slots=True)
class Latency:
    """Wall-clock seconds of single inferences at a number of threads: median, and the quartiles around it."""

    threads: int
    median_s: float
    q1_s: float
    q3_s: float
    runs: int


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true figure lies with a confidence of 95 %, for all that the samples can tell."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Classification accuracy over a labelled data set.

    Attributes:
        samples: how many.
        top1, top5: the share of labels that are the first guess, or among the first five.
        agreement: with the source's own first guess.
        top1_change: of top-1 against the source's on the same samples; None for the source, and without labels.
        agreement_range: of the agreement.
        top5_change: as `top1_change`, of top-5.
        top1_range: of top-1 by itself.
    """

    samples: int
    top1: float | None
    top5: float | None
    agreement: float | None
    top1_change: Interval | None = None
    agreement_range: Interval | None = None
    top5_change: Interval | None = None
    top1_range: Interval | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A file's figure by the metric that was asked for, more being better.

    Attributes:
        metric: its name.
        value: over all samples; infinite where a ratio to noise has none.
        samples: how many.
        change: of the value against the source's on the same samples; None for the source, and where that is infinite.
        range: of the value, where there is no change.
        unit: "share" for figures in 0..1, "dB", or "" where only the user knows.
    """

    metric: str
    value: float
    samples: int
    change: Interval | None = None
    range: Interval | None = None
    unit: str = ""


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
        score: by the metric that was asked for; None where none was.
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
    score: Score | None = None


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
        network: its operators and tensors, only where they were asked for.
        members: the models of a bundle, which has no inputs, outputs and operators of its own.
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
    network: Network | None = None
    members: tuple[Inspection, ...] = ()


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
