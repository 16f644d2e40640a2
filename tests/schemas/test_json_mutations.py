"""JSON that something has been done to: it becomes a file that is checked, or an error; nothing else comes out."""

from __future__ import annotations

import copy
import json
import random
from contextlib import suppress

import pytest

from narrowcast.api.transcribing import CHECKS
from narrowcast.errors import NarrowcastError
from narrowcast.readers.formats import read
from narrowcast.schemas.transcripts import TRANSCRIPTS
from tests.schemas.test_onnx_json import network
from tests.schemas.test_tflite_json import MODEL

ODD = (
    *(None, True, 0, -1, 1, 2, 255, 256, 2**31, 2**63, 2**64, -(2**31), 10**30, 0.5, 1e39, float("nan"), float("-inf")),
    *("", "x", "NaN", "1", "-1", "AAAA", "CONV_2D", "SoftmaxOptions", "FLOAT16", "\ud800", "\0"),
    *([], {}, [1], [-1], [None], [[1]], [{}], {"x": 1}, [0] * 40, [2**40] * 20),
)
COUNT = 400


def spots(value):
    """Every object and list of a document, with a key or index of it."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from spots(value[key])


def mutated(document, draw):
    document = copy.deepcopy(document)
    for _ in range(draw.randint(1, 2)):
        owner, key = draw.choice(list(spots(document)))
        match draw.randrange(5):
            case 0 | 1:
                owner[key] = copy.deepcopy(draw.choice(ODD))
            case 2:
                del owner[key]
            case 3:
                other, place = draw.choice(list(spots(document)) or [(owner, key)])
                if isinstance(owner, list) or key in owner:
                    owner.__setitem__(
                        key if isinstance(owner, dict) else 0, copy.deepcopy(other[place])
                    ) if owner else None
            case 4 if isinstance(owner, dict):
                owner[f"{key}s"] = owner.pop(key)
    return document


@pytest.fixture(params=TRANSCRIPTS)
def sound(request, tmp_path):
    """A format of JSON, and a document of it."""
    if request.param == "tflite-json":
        return request.param, MODEL
    TRANSCRIPTS["onnx-json"].transcriber.from_binary(network(tmp_path / "m.onnx"), tmp_path / "m.json")
    return request.param, json.loads((tmp_path / "m.json").read_text())


def outcome(fmt, path, folder):
    """What becomes of a file of JSON: "" for a sound one, else what is said of it."""
    row = TRANSCRIPTS[fmt]
    try:
        row.transcriber.to_binary(path, folder / "made")
        CHECKS[row.binary](folder / "made")
    except NarrowcastError as error:
        return str(error)
    with suppress(NarrowcastError):
        read(path, fmt=fmt)
    return ""


@pytest.mark.parametrize("seed", range(4))
def test_edits_at_random(sound, seed, tmp_path):
    fmt, document = sound
    draw, said = random.Random(seed), set()
    for _ in range(COUNT // 4):
        (tmp_path / "x.json").write_text(json.dumps(mutated(document, draw)))
        said.add(outcome(fmt, tmp_path / "x.json", tmp_path))
    assert len(said) > COUNT // 20
    assert "" in said


@pytest.mark.parametrize("seed", range(2))
def test_bytes_at_random(sound, seed, tmp_path):
    fmt, document = sound
    draw, text = random.Random(seed), json.dumps(document).encode()
    for _ in range(COUNT // 4):
        content = bytearray(text)
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        (tmp_path / "x.json").write_bytes(content[: draw.choice([None, draw.randrange(len(content))])])
        outcome(fmt, tmp_path / "x.json", tmp_path)
