"""JSON with mistakes: each is told by its place."""

from __future__ import annotations

import json

import pytest

from narrowcast.errors import ModelFileError
from narrowcast.schemas import jsontext


def read(folder, text, **options):
    path = folder / "m.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return jsontext.read(path, **options)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1,\n "b": }', "no JSON: Expecting value in line 2, column 7"),
        ('{"a": [1, 2}', "no JSON: Expecting ',' delimiter in line 1, column 12"),
        ('{"a": 1} x', "no JSON: Extra data in line 1, column 10"),
        ("{a: 1}", "no JSON: Expecting property name"),
        (b'{"a": "\xff"}', "no JSON: byte 7 is no UTF-8 text"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "a number in it is too long"),
        ('{"a": 1, "a": 2}', r"^a: stands twice in one object"),
        ('{"g": {"n": [{}, {"x": 0, "op": 1, "op": 2}]}}', r"^g\.n\[1\]\.op: stands twice in one object"),
    ],
)
def test_mistakes_are_told_by_their_place(text, reason, tmp_path):
    with pytest.raises(ModelFileError, match=reason):
        read(tmp_path, text)


def test_a_document_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(jsontext, "LARGEST", 10)
    with pytest.raises(ModelFileError, match="GiB of JSON") as caught:
        read(tmp_path, '{"a": "longer than ten bytes"}')
    assert "--inline-limit" in caught.value.hint


RELAXED = '{version: 3, n: [{s: "a: nan, b", x: -inf, y: nan, e: 1e-9, t: true, k: B}]}'


def test_what_flatc_writes_without_quotes(tmp_path):
    found = read(tmp_path, RELAXED, relaxed=True)
    inner = found["n"][0]
    assert found["version"] == 3
    assert (inner["s"], inner["x"], inner["e"], inner["t"], inner["k"]) == ("a: nan, b", float("-inf"), 1e-9, True, "B")
    assert inner["y"] != inner["y"]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "' + '\\"' * 300_000,
        "{" + '"a": 1,' * 300_000,
        "{" + ",".join(f'"{i}": 1' for i in range(300_000)) + ',"7": 1}',
    ],
)
def test_nothing_takes_longer_than_its_length(text, tmp_path):
    with pytest.raises(ModelFileError):
        read(tmp_path, text, relaxed=True)


def test_marks_of_order_and_values_made_on_the_way(tmp_path):
    text = b"\xef\xbb\xbf" + json.dumps({"a": {"b": [1, 2]}}).encode()
    assert read(tmp_path, text, compact=lambda value: tuple(value) if isinstance(value, list) else value) == {
        "a": {"b": (1, 2)}
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [({}, "an object"), ([1], "a list"), ("x" * 99, '"' + "x" * 56 + "..."), (None, "null"), ("é", '"\\u00e9"')],
)
def test_values_as_errors_show_them(value, text):
    assert jsontext.told(value) == text
