"""5,000 sound files, changed a little: each is read, or refused by one of narrowcast's own errors.

What is let through goes on to LiteRT, in a process that it may end: it ends none. bench/hostile.py goes on from here,
and tells time and memory.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import narrowcast
from narrowcast.errors import NarrowcastError
from tests.readers.tflite import mutate
from tests.readers.tflite.craft import branches, convolution, sparse

ROOT = Path(__file__).parents[3]


def written(tmp_path):
    """A small float and an integer network as our writer lays them out."""
    from narrowcast.dialect.build import Builder
    from narrowcast.model import Model

    random_ = np.random.default_rng(0)
    build = Builder.new("network")
    x = build.input("x", (1, 3, 8, 8))
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "dilations": [1, 1], "pads": [1, 1, 1, 1], "group": 1}
    kernel = build.constant(random_.normal(size=(4, 3, 3, 3)).astype(np.float32), "kernel")
    y = build("Conv", x, kernel, shape=(1, 4, 4, 4), **window)
    y = build("Relu", y, shape=(1, 4, 4, 4))
    y = build("Reshape", y, build.constant([1, 64], "flat", np.int64), shape=(1, 64))
    weights = build.constant(random_.normal(size=(5, 64)).astype(np.float32), "weights")
    y = build("Softmax", build("Gemm", y, weights, transB=1, shape=(1, 5)), axis=-1, name="y", shape=(1, 5))
    model = Model(build.finish([y]))
    yield narrowcast.save(model, tmp_path / "float.tflite", verify=False).path.read_bytes()
    data = random_.normal(size=(4, 3, 8, 8)).astype(np.float32)
    small = narrowcast.quantize(model, "full_int8", data=data)
    yield narrowcast.save(small, tmp_path / "int8.tflite", verify=False).path.read_bytes()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    crafted = (convolution().content, sparse()[0].content, branches().content)
    return (*crafted, *written(tmp_path_factory.mktemp("sound")))


@pytest.mark.parametrize(("mutation", "count"), [(mutate.of_bytes, 3500), (mutate.of_tables, 1500)])
def test_mutations(mutation, count, sound, tmp_path):
    draw, passed, refused = random.Random(0), 0, 0
    for number in range(count):
        changed = mutation(draw.choice(sound), draw)
        while changed is None:
            changed = mutation(draw.choice(sound), draw)
        try:
            mutate.read(changed)
        except NarrowcastError:
            refused += 1
        else:
            passed += 1
            (tmp_path / f"{number}.tflite").write_bytes(changed)
    assert refused > count // 8
    assert passed > count // 8
    command = [sys.executable, "-m", "tests.readers.tflite.mutate", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


def test_mutations_of_a_whole_conversion(sound, tmp_path):
    """What is let through becomes a model, or one of narrowcast's own errors."""
    draw, path = random.Random(1), tmp_path / "m.tflite"
    for _ in range(60):
        path.write_bytes(mutate.of_tables(draw.choice(sound), draw) or b"")
        try:
            narrowcast.load(path)
        except NarrowcastError:
            continue


@pytest.mark.parametrize("mutation", [mutate.of_bytes, mutate.of_tables])
def test_mutations_of_real_files(mutation, zoo, tmp_path):
    draw = random.Random(2)
    for name in ("tiny_kws_int8", "keras_lstm_mnist_ptq", "tflm_micro_speech_int8", "kws/ds_cnn_small_int16x8"):
        content = (zoo / f"models/{name}.tflite").read_bytes()
        for number in range(50):
            changed = mutation(content, draw)
            try:
                mutate.read(changed or b"")
            except NarrowcastError:
                continue
            (tmp_path / f"{Path(name).name}_{number}.tflite").write_bytes(changed)
    command = [sys.executable, "-m", "tests.readers.tflite.mutate", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
