"""Entries of zip archives by their paths, and archives that are none."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from narrowcast._archives import bytes_at, content_of, entries_of, head_of, is_within, place_of
from narrowcast._files import Digest, map_file, readable, size_of
from narrowcast.errors import ModelFileError, UnsupportedError

TEXT = bytes(range(256)) * 40


def archive(entries, prefix=b"", method=zipfile.ZIP_STORED, comment=b""):
    content = io.BytesIO(prefix)
    with zipfile.ZipFile(content, "a", method) as made:
        for name, text in entries.items():
            made.writestr(name, text)
        made.comment = comment
    return content.getvalue()


@pytest.mark.parametrize("prefix", [b"", b"in front" * 100])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_entries(prefix, method):
    content = archive({"a/b.txt": TEXT, "c": b"", "d/": b""}, prefix, method, comment=b"words")
    entries = entries_of(content)
    assert list(entries) == ["a/b.txt", "c"]
    assert bytes(content_of(content, entries["a/b.txt"])) == TEXT
    assert head_of(content, entries["a/b.txt"], 5) == TEXT[:5]
    assert bytes(content_of(content, entries["c"])) == head_of(content, entries["c"], 5) == b""


def test_what_is_stored_is_a_view():
    content = memoryview(archive({"a": TEXT}))
    assert content_of(content, entries_of(content)["a"]).obj is content.obj


@pytest.mark.parametrize("content", [b"", b"PK", TEXT, archive({"a": TEXT})[:-1], b"PK\x05\x06" + bytes(17)])
def test_what_holds_no_archive(content):
    assert entries_of(content) == {}


def test_names_lead_nowhere_else(tmp_path):
    path = tmp_path / "a.zip"
    (tmp_path / "secret").write_bytes(b"not yours")
    names = (f"{tmp_path}/secret", "./here", "in//there", "../up")
    path.write_bytes(archive(dict.fromkeys(names, b"entry")))
    found = list(entries_of(path.read_bytes()))
    assert found[1:] == ["here", "in/there", "../up"]
    assert [bytes(bytes_at(path / name)) for name in found] == [b"entry"] * 4


def test_a_path_into_what_is_no_archive(tmp_path):
    (tmp_path / "plain").write_bytes(TEXT)
    with pytest.raises(ModelFileError, match=r"plain: it is no archive .* so it holds no 'a/b'.*--member"):
        bytes_at(tmp_path / "plain" / "a" / "b")


def test_a_path_into_an_archive(tmp_path):
    inner = archive({"deep/x.bin": TEXT})
    (tmp_path / "outer.zip").write_bytes(archive({"in.zip": inner, "y.bin": b"yes"}))
    path = tmp_path / "outer.zip" / "in.zip" / "deep" / "x.bin"
    assert place_of(path) == (tmp_path / "outer.zip", ("in.zip", "deep", "x.bin"))
    assert (bytes(bytes_at(path)), size_of(path), readable(path)) == (TEXT, len(TEXT), path)
    assert Digest((path,)).text == Digest((tmp_path / "outer.zip",)).text
    assert is_within(path)
    assert not is_within(tmp_path / "outer.zip")
    with pytest.raises(ModelFileError, match=r"outer.zip: it holds no 'z' .*'in.zip', 'y.bin'"):
        map_file(tmp_path / "outer.zip" / "z")
    with pytest.raises(ModelFileError, match="no such file"):
        map_file(tmp_path / "nothing" / "z")


def patched(content, mark, at, form, value):
    changed = bytearray(content)
    struct.pack_into(form, changed, content.index(mark) + at, value)
    return bytes(changed)


CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


@pytest.mark.parametrize(
    ("method", "spoil", "reason"),
    [
        (0, lambda whole: patched(whole, END, 12, "<I", 2**31), "lists 2147483648 bytes of names"),
        (0, lambda whole: patched(whole, CENTRAL, 0, "B", 0), "not a sound zip archive"),
        (0, lambda whole: patched(whole, END, 16, "<I", 99999), "a is not where its archive says"),
        (0, lambda whole: patched(whole, CENTRAL, 24, "<I", 2**31), "a is larger than its archive"),
        (0, lambda whole: patched(whole, CENTRAL, 42, "<I", 7), "a is not where its archive says"),
        (0, lambda whole: patched(whole, LOCAL, 28, "<H", 65535), "a is larger than its archive"),
        (0, lambda whole: patched(whole, CENTRAL, 8, "<H", 1), "a is encrypted"),
        (8, lambda whole: patched(whole, CENTRAL, 24, "<I", 2**31 - 1), "a unpacks to 2147483647 bytes"),
        (8, lambda whole: patched(whole, CENTRAL, 24, "<I", 99), "a is damaged"),
        (8, lambda whole: patched(whole, CENTRAL, 16, "<I", 0), "a is damaged"),
        (8, lambda whole: patched(whole, LOCAL, 31, "B", 255), "a is damaged"),
    ],
)
def test_damages(method, spoil, reason):
    content = spoil(archive({"a": TEXT}, method=method))
    with pytest.raises(ModelFileError, match=reason):
        content_of(content, entries_of(content)["a"])


def test_another_compression():
    content = archive({"a": TEXT}, method=zipfile.ZIP_BZIP2)
    with pytest.raises(UnsupportedError, match="compressed by method 12"):
        head_of(content, entries_of(content)["a"], 4)


def test_every_changed_byte_is_an_error_or_the_content():
    content = archive({"a": TEXT, "b": b"b" * 300}, method=zipfile.ZIP_DEFLATED)
    for place in range(len(content)):
        for value in {0, 1, 127, 255} - {content[place]}:
            changed = patched(content, content[:4], place, "B", value)
            try:
                for entry in entries_of(changed).values():
                    content_of(changed, entry)
            except (ModelFileError, UnsupportedError):
                continue
