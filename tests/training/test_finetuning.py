"""A network that learns is nearer to its float twin; interrupted and taken up again, it is the same to the last bit."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.errors import DataError, UsageError
from narrowcast.evaluation.judge import Judge
from narrowcast.model import Model
from narrowcast.passes.infer import infer_shapes
from narrowcast.quantization import NOTES
from narrowcast.training import checkpoints
from tests.training.graphs import convolutional, images

SHORT = {"epochs": 1, "piece_epochs": 1, "batch_size": 4}


def constants(model):
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}


def same(one, other):
    first, second = constants(one), constants(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("scheme", "options", "gain"),
    [
        ("int8", {"weights": "per-tensor"}, 3),
        ("int8", {}, 0),
        ("dynamic_range", {"weights": "per-tensor"}, 0),
        ("full_int8", {"weights": "per-tensor"}, 3),
    ],
)
def test_it_learns_without_labels(scheme, options, gain):
    model, data = convolutional(width=40 if scheme == "dynamic_range" else 12), images(64)
    options = {"observer": "minmax", **options}  # without biases that are corrected unasked
    plain = narrowcast.quantize(model, scheme, data=data, **options)
    made = narrowcast.finetune(model, scheme, data, epochs=12, **options)
    judge = Judge(model, images(32, seed=2))
    assert judge.of(made).mean >= judge.of(plain).mean + gain
    assert made.scheme == plain.scheme


def test_learned_steps_learn():
    model, data = convolutional(), images(48)
    options = {"weights": "per-tensor", "epochs": 12, "observer": "minmax"}
    made = narrowcast.finetune(model, "int8", data, learned_steps=True, **options)
    fixed = narrowcast.finetune(model, "int8", data, **options)
    scales = [{name: array for name, array in constants(m).items() if name.startswith("scale")} for m in (made, fixed)]
    assert any(not np.array_equal(array, scales[1].get(name)) for name, array in scales[0].items())
    judge = Judge(model, images(32, seed=2))
    plain = narrowcast.quantize(model, "int8", data=data, weights="per-tensor", observer="minmax")
    assert judge.of(made).mean > judge.of(plain).mean


def test_it_learns_labels(tmp_path):
    model, data = convolutional(), images(96)
    rows = np.concatenate([feed["x"] for feed in data])
    labels = (rows[:, 0].mean(axis=(1, 2)) > 0).astype(int) + 3
    made = narrowcast.finetune(model, "int8", data, labels, 40, piece_epochs=0, learning_rate=1.0)

    def right(model):
        found = [Judge(model, [feed]).seen[0][1]["y"].argmax() for feed in data]
        return np.mean(np.array(found) == labels)

    assert right(made) > right(narrowcast.quantize(model, "int8", data=data)) + 0.3


class InterruptError(Exception):
    pass


@pytest.mark.parametrize("when", [1, 9, 13])
def test_an_interrupt_changes_nothing(tmp_path, monkeypatch, when):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr("narrowcast.training.pieces.MOST_LAYERS", 1)
    model, data = convolutional(), images(24)
    wanted = narrowcast.finetune(model, "int8", data, **SHORT)
    seen = []

    def interrupting(stage, done, total):
        if "piece" in stage or stage == "fine-tuning":
            seen.append((stage, done))
            if len(seen) == when:
                raise InterruptError

    with pytest.raises(InterruptError):
        narrowcast.finetune(model, "int8", data, checkpoint=tmp_path / "state", progress=interrupting, **SHORT)
    before, seen = seen, []
    again = narrowcast.finetune(
        model, "int8", data, checkpoint=tmp_path / "state", progress=lambda *told: seen.append(told[:2]), **SHORT
    )
    assert same(again, wanted)
    learned = [told for told in seen if "piece" in told[0] or told[0] == "fine-tuning"]
    assert [told for told in learned if told in before] in ([], [before[-1]])  # all but the last was kept


def test_what_was_gained_is_told():
    made = narrowcast.finetune(convolutional(), "int8", images(16), weights="per-tensor", **SHORT)
    found = [note for note in json.loads(made.ir.metadata_props[NOTES]) if "fine-tuned" in note]
    assert len(found) == 1
    before, after = map(float, re.search(r"from (\S+) to (\S+) dB", found[0]).groups())
    assert after >= before > 5


def test_pieces_learn_from_as_many_samples_as_memory_is_taken_for(monkeypatch):
    monkeypatch.setattr("narrowcast.training.pieces.MOST_LAYERS", 1)
    monkeypatch.setattr("narrowcast.training.finetuning.MOST_BYTES", 3 * 4 * 12 * 64 * 5)
    seen = []
    narrowcast.finetune(
        convolutional(), "int8", images(24), progress=lambda *told: seen.append(told), **{**SHORT, "batch_size": 1}
    )
    assert {total for stage, _, total in seen if "piece" in stage} == {4}
    assert {total for stage, _, total in seen if stage == "fine-tuning"} == {21}


def test_the_same_seed_gives_the_same_model():
    model, data = convolutional(), images(16)
    first, second, other = (narrowcast.finetune(model, "int8", data, seed=seed, **SHORT) for seed in (0, 0, 1))
    assert same(first, second)
    assert not same(first, other)


def test_a_checkpoint_of_another_training_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    model, data = convolutional(), images(16)
    narrowcast.finetune(model, "int8", data, checkpoint=tmp_path, **SHORT)
    with pytest.raises(DataError, match="another network, data or recipe"):
        narrowcast.finetune(model, "int8", data, checkpoint=tmp_path, **{**SHORT, "batch_size": 2})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"cos\nsystem\n(S'true'\ntR."])
def test_a_damaged_checkpoint_runs_nothing(tmp_path, content):
    (tmp_path / checkpoints.NAME).write_bytes(content)
    with pytest.raises(DataError, match="checkpoint is damaged"):
        narrowcast.finetune(convolutional(), "int8", images(8), checkpoint=tmp_path, **SHORT)


def test_another_file_in_a_checkpoints_place_is_told(tmp_path):
    torch.save({"format": torch.zeros(1)}, tmp_path / checkpoints.NAME)
    with pytest.raises(DataError, match="no checkpoint of narrowcast"):
        narrowcast.finetune(convolutional(), "int8", images(8), checkpoint=tmp_path, **SHORT)


class Harm:
    """What a pickle would make a file of."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_checkpoint_runs_nothing_wherever_it_says_so(tmp_path):
    for content in (Harm(tmp_path / "harm"), {"format": 1, "mark": Harm(tmp_path / "harm")}):
        (tmp_path / checkpoints.NAME).write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match="checkpoint is damaged"):
            narrowcast.finetune(convolutional(), "int8", images(8), checkpoint=tmp_path, **SHORT)
        torch.save(content, tmp_path / checkpoints.NAME)
        with pytest.raises(DataError, match="checkpoint is damaged"):
            narrowcast.finetune(convolutional(), "int8", images(8), checkpoint=tmp_path, **SHORT)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoints.NAME]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """What a checkpoint of the shortest training holds."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "EVERY", 0.0)
        narrowcast.finetune(convolutional(), "int8", images(8), checkpoint=folder, **SHORT)
    return torch.load(folder / checkpoints.NAME, weights_only=True)


DAMAGE = {
    "no number of a lesson": lambda state: {"lesson": "1"},
    "a lesson before all": lambda state: {"lesson": -1},
    "half an update": lambda state: {"update": 1.5},
    "no distance": lambda state: {"first": None},
    "a distance that is none": lambda state: {"best": float("nan")},
    "no parameters": lambda state: {"parameters": None},
    "too few": lambda state: {"parameters": state["parameters"][:1]},
    "others": lambda state: {"parameters": [torch.zeros(3, 5) for _ in state["parameters"]]},
    "integers": lambda state: {"parameters": [tensor.long() for tensor in state["parameters"]]},
    "NaN": lambda state: {"parameters": [tensor * float("nan") for tensor in state["parameters"]]},
    "none tensors": lambda state: {"parameters": [3.0 for _ in state["parameters"]]},
    "nothing kept": lambda state: {"kept": []},
    "infinities kept": lambda state: {"kept": [tensor / 0 for tensor in state["kept"]]},
    "no moments": lambda state: {"moments": []},
    "moments of others": lambda state: {"moments": state["moments"][1:] + state["moments"][:1]},
    "a text": lambda state: {"moments": "abc"},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_checkpoint_that_says_what_no_state_is(state, damage, tmp_path):
    torch.save({**state, **damage(state)}, tmp_path / checkpoints.NAME)
    with pytest.raises(DataError, match="checkpoint is damaged") as told:
        narrowcast.finetune(convolutional(), "int8", images(8), checkpoint=tmp_path, **SHORT)
    assert told.value.where == str(tmp_path / checkpoints.NAME)


@pytest.mark.parametrize("name", ["mark", "kept"])
def test_a_checkpoint_without_a_name_is_none(state, name, tmp_path):
    torch.save(
        {key: value for key, value in state.items() if key != name} | {"a": 1, "b": 2}, tmp_path / checkpoints.NAME
    )
    with pytest.raises(DataError, match="no checkpoint of narrowcast"):
        narrowcast.finetune(convolutional(), "int8", images(8), checkpoint=tmp_path, **SHORT)


@pytest.mark.parametrize("scheme", ["int8", "full_int8", "int16x8"])
def test_a_factor_of_no_axes_is_rounded_as_any_constant(scheme, tmp_path):
    """As images are scaled by a layer of their own."""
    build = Builder.new("scaled")
    x = build.input("x", (1, 6))
    scaled = build("Mul", x, build.constant(np.float32(1 / 255), "scale"), name="scaled")
    w = build.constant(np.random.default_rng(0).normal(size=(8, 6)).astype("f"), "w")
    model = Model(build.finish([build("Gemm", scaled, w, name="y", transB=1)]))
    infer_shapes(model)
    data = [{"x": row[None]} for row in np.random.default_rng(1).uniform(0, 255, size=(16, 6)).astype("f")]
    made = narrowcast.finetune(model, scheme, data, weights="per-tensor", **SHORT)
    assert narrowcast.save(made, tmp_path / "m.tflite", data=data).verified
    assert Judge(model, data).of(made).mean > 25


def test_the_scores_of_a_class_are_learned():
    build = Builder.new("class")
    x = build.input("x", (1, 6))
    w = build.constant(np.random.default_rng(0).normal(size=(8, 6)).astype("f"), "w")
    y = build("ArgMax", build("Gemm", x, w, name="g", transB=1), name="y", axis=1, keepdims=1)
    model = Model(build.finish([y]))
    infer_shapes(model)
    data = [{"x": row[None]} for row in np.random.default_rng(1).normal(size=(16, 6)).astype("f")]
    notes = json.loads(narrowcast.finetune(model, "int8", data, **SHORT).ir.metadata_props[NOTES])
    assert re.search(r"fine-tuned on 16 samples.* to \d\d\.\d dB", notes[-1])


def test_a_network_that_mixes_its_batch_learns_sample_by_sample():
    build = Builder.new("mixed")
    x = build.input("x", (1, 6))
    w = build.constant(np.random.default_rng(0).normal(size=(8, 6)).astype("f"), "w")
    h = build("Relu", build("Gemm", x, w, name="g", transB=1), name="h")
    axes = build.constant([0, 1], "axes", np.int64)
    y = build("Div", h, build("ReduceSum", h, axes, name="s", keepdims=1), name="y")
    model = Model(build.finish([y]))
    infer_shapes(model)
    data = [{"x": np.abs(row)[None]} for row in np.random.default_rng(1).normal(size=(24, 6)).astype("f")]
    made = narrowcast.finetune(model, "int8", data, epochs=3, weights="per-tensor")
    judge = Judge(model, data)
    assert (
        judge.of(made).mean >= judge.of(narrowcast.quantize(model, "int8", data=data, weights="per-tensor")).mean - 0.5
    )


@pytest.mark.parametrize(
    ("scheme", "options", "kind", "match"),
    [
        ("int8", {"epochs": 0, "piece_epochs": 0}, UsageError, "nothing is learned"),
        ("int8", {"device": "tpu"}, UsageError, "unknown device"),
        ("int8", {"batch_size": 0}, UsageError, "at least one sample"),
        ("int8", {"learning_rate": -1.0}, UsageError, "above 0"),
        ("int8", {"lerning_rate": 1.0}, UsageError, "unknown option 'lerning_rate'"),
        ("int8", {"labels": [1, 2]}, DataError, "there are 2 labels"),
        ("int8", {"labels": [10] * 8}, DataError, "a label is none of 10 classes"),
        ("int8", {"labels": "data"}, DataError, "no label for each sample"),
        ("float16", {}, UsageError, "float16 rounds nothing"),
    ],
)
def test_what_cannot_be_done_is_told(scheme, options, kind, match):
    with pytest.raises(kind, match=match):
        narrowcast.finetune(convolutional(), scheme, images(8), **options)


def test_without_torch_the_extra_is_named():
    code = """
import sys
sys.modules["torch"] = None
import narrowcast
try: narrowcast.to_torch(None)
except narrowcast.MissingExtraError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "training needs the package torch" in done.stdout
    assert "pip install 'narrowcast[torch]'" in done.stdout
