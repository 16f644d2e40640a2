"""Files, pairs and folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowcast import _files
from narrowcast._files import atomic_path, atomic_write
from narrowcast.errors import OutputError


def tree(folder):
    """Contents by relative path, links as what they lead to."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }


def model(path):
    path.mkdir()
    (path / "saved_model.pb").write_text("new")
    (path / "variables").mkdir()
    (path / "variables" / "data").write_text("weights")


MODEL = {"model/saved_model.pb": "new", "model/variables/data": "weights"}


def test_a_folder_appears_whole(tmp_path):
    with atomic_path(tmp_path / "model", "saved_model.pb") as temporary:
        model(temporary)
        assert not (tmp_path / "model").exists()
    assert tree(tmp_path) == MODEL


def test_a_folder_of_its_kind_is_replaced_whole(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("old")
    (tmp_path / "model" / "variables").write_text("old")
    with atomic_path(tmp_path / "model", "saved_model.pb") as temporary:
        model(temporary)
    assert tree(tmp_path) == MODEL


def test_what_moves_into_an_empty_folder(tmp_path):
    (tmp_path / "model").mkdir()
    with atomic_path(tmp_path / "model", "saved_model.pb") as temporary:
        model(temporary)
    assert tree(tmp_path) == MODEL


def interrupted(path, error):
    with atomic_path(path, "saved_model.pb") as temporary:
        model(temporary)
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(28, "No space left on device")])
@pytest.mark.parametrize("old", [False, True])
def test_an_interruption_leaves_what_was_there(old, error, tmp_path):
    if old:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "saved_model.pb").write_text("old")
    before = tree(tmp_path)
    with pytest.raises((KeyboardInterrupt, ValueError, OutputError)):
        interrupted(tmp_path / "model", error)
    assert tree(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"model"}


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a").write_text("old")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").write_text("new")

    def vanishing(path, there):
        if path.name == "new":
            raise OSError(5, "Input/output error")
        return rename(path, there)

    rename = Path.replace
    monkeypatch.setattr(Path, "replace", vanishing)
    with pytest.raises(OSError, match="Input/output"):
        _files._put(tmp_path / "new", tmp_path / "old", tmp_path / "aside")
    assert (tmp_path / "old" / "a").read_text() == "old"


@pytest.mark.parametrize("make", [lambda path: path.write_text("x"), lambda path: (path.mkdir(), (path / "b").mkdir())])
def test_another_folder_is_not_replaced(make, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").write_text("mine")
    (tmp_path / "stage").mkdir()
    make(tmp_path / "stage" / "photos")
    with pytest.raises(IsADirectoryError, match=r"a folder stands at|also holds 'a'"):
        _files.place(tmp_path / "stage", tmp_path)
    assert (tmp_path / "photos" / "a").read_text() == "mine"


def test_a_pair_appears_together(tmp_path):
    with atomic_path(tmp_path / "m.onnx") as temporary:
        temporary.with_name("m.onnx.data").write_text("weights")
        temporary.write_text("tables")
        assert temporary.name == "m.onnx"
    assert tree(tmp_path) == {"m.onnx": "tables", "m.onnx.data": "weights"}


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "link.tflite").symlink_to("store/model.tflite")
    for text in ("first", "second"):
        with atomic_write(tmp_path / "link.tflite") as file:
            file.write(text.encode())
        assert tree(tmp_path) == {"link.tflite": "-> store/model.tflite", "store/model.tflite": text}


def test_a_link_to_a_folder_is_written_through(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "model").symlink_to("store", target_is_directory=True)
    with atomic_path(tmp_path / "model", "saved_model.pb") as temporary:
        model(temporary)
    assert (tmp_path / "model").is_symlink()
    assert (tmp_path / "store" / "saved_model.pb").read_text() == "new"


def test_permissions_are_the_users_own(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "m") as file:
        file.write(b"x")
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("make", "folder", "reason"),
    [
        (lambda path: path.mkdir(), "", "is a folder; give a file name"),
        (lambda path: path.write_text("x"), "saved_model.pb", "is a file; give a folder's name"),
        (
            lambda path: (path.mkdir(), (path / "holiday.jpg").write_text("x")),
            "saved_model.pb",
            "without saved_model.pb",
        ),
        (lambda path: path.symlink_to(path), "", "a link that leads to itself"),
        (lambda path: path.symlink_to("nowhere/m"), "", "the destination's folder does not exist"),
    ],
)
def test_what_may_not_be_replaced(make, folder, reason, tmp_path):
    make(tmp_path / "m")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=reason), atomic_path(tmp_path / "m", folder):
        pytest.fail("a temporary path was made for it")
    assert tree(tmp_path) == before


def test_what_a_new_folder_lacks_is_not_lost(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").write_text("old")
    (tmp_path / "m" / "diary.txt").write_text("dear diary")
    before = tree(tmp_path)
    with (
        pytest.raises(OutputError, match=r"also holds 'diary.txt'"),
        atomic_path(tmp_path / "m", "saved_model.pb") as temporary,
    ):
        model(temporary)
    assert tree(tmp_path) == before
