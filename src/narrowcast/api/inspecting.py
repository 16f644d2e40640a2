"""`inspect`: what a model file holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from narrowcast import quantization, targets
from narrowcast._files import size_of
from narrowcast.api import tflite
from narrowcast.api.changes import Change
from narrowcast.api.differing import stored_network
from narrowcast.api.options import EditOptions, refuse_unknown
from narrowcast.errors import UnsupportedError
from narrowcast.evaluation.networks import of_model, weights
from narrowcast.evaluation.networks.records import Described
from narrowcast.evaluation.results import Inspection, Lacking, OperatorCount, Refusal, TensorFacts
from narrowcast.model import Model, TensorSpec, ir
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.infer import infer_within
from narrowcast.passes.prepare import adapt, lacking
from narrowcast.passes.rewrite import Skipped
from narrowcast.readers import formats as sources
from narrowcast.schemas.transcripts import as_binary, family
from narrowcast.targets.rules import Target
from narrowcast.writers import formats as destinations

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["count_operators", "inspect"]

DESCRIBERS: dict[str, Callable[[Path, str], Inspection]] = {
    "tflite": tflite.describe,
    "task": tflite.describe_bundle,
}
"""By format, what describes files as they are, not by the graph that is read from them."""

QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


def inspect(
    path: str | Path,
    *,
    source_format: str | None = None,
    why: bool = False,
    scheme: str | None = None,
    to: str = "tflite",
    target: str | None = None,
    operators: bool = False,
    canonical: bool = False,
    histograms: bool = False,
    batch: int | Literal["dynamic"] = 1,
    input_shapes: Mapping[str, tuple[int | None, ...]] | None = None,
    signature: str = "",
    **changes: Unpack[EditOptions],
) -> Inspection:
    """Describes a model file.

    The operators of a Keras or ONNX file are those of its canonical graph, or of the graph as it was read where it
    cannot be brought to that form; a note then says why.

    Args:
        path: the file or folder.
        source_format: the format's name, where neither content nor suffix tells, or tell wrong.
        why: also collect the fusions that were refused, the nodes of a quantised network that stay in float, and what
            the target of `to` lacks, with their reasons.
        scheme: what a float network would be quantised by.
        to: the format that it would be written in.
        target: a runtime to ask what it lacks of the network, in place of that of `to`: "litert", "onnxruntime", ...
        operators: also list every operator and tensor, as `Inspection.network`: as the source has them.
        canonical: list those of the canonical graph.
        histograms: also look at the elements of every weight.
        batch: size of a symbolic first dimension; "dynamic" leaves it open.
        input_shapes: full shapes by input name. Other open dimensions stay open where the format has them.
        signature: the key of the graph that is meant, in files of several; empty for the first.
        changes: of the network, which is then described as it is read; see `EditOptions`.

    Raises:
        ModelFileError: the file is missing, damaged or contradicts itself.
        UnsupportedError: it cannot even be read.
        UsageError: nothing tells its format, there is no such scheme, format or target, or an edit does not fit.
    """
    refuse_unknown(EditOptions, changes)
    change = Change.of(changes)
    path = Path(path)
    row = sources.find(path, source_format)
    asked = targets.find(target or destinations.named(to).target) if target or why else None
    question = _Question(asked, why, scheme, to, canonical)
    options = sources.ReadOptions(batch, input_shapes or {}, leave_open=True, signature=signature)
    edited = bool(change) or changes.get("edits") is not None
    if family(row.name) in DESCRIBERS and not canonical and not edited:
        found, listed = _as_stored(path, row.name, signature), stored_network(path, row.name) if operators else None
        if asked is not None:
            found = _and_asked(found, path, row.name, options, question)
    else:
        model = change.edited(sources.read(path, options, row.name))
        found, listed = _by_graph(model, path, change, question, operators=operators)
    if listed is None:
        return found
    return replace(found, network=weights.measured(listed) if histograms else listed.network)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of a graph, beside what it holds; see `inspect`."""

    target: Target | None
    why: bool
    scheme: str | None
    to: str
    canonical: bool

    def answered(self, found: Inspection, model: Model, refused: Sequence[Skipped]) -> Inspection:
        """What a canonical graph says: which fusions were refused, what would stay in float, what a target lacks."""
        if self.target is None:
            return found
        refusals: list[Refusal] = []
        if self.why:
            refusals = [Refusal(item.rule, (item.node,), item.reason) for item in refused]
            refusals += _in_float(model, self.scheme, self.to)
        notes = ("no fusion was refused",) if self.why and not refusals else ()
        lacking = tuple(_lacking(model, self.target))
        return replace(
            found,
            refusals=tuple(refusals),
            lacking=lacking,
            target=self.target.title,
            notes=(*found.notes, *notes),
        )


def _by_graph(
    model: Model, path: Path, change: Change, question: _Question, *, operators: bool
) -> tuple[Inspection, Described | None]:
    """What a graph holds once it is canonical, or as it was read; and its operators, if they are asked for."""
    listed = None
    if operators and not question.canonical:
        infer_within(model)
        listed = of_model.describe(model, path, "as read")
    try:
        refused = canonicalize(model)
        model = change.substituted(model)
        found = question.answered(_described(path, model), model, refused)
    except UnsupportedError as error:
        if question.canonical:
            raise
        found = replace(_described(path, model), notes=(f"not in canonical form: {error}",))
    if operators and question.canonical:
        listed = of_model.describe(model, path, "canonical")
    return found, listed


def _and_asked(
    found: Inspection, path: Path, fmt: str, options: sources.ReadOptions, question: _Question
) -> Inspection:
    """A file that is described as it is, with what its graph says."""
    try:
        model = sources.read(path, options, fmt)
        refused = canonicalize(model)
        return question.answered(found, model, refused)
    except UnsupportedError as error:
        return replace(found, notes=(*found.notes, f"not in canonical form: {error}"))


def _as_stored(path: Path, fmt: str, signature: str) -> Inspection:
    """What a file holds, as it has it."""
    notes: list[str] = []
    with as_binary(path, fmt, notes) as file:
        found = DESCRIBERS[family(fmt)](file, signature)
    return replace(found, path=path, bytes=size_of(path), format=fmt, notes=(*found.notes, *notes))


def _described(path: Path, model: Model) -> Inspection:
    """What a graph holds, canonical or not."""
    sizes = list(_constants(model.graph))
    return Inspection(
        path=path,
        bytes=size_of(path),
        format=model.provenance.format,
        producer=model.provenance.producer,
        quantization=_quantization(model),
        inputs=tuple(map(_facts, model.inputs)),
        outputs=tuple(map(_facts, model.outputs)),
        operators=count_operators(model.graph),
        parameters=sum(elements for _, elements, _ in sizes),
        parameter_types=_bytes_by_type(sizes),
    )


def _lacking(model: Model, target: Target) -> list[Lacking]:
    """What a target lacks of a canonical model, and of what stands in its place where nothing that it has does."""
    before, adapted = lacking(model, target), model.clone()
    try:
        adapt(adapted, target)
    except UnsupportedError as error:
        refused = [Lacking(*node, why, replaced=False) for node, why in before.items()]
        return [*refused, Lacking(error.where, "", error.what, replaced=False)]
    left = lacking(adapted, target)
    return [Lacking(*node, why, replaced=node not in left) for node, why in {**before, **left}.items()]


def _in_float(model: Model, scheme: str | None, to: str) -> list[Refusal]:
    """The nodes that stay in float where others are integers: by a scheme, or as a quantised network is stored."""
    stored = quantization.scheme_of(model)
    name = None if stored != "float32" else scheme
    if name is None and stored == "float32":
        return []
    prepared = replace(model.clone(), scheme=stored if name is None else quantization.scheme_named(name).name)
    target = targets.find(destinations.named(to).target)
    adapt(prepared, target, keep_recurrent=True)
    found = quantization.islands(prepared, target, name)
    return [Refusal("float", (island.node.name or island.node.op_type,), island.why) for island in found]


def _constants(graph: ir.Graph) -> Iterator[tuple[str, int, int]]:
    """Type, number of elements and bytes of every constant."""
    for value in graph.initializers.values():
        if value.const_value is not None:
            yield value.const_value.dtype.numpy().name, value.const_value.size, value.const_value.nbytes


def _bytes_by_type(constants: list[tuple[str, int, int]]) -> tuple[tuple[str, int], ...]:
    totals: Counter[str] = Counter()
    for kind, _, count in constants:
        totals[kind] += count
    return tuple(totals.most_common())


def count_operators(graph: ir.Graph) -> OperatorCount:
    """Nodes of a graph by operator."""
    counts = Counter(node.op_type if not node.domain else f"{node.domain}::{node.op_type}" for node in graph)
    return OperatorCount(counts.total(), None, counts["Transpose"], tuple(counts.most_common()))


def _quantization(model: Model) -> str:
    if any(node.op_type in QUANTIZERS for node in model.graph):
        return "quantised (QuantizeLinear, DequantizeLinear)"
    kinds = {kind for kind, _, _ in _constants(model.graph) if "float" in kind}
    return ", ".join(sorted(kinds)) or "none"


def _facts(spec: TensorSpec) -> TensorFacts:
    return TensorFacts(spec.name, spec.shape, spec.dtype.name)
