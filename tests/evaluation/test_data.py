import os
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from narrowcast.errors import DataError, UsageError
from narrowcast.evaluation.data import DataSet, open_data
from narrowcast.evaluation.dataset import READ_AHEAD
from narrowcast.model import Preprocessing, TensorSpec

IMAGE = TensorSpec("image", (1, 8, 8, 3), np.dtype(np.float32))
PLAIN = Preprocessing()
VECTOR = TensorSpec("x", (1, 4), np.dtype(np.float32))


def paint(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value, value, value)).save(path)


def values(data):
    """The first number of each feed, and the label."""
    return [(int(next(iter(sample.feed.values())).flat[0]), sample.label) for sample in data]


@pytest.fixture
def classes(tmp_path):
    """Two classes: cats 10, 11, 12, dogs 20, 21; and things that are none."""
    for name, value in (("cat/b.png", 11), ("cat/a.png", 10), ("cat/c.PNG", 12), ("dog/a.jpg", 20), ("dog/b.bmp", 21)):
        paint(tmp_path / name, value)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README").write_text("no class")
    return tmp_path


def listing(folder, text, names=("a.png", "b.png")):
    for index, name in enumerate(names):
        paint(folder / name, 10 * index)
    (folder / "labels.csv").write_text(text)
    return folder


def test_a_folder_for_each_class(classes):
    data = open_data(classes, [IMAGE])
    assert values(data) == [(10, 0), (11, 0), (12, 0), (20, 1), (21, 1)]
    assert data.class_names == ("cat", "dog")
    assert data.description == f"5 images of {classes.name}"


def test_what_is_passed_over_is_told(classes, tmp_path):
    (said,) = open_data(classes, [IMAGE], PLAIN).remarks
    assert said.startswith("2 of the data's files passed over")
    assert said.endswith(": README, notes.txt")
    for name in ("a.heic", "b.heic", "c.heic", "d.heic", "e.heic", "f.heic", "g.txt", ".hidden"):
        (classes / "dog" / name).write_bytes(b"")
    (said,) = open_data(classes, [IMAGE], PLAIN).remarks
    assert said.endswith(": README, notes.txt, a.heic, b.heic, c.heic and 4 more")


def test_what_is_passed_over_beside_arrays_and_images(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((8, 8, 3), np.float32))
    assert open_data(tmp_path, [IMAGE]).remarks == ()
    (tmp_path / "readme.md").write_text("")
    assert open_data(tmp_path, [IMAGE], PLAIN).remarks[0].endswith("being none of .npy: readme.md")
    paint(tmp_path / "a.png", 1)
    assert open_data(tmp_path, [IMAGE], PLAIN).remarks[0].endswith(": a.npy, readme.md")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("in/a.png", False), ("./in/../in/a.png", False), ("link.png", True), ("out/a.png", True), ("..", True)],
)
def test_listed_files_lie_in_the_folder_links_and_dots_or_not(name, wrong, tmp_path):
    paint(tmp_path / "data" / "in" / "a.png", 7)
    paint(tmp_path / "elsewhere" / "a.png", 8)
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "data" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "labels.csv").write_text(f"{name},1\n")
    if wrong:
        with pytest.raises(DataError, match="line 1 names a file"):
            open_data(tmp_path / "data", [IMAGE])
    else:
        assert values(open_data(tmp_path / "data", [IMAGE])) == [(7, 1)]


BATCH = TensorSpec("x", (4, 8, 8, 3), np.dtype(np.float32))


def firsts(data):
    """The first number of each sample of each feed."""
    return [[int(sample.flat[0]) for sample in feed["x"]] for feed in data.feeds()]


@pytest.mark.parametrize("form", ["folder", "npy", "array", "mapping", "arrays in files"])
def test_single_samples_fill_a_batch(form, tmp_path):
    array = np.broadcast_to(np.arange(6, dtype=np.float32)[:, None, None, None], (6, 8, 8, 3))
    data = {"array": array, "mapping": {"x": array, "y": np.arange(6)}}.get(form, tmp_path)
    if form == "npy":
        data = tmp_path / "x.npy"
        np.save(data, array)
    for index in range(6 if form in ("folder", "arrays in files") else 0):
        if form == "folder":
            paint(tmp_path / f"{index}.png", index)
        else:
            np.save(tmp_path / f"{index}.npy", array[index])
    opened = open_data(data, [BATCH])
    assert firsts(opened) == [[0, 1, 2, 3], [4, 5, 0, 1]]
    assert len(opened) == 2
    assert opened.description.endswith(", 4 at a time")
    assert {feed["x"].shape for feed in opened.feeds()} == {BATCH.shape}
    assert len(firsts(opened.subset(5))) == 2
    assert len(firsts(opened.subset(4))) == 1
    part, rest = opened.split(2)
    assert {number for feed in firsts(part) + firsts(rest) for number in feed} == set(range(6))
    assert {sample.label for sample in opened} == {None}


def test_whole_batches_stay_as_they_are():
    array = np.zeros((3, 4, 8, 8, 3), np.float32)
    assert [feed["x"].shape for feed in open_data(array, [BATCH]).feeds()] == [BATCH.shape] * 3
    with pytest.raises(DataError, match="wants samples of shape 1x8x8x3, found 1x9x8x3"):
        open_data(np.zeros((4, 9, 8, 3), np.float32), [BATCH])


def test_a_data_set_can_be_read_again(classes):
    data = open_data(str(classes), [IMAGE])
    assert values(data) == values(data)
    assert len(list(data.feeds())) == len(data) == 5


@pytest.mark.parametrize(
    "text",
    [
        "filename,class_index\na.png,3\nb.png,1\n",
        "a.png,3\nb.png,1",
        "\ufefffilename,class_index,note\na.png,3,good\nb.png,1,\n\n",
        'name,class\r\n"a.png", 3\r\n"b.png",1\r\n',
    ],
)
def test_a_folder_with_labels(tmp_path, text):
    assert values(open_data(listing(tmp_path, text), [IMAGE])) == [(0, 3), (10, 1)]


def test_labels_name_files_in_sub_folders(tmp_path):
    paint(tmp_path / "in" / "a.png", 7)
    (tmp_path / "labels.csv").write_text("in/a.png,2\n")
    assert values(open_data(tmp_path, [IMAGE])) == [(7, 2)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a.png,1\nc.png,2\n", r"labels\.csv: line 2 names a file that is not there: 'c\.png'"),
        ("a.png,1\nb.png,cat\n", r"line 2 is not filename,class_index: 'b\.png,cat'"),
        ("a.png,1\nb.png,--1\n", "line 2 is not filename"),
        ("a.png,1\nb.png,99999999999999999999\n", "line 2 is not filename"),
        ("a.png,1\nb.png,²\n", "line 2 is not filename"),
        ("a.png,1\nb.png,1.5\n", "line 2 is not filename"),
        ("a.png\n", "line 1 is not filename"),
        ("../outside.png,1\n", "line 1 names a file outside the folder"),
        ("in/../../outside.png,1\n", "outside the folder"),
        ("/etc/passwd,1\n", "outside the folder"),
        ("link.png,1\n", "outside the folder"),
        ("a\x00.png,1\n", "outside the folder|not a list|not there"),
        ("filename,class_index\n", "no samples"),
        ("", "no samples"),
        ("a.png,-1\n", "a label is -1; classes count from 0"),
        ('"' + "a" * 200_000 + '",1\n', "not a list of comma-separated"),
    ],
)
def test_labels_that_cannot_be(tmp_path, text, reason):
    paint(tmp_path / "outside.png", 1)
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(DataError, match=reason):
        open_data(listing(folder, text), [IMAGE])


def test_labels_that_are_no_text(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"a.png,1\n\xff\xfe\xfa,2\n")
    paint(tmp_path / "a.png", 1)
    with pytest.raises(DataError, match="not a list of comma-separated UTF-8 text"):
        open_data(tmp_path, [IMAGE])


def test_images_alone_have_no_labels(tmp_path):
    for value in (5, 3):
        paint(tmp_path / f"{value}.png", value)
    assert values(open_data(tmp_path, [IMAGE])) == [(3, None), (5, None)]


def test_one_image(tmp_path):
    paint(tmp_path / "a.png", 9)
    assert values(open_data(tmp_path / "a.png", [IMAGE])) == [(9, None)]


def test_the_offset_is_added_to_each_label(classes):
    assert [label for _, label in values(open_data(classes, [IMAGE], label_offset=1))] == [1, 1, 1, 2, 2]
    with pytest.raises(DataError, match="a label is -1"):
        open_data(classes, [IMAGE], label_offset=-1)


@pytest.mark.parametrize("suffix", ["npz", "npy", "folder", "memory"])
def test_arrays(tmp_path, suffix):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = tmp_path / f"data.{suffix}"
    if suffix == "npz":
        np.savez(path, x=array)
    elif suffix == "npy":
        np.save(path, array)
    elif suffix == "folder":
        path.mkdir()
        for index, sample in enumerate(array):
            np.save(path / f"{index}.npy", sample[None] if index < 0 else sample)
    data = open_data(array if suffix == "memory" else path, [VECTOR])
    assert values(data) == [(0, None), (4, None), (8, None)]
    assert next(iter(data)).feed["x"].shape == (1, 4)


def test_a_folder_of_arrays_with_a_batch_axis(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((1, 4), np.float32))
    assert values(open_data(tmp_path, [VECTOR])) == [(1, None)]


def test_a_folder_of_different_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((1, 4), np.float32))
    np.save(tmp_path / "b.npy", np.ones((1, 5), np.float32))
    with pytest.raises(DataError, match=r"b\.npy: it is float32 of shape \(1, 5\), the first one"):
        list(open_data(tmp_path, [VECTOR]))


@pytest.mark.parametrize("keys", [("x", "y"), ("images", "labels"), ("features", "label"), ("anything", "y")])
@pytest.mark.parametrize("column", [False, True])
def test_arrays_with_labels(tmp_path, keys, column):
    labels = np.array([2, 0, 1], np.uint8)
    arrays = {keys[0]: np.arange(12.0).reshape(3, 4), keys[1]: labels[:, None] if column else labels}
    np.savez(tmp_path / "a.npz", **arrays)
    assert values(open_data(tmp_path / "a.npz", [VECTOR])) == [(0, 2), (4, 0), (8, 1)]


def test_arrays_for_several_inputs(tmp_path):
    inputs = [VECTOR, TensorSpec("length", (1,), np.dtype(np.int64)), TensorSpec("rate", (), np.dtype(np.int64))]
    np.savez(tmp_path / "a.npz", x=np.ones((2, 4)), length=np.array([4, 3]), rate=np.array([16, 16]))
    feeds = list(open_data(tmp_path / "a.npz", inputs).feeds())
    assert [{name: array.shape for name, array in feed.items()} for feed in feeds] == [
        {"x": (1, 4), "length": (1,), "rate": ()}
    ] * 2
    assert feeds[1]["length"].tolist() == [3]


def test_an_input_may_be_called_y(tmp_path):
    inputs = [VECTOR, TensorSpec("y", (1, 2), np.dtype(np.float32))]
    np.savez(tmp_path / "a.npz", x=np.ones((2, 4)), y=np.zeros((2, 2)))
    data = open_data(tmp_path / "a.npz", inputs)
    assert data.labels is None
    assert len(data) == 2


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.ones((3, 4)), "y": np.zeros(2, int)}, r"different numbers of samples: \[2, 3\]"),
        ({"x": np.ones((3, 4)), "y": np.zeros(3)}, r"the labels are float64 of shape \(3,\), not one integer"),
        ({"x": np.ones((3, 4)), "y": np.zeros((3, 5), int)}, "not one integer a sample .*argmax"),
        ({"x": np.ones((3, 5))}, "wants samples of shape 1x4, found 1x5"),
        ({"x": np.zeros((0, 4))}, "hold no samples"),
        ({"x": np.float32(3)}, "no axis that counts the samples"),
        ({"a": np.ones((3, 4)), "b": np.ones((3, 4))}, "no array for the input 'x' .it has a, b"),
        ({"x": np.ones((3, 4)), "y": -np.ones(3, int)}, "a label is -1"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=reason):
        open_data(tmp_path / "a.npz", [VECTOR])


def test_nan_is_found_where_it_is(tmp_path):
    array = np.ones((5, 4), np.float32)
    array[3, 2] = np.nan
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=r"a\.npy: the data for 'x' holds NaN"):
        list(open_data(tmp_path / "a.npy", [VECTOR]))


def test_pixels_in_arrays_are_normalised(tmp_path):
    images = np.full((2, 16, 16, 3), 101, np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([0, 1]))
    data = open_data(tmp_path / "a.npz", [IMAGE], Preprocessing((1.0,), (10.0,)))
    assert values(data) == [(10, 0), (10, 1)]


def test_feeds_are_checked_and_kept():
    feeds = ({"x": np.full((1, 4), index), "more": 0} for index in range(3))
    data = open_data(feeds, [VECTOR])
    assert values(data) == values(data) == [(0, None), (1, None), (2, None)]
    with pytest.raises(DataError, match=r"no data for the input 'x' \(the feed has 'z'\)"):
        open_data([{"z": np.ones((1, 4))}], [VECTOR])
    with pytest.raises(DataError, match="wants samples of shape 1x4, found 4"):
        open_data([{"x": np.ones(4)}], [VECTOR])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "missing", "no such file or folder"),
        (lambda folder: folder, "no samples in this folder .readable: "),
        (lambda folder: (folder / "cat").mkdir() or folder, "no samples in this folder"),
        (
            lambda folder: (folder / "a.txt").write_text("x") and folder / "a.txt",
            r"cannot read data from '\.txt' files",
        ),
        (lambda folder: (folder / "a.npz").write_text("x") and folder / "a.npz", r"not a readable \.npz file"),
        (lambda folder: [], "there are no samples"),
        (lambda folder: np.zeros((0, 8, 8, 3)), "hold no samples"),
    ],
)
def test_nothing_is_no_data(tmp_path, make, reason):
    with pytest.raises(DataError, match=reason):
        open_data(make(tmp_path), [IMAGE])


def test_a_folder_is_one_thing_or_another(classes):
    paint(classes / "loose.png", 1)
    with pytest.raises(DataError, match=r"both images \(loose\.png\) and folders \(cat\)"):
        open_data(classes, [IMAGE])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        open_data(tmp_path, [IMAGE])


def test_a_damaged_image_is_named_when_its_turn_comes(classes):
    (classes / "dog" / "a.jpg").write_bytes(b"\xff\xd8\xff and nothing more")
    samples = iter(open_data(classes, [IMAGE]))
    assert [next(samples).label for _ in range(3)] == [0, 0, 0]
    with pytest.raises(DataError, match=r"a\.jpg: not a readable image"):
        next(samples)


@pytest.mark.parametrize(
    ("inputs", "preprocessing", "reason"),
    [
        ([IMAGE, VECTOR], None, "the model has 2 inputs, these files are for one .*image, x"),
        ([VECTOR], None, "1x4 takes no images"),
        ([TensorSpec("i", (1, 8, 8, 3), np.dtype(np.uint8))], Preprocessing((1.0,)), "it takes pixels as they are"),
        ([IMAGE], Preprocessing(resize=(9, 9)), "--resize 9 does not fit"),
    ],
)
def test_models_that_take_no_images_are_told_at_once(classes, inputs, preprocessing, reason):
    with pytest.raises(DataError, match=reason):
        open_data(classes, inputs, preprocessing)


def numbered(labels):
    labels = np.asarray(labels)
    return DataSet(lambda index: {"x": np.full(1, index)}, range(len(labels)), labels, f"{len(labels)} samples of it")


LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=40)


@given(LABELS, st.integers(1, 50), st.integers(0, 9))
def test_a_subset_is_drawn_evenly_without_replacement(labels, count, seed):
    data = numbered(labels)
    subset = data.subset(count, seed)
    assert len(set(subset.indices)) == len(subset) == min(count, len(labels))
    others = data.last(2, seed)
    assert len(others) == min(2, len(labels))
    assert count + 2 > len(labels) or not set(others.indices) & set(subset.indices)
    assert subset.indices == data.subset(count, seed).indices
    drawn, have = Counter(labels[index] for index in subset.indices), Counter(labels)
    most = max(drawn.values())
    assert all(drawn[label] >= min(most - 1, have[label]) for label in have)
    assert [sample.label for sample in subset] == [labels[index] for index in subset.indices]


@given(LABELS, st.integers(1, 50))
def test_a_split_shares_nothing_and_loses_nothing(labels, count):
    first, rest = numbered(labels).split(count)
    assert sorted([*first.indices, *rest.indices]) == list(range(len(labels)))
    assert 1 <= len(first) <= max(count, len(labels) // 2)
    assert len(rest) >= len(labels) / 2


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_are_those_of_recipes(seed):
    with pytest.raises(UsageError, match="cannot draw samples by the seed"):
        open_data(np.zeros((4, 1, 4), np.float32), [VECTOR], seed=seed)


def test_seeds_draw_differently():
    data = numbered([0] * 100)
    assert data.subset(10, 0).indices != data.subset(10, 1).indices


def test_unlabelled_data_are_drawn_too():
    data = DataSet(lambda index: {}, range(10), None, "ten")
    assert len(set(data.subset(4).indices)) == 4


def test_descriptions_say_what_was_drawn():
    first, rest = numbered([0] * 10).split(4)
    assert first.description == "4 of the 10 samples of it"
    assert rest.description == "the other 6 of the 10 samples of it"


@pytest.mark.parametrize("count", [0, -3])
def test_fewer_than_one_sample(classes, count):
    with pytest.raises(UsageError, match=f"cannot take {count} samples"):
        open_data(classes, [IMAGE], samples=count)


def test_a_single_sample_cannot_be_split():
    with pytest.raises(UsageError, match="cannot set 4 of 1 samples aside"):
        numbered([0]).split(4)


def test_reading_ahead_keeps_order_and_bounds():
    ahead, taken, lock = [0], [0], threading.Lock()

    def read(index):
        time.sleep(0.002 * (index % 3))
        with lock:
            ahead[0] = max(ahead[0], index - taken[0])
        return {"x": np.full(1, index)}

    data = DataSet(read, range(40), None, "", decoders=4)
    for position, sample in enumerate(data):
        with lock:
            taken[0] = position
        assert sample.feed["x"][0] == position
    assert ahead[0] <= READ_AHEAD + 1


def test_an_abandoned_iteration_reads_no_further():
    read = []
    data = DataSet(lambda index: read.append(index) or {}, range(1000), None, "", decoders=2)
    samples = iter(data)
    next(samples)
    samples.close()
    assert len(read) <= READ_AHEAD + 1


MEMORY = """
import sys, numpy as np
from narrowcast.evaluation._probe import peak_bytes
from narrowcast.evaluation.data import open_data
from narrowcast.model import TensorSpec
inputs = [TensorSpec("x", (1, 64, 64, 3), np.dtype(np.float32))]
list(open_data(sys.argv[1], inputs, samples=20))
before = peak_bytes()
assert sum(1 for feed in open_data(sys.argv[1], inputs).feeds() if feed["x"].sum() >= 0) == 2000
print(peak_bytes() - before)
"""


@pytest.mark.parametrize("kind", ["images", "savez", "savez_compressed", "save"])
def test_memory_does_not_grow_with_the_samples(tmp_path, kind):
    if kind == "images":
        path = tmp_path
        for value in range(4):
            paint(tmp_path / f"{value}.png", value)
        rows = "".join(f"{index % 4}.png,{index % 4}\n" for index in range(2000))
        (tmp_path / "labels.csv").write_text(rows)
    else:
        path = tmp_path / ("a.npy" if kind == "save" else "a.npz")
        getattr(np, kind)(path, np.zeros((2000, 64, 64, 3), np.float32))
    command = [sys.executable, "-c", MEMORY, str(path)]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 8 << 20, "2,000 samples of 48 KiB are 96 MiB"


def test_images_as_they_are_deserve_a_remark(classes, tmp_path):
    assert open_data(classes, [IMAGE]).remarks[-1].startswith("images went in as pixels of 0..255")
    assert open_data(classes, [IMAGE]).subset(2).remarks == open_data(classes, [IMAGE]).remarks
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8, 3), np.float32))
    assert open_data(tmp_path / "a.npy", [IMAGE]).remarks == ()
