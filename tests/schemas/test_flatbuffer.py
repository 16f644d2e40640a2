"""A small schema, buffers of the flatbuffers library's own builder, and what is wrong with them one byte later."""

from __future__ import annotations

import struct

import flatbuffers
import numpy as np
import pytest

from narrowcast.errors import ModelFileError
from narrowcast.schemas import verifier
from narrowcast.schemas.flatbuffer import Schema, Table, root

ZOO = Schema(
    """
Diet int8: LEAVES MEAT=3 BOTH
Home uint8: NONE Cage Pond
""",
    """
Cage: bars int32 = 12
Pond: depth float32
Animal: name string, diet Diet = 3, weights [float64], home Home, home_of union, -, friends [Animal], songs [string],
    is_wild bool = 1
Zoo: animals [Animal], first Animal
""",
    "Nothing",
    identifier=b"ZOO1",
    root="Zoo",
)


def vector(builder, offsets):
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def table(builder, slots, **fields):
    builder.StartObject(slots)
    for key, (how, value) in fields.items():
        getattr(builder, f"Prepend{how}Slot")(int(key[1:]), value, None if how != "UOffsetTRelative" else 0)
    return builder.EndObject()


def at(offset):
    return "UOffsetTRelative", offset


def finished(builder, *animals, first=None):
    fields = {"_0": at(vector(builder, animals))} | ({} if first is None else {"_1": at(first)})
    builder.Finish(table(builder, 2, **fields), b"ZOO1")
    return bytes(builder.Output())


def zoo():
    build = flatbuffers.Builder(64)
    name, songs = build.CreateString("göos"), [build.CreateString(song) for song in ("honk", "")]
    pond, weights = table(build, 1, _0=("Float32", 1.5)), build.CreateNumpyVector(np.array([1.5, -2.0]))
    songs = vector(build, songs)
    plain = table(build, 0)
    friends = vector(build, [plain, plain])
    fields = {
        "_0": at(name),
        "_1": ("Int8", 4),
        "_2": at(weights),
        "_3": ("Uint8", 2),
        "_4": at(pond),
        "_6": at(friends),
    }
    goose = table(build, 9, **fields, _7=at(songs), _8=("Bool", False))
    return finished(build, goose, plain, first=goose)


def walked(made):
    """Everything in a table, so that it has been read."""
    if isinstance(made, Table):
        return {name: walked(made[name]) for name in made.kind.fields}
    return [walked(item) for item in made] if isinstance(made, list) else made


def test_what_a_builder_wrote_is_read():
    read = root(ZOO, zoo())
    goose, plain = read["animals"]
    assert read["first"] == goose
    assert (goose["name"], goose.name_of("diet"), goose["songs"], goose["is_wild"]) == (
        "göos",
        "BOTH",
        ["honk", ""],
        False,
    )
    assert goose["weights"].tolist() == [1.5, -2.0]
    assert (goose["home_of"].kind.name, goose["home_of"]["depth"]) == ("Pond", 1.5)
    assert goose["friends"] == [plain, plain]
    assert walked(plain) == dict.fromkeys(plain.kind.fields) | {"diet": 3, "home": 0, "is_wild": True}
    assert (goose.has("name"), plain.has("name")) == (True, False)


def test_numbers_are_views():
    content = zoo()
    assert np.shares_memory(root(ZOO, content)["first"]["weights"], np.frombuffer(content, np.uint8))


def test_a_union_of_a_later_schema_is_not_read():
    build = flatbuffers.Builder(64)
    later = table(build, 1, _0=("Int32", 7))
    read = root(ZOO, finished(build, table(build, 9, _3=("Uint8", 9), _4=at(later))))
    assert read["animals"][0]["home_of"] is None


def patched(content, at, form, value):
    changed = bytearray(content)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def test_every_changed_byte_is_refused_or_read_to_the_end():
    content = zoo()
    refused = 0
    for place in range(len(content)):
        for value in {0, 1, 2, 4, 127, 128, 255} - {content[place]}:
            try:
                made = root(ZOO, patched(content, place, "B", value))
            except ModelFileError:
                refused += 1
            else:
                walked(made)
    assert refused > len(content)


def test_every_truncation_is_refused_or_read_to_the_end():
    content = zoo()
    for size in range(len(content)):
        try:
            made = root(ZOO, content[:size])
        except ModelFileError:
            continue
        walked(made)


def test_shared_tables_count_as_often_as_they_are_referred_to():
    """Each of 24 animals has the one before it as a friend, twice: as many ways as a binary tree has."""
    build = flatbuffers.Builder(64)
    animal = table(build, 9)
    for _ in range(24):
        animal = table(build, 9, _6=at(vector(build, [animal, animal])))
    with pytest.raises(ModelFileError, match="over and over"):
        root(ZOO, finished(build, animal))


def test_shared_vectors_count_as_often_as_they_are_referred_to():
    build = flatbuffers.Builder(64)
    weights = build.CreateNumpyVector(np.zeros(20_000))
    animals = [table(build, 9, _2=at(weights)) for _ in range(100)]
    with pytest.raises(ModelFileError, match="over and over"):
        root(ZOO, finished(build, *animals))


def goose(build, **fields):
    return finished(build, table(build, 9, **fields))


def place_of(content, field):
    """Where a field of the first animal lies."""
    animal = root(ZOO, content)["animals"][0]
    return animal.position + animal.fields[animal.kind.fields[field].slot]


def with_name(how):
    build = flatbuffers.Builder(64)
    content = goose(build, _0=at(build.CreateString("goose")))
    place = place_of(content, "name")
    start = place + struct.unpack_from("<I", content, place)[0]
    return {
        "no end": lambda: patched(content, start + 4 + 5, "B", ord("!")),
        "too long": lambda: patched(content, start, "<I", 2**31),
        "to itself": lambda: patched(content, place, "<I", 0),
        "between places": lambda: patched(content, place, "<I", start - place + 1),
        "beyond": lambda: patched(content, place, "<I", 2**32 - 4),
    }[how]()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("no end", "Animal.name is a string without an end"),
        ("too long", "Animal.name has 2147483648 elements"),
        ("to itself", "Animal.name refers to itself"),
        ("between places", "Animal.name lies outside of the file, or between places"),
        ("beyond", "Animal.name lies outside of the file"),
    ],
)
def test_offsets_and_lengths(how, reason):
    with pytest.raises(ModelFileError, match=reason):
        root(ZOO, with_name(how))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "bytes 4 to 8"),
        (b"\x08\0\0\0ZOO2\0\0\0\0", "not b'ZOO1'"),
        (b"\x08\0\0\0ZOO1", "a Zoo lies outside of the file"),
        (b"\x00\0\0\0ZOO1", "the root refers to itself"),
        (b"\x08\0\0\0ZOO1\x10\0\0\0", "the fields of a Zoo"),
        (b"\x0c\0\0\0ZOO1\x02\0\4\0\4\0\0\0", "no sound list of fields"),
        (b"\x0c\0\0\0ZOO1\x04\0\xff\0\4\0\0\0", "ends beyond the file"),
    ],
    ids=["empty", "another format", "no root", "root at 0", "no vtable", "short vtable", "long table"],
)
def test_bytes(content, reason):
    with pytest.raises(ModelFileError, match=reason):
        root(ZOO, content)


def test_the_number_of_tables_is_bounded(monkeypatch):
    monkeypatch.setattr(verifier, "MOST_TABLES", 3)
    with pytest.raises(ModelFileError, match="more than 3"):
        root(ZOO, zoo())
