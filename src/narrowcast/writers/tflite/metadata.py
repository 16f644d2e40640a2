"""TFLite's own metadata of a .tflite file (https://ai.google.dev/edge/litert/models/metadata), and its class names.

It names the normalisation of image inputs and the file of class names, which is attached as a zip archive behind the
model.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narrowcast.model import Model, Preprocessing, TensorSpec
from narrowcast.schemas.builder import build
from narrowcast.schemas.tflite_metadata import METADATA

__all__ = ["LABELS_FILE", "attach_labels", "metadata"]

LABELS_FILE = "labels.txt"

_COLOURS = {"rgb": "RGB", "gray": "GRAYSCALE"}  # there is none for BGR
_WIDEST = 255.0


def metadata(model: Model, *, attached_labels: bool) -> bytes | None:
    """The metadata of a model with known preprocessing or labels; None where there is nothing to say.

    Args:
        model: its ports in the order of the file's.
        attached_labels: whether `LABELS_FILE` will be attached; it labels the first output.
    """
    if model.preprocessing is None and not attached_labels:
        return None
    labels = {
        "name": LABELS_FILE,
        "description": "Class names in the order of the scores.",
        "type": "TENSOR_AXIS_LABELS",
    }
    outputs: list[dict[str, Any]] = [{"name": spec.name} for spec in model.outputs]
    if attached_labels:
        outputs[0]["associated_files"] = [labels]
    inputs = [_input(spec, model.preprocessing) for spec in model.inputs]
    document = {
        "name": model.graph.name or "model",
        "subgraph_metadata": [{"input_tensor_metadata": inputs, "output_tensor_metadata": outputs}],
        "min_parser_version": "1.0.0",
    }
    content = io.BytesIO()
    build(METADATA, document).write(content)
    return content.getvalue()


def attach_labels(path: Path, labels: Sequence[str]) -> None:
    """Appends a zip archive with the class names, one a line, to a written file."""
    entry = zipfile.ZipInfo(LABELS_FILE, date_time=(1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "".join(f"{' '.join(name.split())}\n" for name in labels))


def _input(spec: TensorSpec, preprocessing: Preprocessing | None) -> dict[str, Any]:
    """An input's name; of an image also the colours, (x - mean) / std, and the range which that has for bytes x."""
    if preprocessing is None or len(spec.shape) != 4:
        return {"name": spec.name}
    ends = [[(byte - mean) / std for mean, std in _channels(preprocessing)] for byte in (0.0, _WIDEST)]
    affine = {"mean": list(preprocessing.mean), "std": list(preprocessing.std)}
    return {
        "name": spec.name,
        "description": _words(preprocessing),
        "content": {
            "content_properties_type": "ImageProperties",
            "content_properties": {"color_space": _COLOURS.get(preprocessing.channel_order, "UNKNOWN")},
        },
        "process_units": [{"options_type": "NormalizationOptions", "options": affine}],
        "stats": {"max": [*map(max, *ends)], "min": [*map(min, *ends)]},
    }


def _channels(preprocessing: Preprocessing) -> list[tuple[float, float]]:
    count = max(len(preprocessing.mean), len(preprocessing.std))
    mean, std = (values * count if len(values) == 1 else values for values in (preprocessing.mean, preprocessing.std))
    return list(zip(mean, std, strict=True))


def _words(preprocessing: Preprocessing) -> str:
    crop = "" if preprocessing.crop is None else f"; the central {preprocessing.crop:g} of the short side"
    return f"{preprocessing.channel_order.upper()} image{crop}"
