import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.errors import DataError
from narrowcast.evaluation.arrays import Archive, open_array

ARRAYS = {
    "x": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "big": np.arange(5, dtype=">i4"),
    "empty": np.zeros((0, 3)),
    "scalar": np.array(7.5),
    "text": np.array(["a", "bc"]),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_members_come_back_as_numpy_wrote_them(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    archive = Archive(tmp_path / "a.npz")
    assert set(archive) == set(ARRAYS)
    assert len(archive) == len(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(archive[name], array)
        assert archive[name].dtype == array.dtype


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_members_are_mapped_not_read(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    assert isinstance(Archive(tmp_path / "a.npz")["x"], np.memmap)


def test_arrays_are_mapped(tmp_path):
    np.save(tmp_path / "a.npy", ARRAYS["x"])
    array = open_array(tmp_path / "a.npy")
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, ARRAYS["x"])


class Bomb:
    """Pickles to something that shows when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def test_objects_are_never_unpickled(tmp_path):
    objects = np.array([Bomb()], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=objects, y=np.arange(3))
    with pytest.raises(DataError, match="Python objects, which are never unpickled"):
        open_array(tmp_path / "a.npy")
    archive = Archive(tmp_path / "a.npz")
    np.testing.assert_array_equal(archive["y"], [0, 1, 2])
    with pytest.raises(DataError, match="Python objects, which are never unpickled"):
        archive["x"]


def test_a_bare_pickle_is_no_array(tmp_path):
    (tmp_path / "a.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"a\.npy: not a readable \.npy file"):
        open_array(tmp_path / "a.npy")


def npy(header, body=b""):
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + bytes(20),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", bytes(15)),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -4), }", bytes(64)),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }", bytes(64)),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': 'abc', }", bytes(64)),
        npy("__import__('os').abort()"),
    ],
)
def test_damaged_arrays_are_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy: not a readable \.npy file"):
        open_array(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match="cannot read the array 'x'"):
        Archive(tmp_path / "a.npz")["x"]


def test_what_is_no_archive(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        Archive(tmp_path / "a.npz")


def test_a_member_larger_than_the_disk_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1000))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(DataError, match=r"unpacking 'x\.npy' takes 8128 bytes, 100 are free"):
        Archive(tmp_path / "a.npz")["x"]


@given(data=st.data(), compressed=st.booleans())
def test_damaged_archives_are_refused_or_read(data, compressed, tmp_path_factory):
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, x=np.arange(20, dtype=np.int16))
    content = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("archives") / "a.npz"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        archive = Archive(path)
        arrays = [archive[name] for name in archive]
    except DataError:
        return
    assert sum(array.nbytes for array in arrays) < 10_000
