"""Writes TFLite files: layout, lowering, flatbuffer. No TensorFlow anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from narrowcast.passes.prepare import Prepared
from narrowcast.schemas.tflite_metadata import ENTRY
from narrowcast.writers.formats import DEFAULTS, Port, WriteOptions, Written, record
from narrowcast.writers.tflite.adjoint import absorb_transposes
from narrowcast.writers.tflite.container import Container
from narrowcast.writers.tflite.lowering import Lowering
from narrowcast.writers.tflite.metadata import attach_labels, metadata

__all__ = ["write"]


def write(prepared: Prepared, path: Path, *, options: WriteOptions = DEFAULTS) -> Written:
    """Writes a prepared model.

    Args:
        prepared: for LiteRT, or a target that takes its files.
        path: where to; the caller sees to it that a file appears whole or not at all.
        options: TFLite has none.

    Raises:
        UnsupportedOpError: names what TFLite cannot express.
    """
    model, container = prepared.model, Container()
    written = _lowered(prepared, container)
    variants = {
        name: replace(_lowered(variant, container.graph(name, name)[1]), signature=name)
        for name, variant in prepared.variants.items()
    }
    container.metadata["narrowcast"] = json.dumps(_record(prepared)).encode()
    described = metadata(model, attached_labels=bool(model.labels))
    if described is not None:
        container.metadata[ENTRY] = described
    with path.open("wb") as file:
        container.write(file)
    if model.labels:
        attach_labels(path, model.labels)
    return replace(written, variants=variants)


def _lowered(prepared: Prepared, container: Container) -> Written:
    """Fills a container with the operators of one graph, and says what its ports became."""
    graph = prepared.stored.graph
    absorb_transposes(graph)
    lowering = Lowering(graph, container, target=prepared.target)
    lowering.run()
    return Written(
        _ports(container, container.inputs, prepared.inputs),
        _ports(container, container.outputs, prepared.outputs),
        tuple(lowering.notes),
        layers=tuple(_layers(prepared, lowering)),
    )


def _layers(prepared: Prepared, lowering: Lowering) -> Iterator[tuple[int, Port]]:
    """The tensors that hold what the graph quantises."""
    for node in prepared.model.graph:
        old = node.outputs[0]
        if node.op_type != "QuantizeLinear" or old not in prepared.places:
            continue
        new, permutation = prepared.places[old]
        index = lowering.stored(new)
        if index is not None:
            yield index, Port(old.name or "", permutation)


def _ports(
    container: Container, signature: list[tuple[str, int]], permutations: tuple[tuple[int, ...] | None, ...]
) -> tuple[Port, ...]:
    ports = []
    for (name, index), permutation in zip(signature, permutations, strict=True):
        tensor = container.tensors[index]
        step = tensor.quantization
        scale, zero_point = (float(step.scale[0]), int(step.zero_point[0])) if step is not None else (0.0, 0)
        ports.append(Port(name, permutation, scale, zero_point, tensor.dtype.name))
    return tuple(ports)


def _record(prepared: Prepared) -> dict[str, object]:
    """What the file says of its own making."""
    model = prepared.model
    ports = zip((*model.inputs, *model.outputs), (*prepared.inputs, *prepared.outputs), strict=True)
    moved = {spec.name: permutation for spec, permutation in ports if permutation is not None}
    return {**record(model), "permutations": moved}
