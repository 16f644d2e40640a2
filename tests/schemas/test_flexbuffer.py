"""Flexbuffers beside what flatbuffers' own Python writes, and damaged ones."""

from __future__ import annotations

import numpy as np
import pytest
from flatbuffers import flexbuffers

from narrowcast.errors import ModelFileError
from narrowcast.schemas.flexbuffer import parse_map

VALUES = {
    "a": 1,
    "negative": -3,
    "half": 0.5,
    "third": 1 / 3,
    "yes": True,
    "no": False,
    "word": "héllo",
    "large": 2**40,
}


@pytest.mark.parametrize(
    "values",
    [VALUES, {}, {"one": 1}, {f"key{number}": number for number in range(300)}, {"far": -(2**60), "text": "x" * 400}],
)
def test_maps_come_back(values):
    assert parse_map(bytes(flexbuffers.Dumps(values))) == values


def test_what_is_neither_number_nor_word_is_left_out():
    content = bytes(flexbuffers.Dumps({"list": [1, 2], "map": {"a": 1}, "none": None, "number": 4}))
    assert parse_map(content) == {"number": 4}


def test_indirect_numbers_are_read():
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Key("far")
        builder.IndirectFloat(2.5)
        builder.Key("count")
        builder.IndirectInt(-7)
    assert parse_map(bytes(builder.Finish())) == {"far": 2.5, "count": -7}


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\0" * 3, bytes(flexbuffers.Dumps([1, 2])), bytes(flexbuffers.Dumps(5))]
)
def test_what_is_no_map_is_refused(content):
    with pytest.raises(ModelFileError):
        parse_map(content)


def test_nothing_damaged_does_more_than_an_error():
    random, content = np.random.default_rng(0), np.frombuffer(bytes(flexbuffers.Dumps(VALUES)), np.uint8)
    refused = 0
    for number in range(2000):
        mutant = content[: random.integers(1, content.size)].copy() if number % 8 == 0 else content.copy()
        mutant[random.integers(0, mutant.size, 3)] = random.integers(0, 256, 3)
        try:
            parse_map(mutant.tobytes())
        except ModelFileError:
            refused += 1
    assert 200 < refused < 2000
