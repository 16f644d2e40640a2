"""What a file says of its use: narrowcast's own record, TFLite Metadata, class names in an archive behind the model."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from narrowcast.errors import ModelFileError
from narrowcast.model import Preprocessing
from narrowcast.readers.tflite.file import parse
from narrowcast.readers.tflite.usage import Attached, usage_of
from narrowcast.schemas.builder import build
from narrowcast.schemas.tflite_metadata import METADATA
from tests.readers.tflite.craft import convolution

IMAGE = {"content_properties_type": "ImageProperties", "content_properties": {"color_space": "GRAYSCALE"}}
LABELS = {"name": "names.txt", "description": "what it sees", "type": "TENSOR_AXIS_LABELS"}


def normalised(mean, std):
    return [{"options_type": "NormalizationOptions", "options": {"mean": mean, "std": std}}]


def metadata(image=None, scores=None, **fields):
    graph = {"input_tensor_metadata": [image or {}], "output_tensor_metadata": [scores or {}]}
    content = io.BytesIO()
    build(METADATA, {"subgraph_metadata": [graph], **fields}).write(content)
    return content.getvalue()


def usage(described=None, record=None, files=None):
    craft = convolution()
    if described is not None:
        craft.note("TFLITE_METADATA", described)
    if record is not None:
        craft.note("narrowcast", record if isinstance(record, bytes) else json.dumps(record).encode())
    content = io.BytesIO(craft.content)
    if files is not None:
        with zipfile.ZipFile(content, "a") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    return usage_of(parse(content.getvalue()))


def test_a_file_that_says_nothing():
    assert usage() == usage(metadata())
    assert (usage().preprocessing, usage().labels, usage().attached) == (None, (), ())


def test_the_normalisation_of_an_image():
    found = usage(metadata({"content": IMAGE, "process_units": normalised([123.675], [58.395])}))
    assert found.preprocessing == Preprocessing((123.675,), (58.395,), "gray")


@pytest.mark.parametrize(
    "image",
    [
        {"process_units": normalised([1], [2])},
        {"content": IMAGE},
        {"content": IMAGE, "process_units": normalised([1, 2], [1])},
        {"content": IMAGE, "process_units": normalised([1], [0])},
        {"content": IMAGE, "process_units": normalised(["nan"], [1])},
        {"content": IMAGE, "process_units": normalised([], [])},
        {"content": IMAGE, "process_units": [{"options_type": "NONE"}]},
    ],
)
def test_what_is_no_normalisation_of_an_image(image):
    assert usage(metadata(image)).preprocessing is None


def test_class_names():
    found = usage(metadata(scores={"associated_files": [LABELS]}), files={"names.txt": "cat\ndog \nü\n\n"})
    assert found.labels == ("cat", "dog", "ü")
    assert found.attached == (Attached("names.txt", "TENSOR_AXIS_LABELS", "what it sees", 13),)


@pytest.mark.parametrize(
    ("files", "scores"),
    [
        (None, [LABELS]),
        ({"names.txt": "cat\ndog"}, [LABELS]),
        ({"names.txt": "a\nb\nc"}, [{**LABELS, "type": "TENSOR_VALUE_LABELS"}]),
        ({"others.txt": "a\nb\nc"}, [LABELS]),
    ],
    ids=["no archive", "another number", "of values", "another file"],
)
def test_what_are_no_class_names(files, scores):
    assert usage(metadata(scores={"associated_files": scores}), files=files).labels == ()


def test_class_names_of_several_languages():
    languages = [{**LABELS, "name": "de.txt", "locale": "de"}, LABELS]
    found = usage(metadata(scores={"associated_files": languages}), files={"de.txt": "x\ny\nz", "names.txt": "a\nb\nc"})
    assert found.labels == ("a", "b", "c")


def test_the_record_is_believed_first():
    record = {
        "preprocessing": {"mean": [1], "std": [2, 2, 2], "channel_order": "bgr", "resize": [8, 9], "crop": 0.5},
        "labels": ["one", "two", "three"],
    }
    described = metadata({"content": IMAGE, "process_units": normalised([3], [4])}, description="d", license="MIT")
    found = usage(described, record)
    assert found.preprocessing == Preprocessing((1.0,), (2.0, 2.0, 2.0), "bgr", (8, 9), 0.5)
    assert (found.labels, found.description, found.licence) == (("one", "two", "three"), "d", "MIT")


@pytest.mark.parametrize(
    ("described", "record", "reason"),
    [
        (b"\x10\0\0\0M001" + bytes(40), None, "metadata: the flatbuffer is damaged"),
        (b"nothing", None, "metadata: bytes 4 to 8"),
        (None, b"{", "its record is no JSON"),
        (None, {"preprocessing": {"mean": ["x"]}}, "its record's preprocessing is none"),
        (None, {"preprocessing": {"std": [0]}}, "its record's preprocessing is none"),
        (None, {"preprocessing": {"channel_order": 3}}, "its record's preprocessing is none"),
        (None, {"preprocessing": {"resize": [1]}}, "its record's preprocessing is none"),
    ],
)
def test_damages(described, record, reason):
    with pytest.raises(ModelFileError, match=reason):
        usage(described, record)


def test_a_list_of_names_that_is_too_long():
    described = metadata(scores={"associated_files": [LABELS]})
    with pytest.raises(ModelFileError, match="too many for class names"):
        usage(described, files={"names.txt": "x" * (17 << 20)})
