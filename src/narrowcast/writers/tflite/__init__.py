"""Writes TFLite files: layout, lowering, flatbuffer. No TensorFlow anywhere."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from narrowcast.model import Model
from narrowcast.passes.layout import LaidOut, lay_out
from narrowcast.writers.formats import DEFAULTS, Port, WriteOptions, Written
from narrowcast.writers.tflite.adjoint import absorb_transposes
from narrowcast.writers.tflite.container import Container
from narrowcast.writers.tflite.lowering import Lowering
from narrowcast.writers.tflite.metadata import METADATA, attach_labels, metadata

__all__ = ["write"]


def write(model: Model, path: Path, *, io_layout: str = "target", options: WriteOptions = DEFAULTS) -> Written:
    """Writes a prepared model.

    Args:
        model: canonical, decomposed for "litert", perhaps quantised.
        path: where to; the caller sees to it that a file appears whole or not at all.
        io_layout: "target" for channel-last image inputs and outputs, "source" to keep them.
        options: TFLite has none.

    Raises:
        UnsupportedOpError: names what TFLite cannot express.
    """
    laid = lay_out(model, io_layout)
    absorb_transposes(laid.model.graph)
    lowering = Lowering(laid.model.graph)
    container = lowering.run()
    container.metadata["narrowcast"] = json.dumps(_record(model, laid)).encode()
    described = metadata(model, attached_labels=bool(model.labels))
    if described is not None:
        container.metadata[METADATA] = described
    with path.open("wb") as file:
        container.write(file)
    if model.labels:
        attach_labels(path, model.labels)
    return Written(
        _ports(container, container.inputs, laid.inputs),
        _ports(container, container.outputs, laid.outputs),
        tuple(lowering.notes),
    )


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


def _record(model: Model, laid: LaidOut) -> dict[str, object]:
    """What the file says of its own making."""
    names = [spec.name for spec in (*model.inputs, *model.outputs)]
    moved = {name: perm for name, perm in zip(names, (*laid.inputs, *laid.outputs), strict=True) if perm is not None}
    record: dict[str, object] = {
        "version": version("narrowcast"),
        "scheme": model.scheme,
        "source_format": model.provenance.format,
        "permutations": moved,
    }
    if model.preprocessing is not None:
        record["preprocessing"] = asdict(model.preprocessing)
    if model.labels:
        record["labels"] = list(model.labels)
    return record
