"""Documents that are none: each error names its JSON path, and nothing but our own errors comes out of damaged ones."""

import copy
import json
import random

import numpy as np
import pytest

from narrowcast import editing
from narrowcast.editing.action import ACTIONS
from narrowcast.errors import DataError, NarrowcastError
from tests.editing import network

GOOD = {
    "version": 1,
    "edits": [
        {"do": "set_attributes", "nodes": {"type": "Conv", "regex": "c/.*"}, "attributes": {"kernel_shape": [1, 1]}},
        {"do": "set_constant", "nodes": "m/Mul", "input": 1, "value": {"value": [3], "dtype": "float32"}},
        {"do": "set_constant", "tensors": "kernel", "value": {"file": "kernel.npy"}},
        {"do": "connect", "nodes": "a/Add", "input": 1, "tensor": "factor"},
        {"do": "insert", "after": "m", "op": "Mul", "inputs": ["@", [[2.5]]], "attributes": {}, "name": "more"},
        {"do": "swap", "nodes": {"name": "a/Add"}, "op": "Sub", "inputs": ["@1", "@0"]},
        {"do": "remove", "nodes": "more/Mul", "input": 0},
        {"do": "normalize_input", "input": "x", "mean": [1, 2, 3], "std": 2, "axis": 1, "dtype": "uint8"},
        {"do": "transpose_input", "input": "x", "perm": [0, 3, 1, 2]},
        {"do": "softmax", "output": "scores", "axis": 1},
        {"do": "sigmoid", "output": "scores", "name": "squeezed"},
        {"do": "argmax", "output": "scores", "axis": 1, "keepdims": True, "name": "class"},
        {"do": "rename", "ports": {"x": "image"}},
        {"do": "cut", "inputs": ["c"], "outputs": ["y", "class"]},
    ],
}


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "kernel.npy", np.ones((2, 3, 1, 1), np.float32))
    return tmp_path


def written(folder, data):
    path = folder / "edits.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_a_document_is_carried_out_and_told_of(folder):
    model = editing.apply(network(folder), editing.edits_of(written(folder, GOOD)))
    assert [edit["do"] for edit in model.provenance.edits] == [edit["do"] for edit in GOOD["edits"]]
    assert json.dumps(model.provenance.edits)


def test_every_action_is_in_the_document():
    assert {edit["do"] for edit in GOOD["edits"]} == set(ACTIONS) - {"nms"}


def test_long_values_are_recorded_by_their_digest():
    edit = {"do": "set_constant", "tensors": "k", "value": list(range(1000))}
    [found] = editing.edits_of({"version": 1, "edits": [edit]})
    assert set(found.record["value"]) == {"sha256"}


BAD = [
    ("", "edits.json: the file is empty"),
    ("{", "edits.json: not a JSON document"),
    ("[" * 100_000, "edits.json: not a JSON document"),
    ('{"version": 1, "version": 1}', "'version' stands twice"),
    ("[]", "edits.json: expected an object"),
    ('{"edits": []}', "version: expected the version 1, not None"),
    ('{"version": 2, "edits": []}', "version: expected the version 1, not 2"),
    ('{"version": true, "edits": []}', "version: expected the version 1, not True"),
    ('{"version": 1}', "edits: expected a list of edits"),
    ('{"version": 1, "edit": []}', "there is no field 'edit' (did you mean edits?)"),
    ('{"version": 1, "edits": [1]}', "edits[0]: expected an object"),
    ('{"version": 1, "edits": [{"do": "removed"}]}', "edits[0].do: there is no action 'removed' (did you mean remove?"),
    ('{"version": 1, "edits": [{"do": 7}]}', "edits[0].do: expected an action, not 7"),
    ('{"version": 1, "edits": [{"do": "remove"}]}', "edits[0]: the field 'nodes' is missing"),
    ('{"version": 1, "edits": [{"do": "remove", "node": "a"}]}', "no field 'node' (did you mean nodes?)"),
    ('{"version": 1, "edits": [{"do": "remove", "nodes": {}}]}', "edits[0].nodes: nothing is selected"),
    ('{"version": 1, "edits": [{"do": "remove", "nodes": {"regex": "("}}]}', "nodes.regex: not a regular expression"),
    ('{"version": 1, "edits": [{"do": "remove", "nodes": "a", "input": 0.5}]}', "input: expected a whole number"),
    ('{"version": 1, "edits": [{"do": "remove", "nodes": "a", "input": true}]}', "input: expected a whole number"),
    ('{"version": 1, "edits": [{"do": "set_constant", "value": NaN}]}', "NaN is no number of JSON"),
    ('{"version": 1, "edits": [{"do": "set_constant", "value": [[1], 2]}]}', "value: not an array"),
    ('{"version": 1, "edits": [{"do": "set_constant", "value": ["a"]}]}', "value: expected a number, or lists"),
    ('{"version": 1, "edits": [{"do": "set_constant", "value": {}}]}', "value: expected either 'value' or 'file'"),
    (
        '{"version": 1, "edits": [{"do": "set_constant", "value": {"value": 1, "dtype": "float31"}}]}',
        "value.dtype: expected one of float32, float16",
    ),
]


@pytest.mark.parametrize(("text", "what"), BAD)
def test_an_error_names_the_path(text, what, tmp_path):
    with pytest.raises(NarrowcastError) as caught:
        editing.edits_of(written(tmp_path, text))
    assert what in str(caught.value)
    assert str(tmp_path / "edits.json") in str(caught.value)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    "name", ["../kernel.npy", "/etc/passwd", "missing.npy", "network.onnx", "objects.npy", "short.npy"]
)
def test_a_file_that_may_not_be_read_or_is_none(name, folder):
    (folder / "sub").mkdir()
    network(folder / "sub")
    np.save(folder / "sub" / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "sub" / "short.npy").write_bytes((folder / "kernel.npy").read_bytes()[:-4])
    document = written(folder / "sub", {"version": 1, "edits": [_from_file(name)]})
    with pytest.raises(NarrowcastError) as caught:
        editing.edits_of(document)
    assert caught.value.exit_code == 5


def test_a_document_of_python_names_no_files():
    with pytest.raises(DataError, match="no folder"):
        editing.edits_of({"version": 1, "edits": [_from_file("kernel.npy")]})


def _from_file(name):
    return {"do": "set_constant", "tensors": "kernel", "value": {"file": name}}


WORDS = [
    None,
    True,
    -1,
    0,
    2**70,
    1e999,
    0.5,
    "",
    "x",
    "scores",
    "@",
    "@9",
    "\0",
    [],
    {},
    [[]],
    {"file": "x"},
    ["y"],
    [1],
]


def _places(data, here=()):
    yield here
    for key, item in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from _places(item, (*here, key))


def test_mutated_documents_end_in_errors_of_ours(folder):
    """A value is replaced, goes, or comes twice, anywhere: the document is carried out, or an error names a place."""
    draw = random.Random(0)
    places = list(_places(GOOD))[1:]
    for _ in range(400):
        data = copy.deepcopy(GOOD)
        for place in draw.sample(places, draw.choice((1, 1, 2))):
            _mutate(data, place, draw)
        told = _error_of(folder, data)
        assert told is None or "edits.json" in told.where, (told, data)


def _error_of(folder, data):
    try:
        editing.apply(network(folder), editing.edits_of(written(folder, data)))
    except NarrowcastError as error:
        return error
    return None


def test_damaged_bytes_end_in_errors_of_ours(folder):
    """A byte is another, some are cut out, or the end is gone."""
    draw = random.Random(1)
    whole = json.dumps(GOOD).encode()
    for _ in range(300):
        data, at = bytearray(whole), draw.randrange(len(whole))
        match draw.randrange(3):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                del data[at : at + draw.randrange(1, 20)]
            case 2:
                del data[at:]
        path = folder / "edits.json"
        path.write_bytes(bytes(data) or b" ")
        try:
            editing.apply(network(folder), editing.edits_of(path))
        except NarrowcastError as error:
            told = error
        else:
            told = None
        assert told is None or "edits.json" in told.where


def _mutate(data, place, draw):
    *way, last = place
    try:
        for key in way:
            data = data[key]
        action = draw.choice(["replace", "replace", "drop", "double"])
        if action == "drop":
            del data[last]
        elif action == "double" and isinstance(data, list):
            data.insert(last, data[last])
        else:
            data[last] = copy.deepcopy(draw.choice(WORDS))
    except (KeyError, IndexError, TypeError):
        return  # what another mutation has taken away
