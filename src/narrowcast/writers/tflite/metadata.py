"""What a .tflite file says about its use: TFLite's own metadata, and narrowcast's record.

TFLite Metadata (https://ai.google.dev/edge/litert/models/metadata; schema metadata_schema.fbs, identifier M001) names
the normalisation of image inputs and the file of class names, which is attached as a zip archive behind the model. Its
tables are few, so they are built field by field; the numbers below are the fields' positions in the schema.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import flatbuffers

from narrowcast.model import Model, Preprocessing, TensorSpec

__all__ = ["LABELS_FILE", "METADATA", "attach_labels", "metadata"]

METADATA = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
IDENTIFIER = b"M001"

_MODEL = {"name": 0, "description": 1, "subgraph_metadata": 3, "min_parser_version": 7}
_SUBGRAPH = {"input_tensor_metadata": 2, "output_tensor_metadata": 3}
_TENSOR = {"name": 0, "description": 1, "content": 3, "process_units": 4, "stats": 5, "associated_files": 6}
_IMAGE_PROPERTIES = 2  # ContentProperties: none, feature, image, ...
_NORMALIZATION = 1  # ProcessUnitOptions: none, normalisation, ...
_TENSOR_AXIS_LABELS = 2  # AssociatedFileType
_COLOURS = {"rgb": 1, "gray": 2}  # ColorSpaceType; there is none for BGR
_WIDEST = 255.0


def metadata(model: Model, *, attached_labels: bool) -> bytes | None:
    """The metadata of a model with known preprocessing or labels; None where there is nothing to say.

    Args:
        model: its ports in the order of the file's.
        attached_labels: whether `LABELS_FILE` will be attached; it labels the first output.
    """
    if model.preprocessing is None and not attached_labels:
        return None
    builder = flatbuffers.Builder(1024)
    inputs = [_input(builder, spec, model.preprocessing) for spec in model.inputs]
    outputs = [
        _output(builder, spec, labelled=attached_labels and index == 0) for index, spec in enumerate(model.outputs)
    ]
    ports = {"input_tensor_metadata": _vector(builder, inputs), "output_tensor_metadata": _vector(builder, outputs)}
    graph = _table(builder, 9, {_SUBGRAPH[name]: offset for name, offset in ports.items()})
    fields = {
        "name": builder.CreateString(model.graph.name or "model"),
        "subgraph_metadata": _vector(builder, [graph]),
        "min_parser_version": builder.CreateString("1.0.0"),
    }
    builder.Finish(_table(builder, 8, {_MODEL[name]: offset for name, offset in fields.items()}), IDENTIFIER)
    return bytes(builder.Output())


def attach_labels(path: Path, labels: Sequence[str]) -> None:
    """Appends a zip archive with the class names, one a line, to a written file."""
    entry = zipfile.ZipInfo(LABELS_FILE, date_time=(1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "".join(f"{' '.join(name.split())}\n" for name in labels))


def _input(builder: flatbuffers.Builder, spec: TensorSpec, preprocessing: Preprocessing | None) -> int:
    """An input's name; of an image also the colours, (x - mean) / std, and the range which that has for bytes x."""
    fields = {"name": builder.CreateString(spec.name)}
    if preprocessing is not None and len(spec.shape) == 4:
        ends = [[(byte - mean) / std for mean, std in _channels(preprocessing)] for byte in (0.0, _WIDEST)]
        stats = {
            0: _floats(builder, [max(pair) for pair in zip(*ends, strict=True)]),
            1: _floats(builder, [min(pair) for pair in zip(*ends, strict=True)]),
        }
        affine = {0: _floats(builder, preprocessing.mean), 1: _floats(builder, preprocessing.std)}
        unit = _union(builder, _NORMALIZATION, _table(builder, 2, affine))
        colours = _enumeration(builder, 2, 0, _COLOURS.get(preprocessing.channel_order, 0))
        fields["description"] = builder.CreateString(_words(preprocessing))
        fields["content"] = _union(builder, _IMAGE_PROPERTIES, colours)
        fields["process_units"] = _vector(builder, [unit])
        fields["stats"] = _table(builder, 2, stats)
    return _table(builder, 7, {_TENSOR[name]: offset for name, offset in fields.items()})


def _output(builder: flatbuffers.Builder, spec: TensorSpec, *, labelled: bool) -> int:
    fields = {"name": builder.CreateString(spec.name)}
    if labelled:
        name, words = builder.CreateString(LABELS_FILE), builder.CreateString("Class names in the order of the scores.")
        builder.StartObject(5)
        builder.PrependUOffsetTRelativeSlot(0, name, 0)
        builder.PrependUOffsetTRelativeSlot(1, words, 0)
        builder.PrependInt8Slot(2, _TENSOR_AXIS_LABELS, 0)
        fields["associated_files"] = _vector(builder, [builder.EndObject()])
    return _table(builder, 7, {_TENSOR[name]: offset for name, offset in fields.items()})


def _channels(preprocessing: Preprocessing) -> list[tuple[float, float]]:
    count = max(len(preprocessing.mean), len(preprocessing.std))
    mean, std = (values * count if len(values) == 1 else values for values in (preprocessing.mean, preprocessing.std))
    return list(zip(mean, std, strict=True))


def _words(preprocessing: Preprocessing) -> str:
    crop = "" if preprocessing.crop is None else f"; the central {preprocessing.crop:g} of the short side"
    return f"{preprocessing.channel_order.upper()} image{crop}"


def _table(builder: flatbuffers.Builder, count: int, offsets: dict[int, int]) -> int:
    builder.StartObject(count)
    for field, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    return int(builder.EndObject())


def _union(builder: flatbuffers.Builder, kind: int, value: int) -> int:
    """A table of one union: its kind in field 0, its value in field 1."""
    builder.StartObject(2)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, value, 0)
    return int(builder.EndObject())


def _enumeration(builder: flatbuffers.Builder, count: int, field: int, value: int) -> int:
    builder.StartObject(count)
    builder.PrependInt8Slot(field, value, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: flatbuffers.Builder, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
