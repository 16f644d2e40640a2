"""`inspect`: what a model file holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from narrowcast import quantization, targets
from narrowcast._files import size_of
from narrowcast.api import tflite, tflite_network
from narrowcast.api.changes import Change
from narrowcast.api.options import EditOptions, refuse_unknown
from narrowcast.errors import UnsupportedError
from narrowcast.evaluation.networks import of_model, weights
from narrowcast.evaluation.networks.records import Described, Network
from narrowcast.evaluation.results import Inspection, Lacking, OperatorCount, Refusal, TensorFacts
from narrowcast.model import Model, TensorSpec, ir
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.prepare import adapt, lacking
from narrowcast.readers import formats as sources
from narrowcast.schemas.transcripts import as_binary, family
from narrowcast.targets.rules import Target
from narrowcast.writers import formats as destinations

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["count_operators", "inspect"]

DESCRIBERS: dict[str, Callable[[Path], Inspection]] = {"tflite": tflite.describe}
"""By format, what describes files as they are, not by the graph that is read from them."""

NETWORKS: Mapping[str, Callable[[Path], Described]] = {"tflite": tflite_network.describe}
"""Likewise, what lists the operators and tensors that a file has."""

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
    if family(row.name) in DESCRIBERS and not canonical and not change:
        found = _as_stored(path, row.name, operators=operators, histograms=histograms)
        note = f"a {row.name} file is described as it is: what a runtime lacks is asked of its source"
        return found if target is None else replace(found, notes=(*found.notes, note))
    options = sources.ReadOptions(batch=batch, input_shapes=input_shapes or {}, leave_open=True)
    model = change.edited(sources.read(path, options, row.name))
    network = None
    if operators and not canonical:
        network = _network(of_model.describe(model, path, "as read"), histograms)
    notes = []
    refusals: list[Refusal] = []
    missing: list[Lacking] = []
    try:
        refused = canonicalize(model)
        model = change.substituted(model)
        if why:
            refusals = [Refusal(item.rule, (item.node,), item.reason) for item in refused]
            refusals += _in_float(model, scheme, to)
        if asked is not None:
            missing = _lacking(model, asked)
    except UnsupportedError as error:
        if canonical:
            raise
        notes.append(f"not in canonical form: {error}")
        asked = None
    if why and not refusals:
        notes.append("no fusion was refused")
    if operators and canonical:
        network = _network(of_model.describe(model, path, "canonical"), histograms)
    found = replace(
        _described(path, model), network=network, notes=tuple(notes), refusals=tuple(refusals), lacking=tuple(missing)
    )
    return found if asked is None else replace(found, target=asked.title)


def _as_stored(path: Path, fmt: str, *, operators: bool, histograms: bool) -> Inspection:
    """What a file holds, as it has it."""
    kind, size = family(fmt), size_of(path)
    with as_binary(path, fmt) as file:
        found = replace(DESCRIBERS[kind](file), path=path, bytes=size, format=fmt)
        if operators:
            network = _network(NETWORKS[kind](file), histograms)
            found = replace(found, network=replace(network, path=path, bytes=size, format=fmt))
    return found


def _network(described: Described, histograms: bool) -> Network:
    return weights.measured(described) if histograms else described.network


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
