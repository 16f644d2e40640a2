"""The examples of guides that have documents in them: each is written where it says, and each command line is run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from narrowcast.cli.app import cli
from narrowcast.editing.action import ACTIONS
from tests.readers.onnx.run import write_text

GUIDES = Path(__file__).parent.parent / "docs" / "guide"
FILE = re.compile(r"^`([\w.]+)`:\n\n```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^    \$ narrowcast (.*)\n((?:    [^$\s].*\n)*)", re.MULTILINE)
"""A command line, and below it some of the lines that it prints, in their order."""
HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'

NETWORKS = {
    "volume.onnx": """volume (float[1, 2, 3, 4, 2] x) => (float[1, a, b, c, d] y) {
        t = Transpose <perm = [0, 4, 1, 2, 3]> (x)
        y = Relu (t)
    }""",
    "scaled.onnx": """scaled (float[1, 1, 8, 8] x) => (float[1, 2, 8, 8] y)
        <float[2, 1, 3, 3] "conv_1/kernel" = {1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1},
         float[1] factor = {0.25}, float[1] half = {0.5}> {
        c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, "conv_1/kernel")
        m = Mul (c, factor)
        r = Relu (m)
        halved = Mul (r, half)
        y = Tanh (halved)
    }""",
    "lines.onnx": "lines (float[1, n] x) => (float[1, n] y) { y = Tanh (x) }",
    "gated.onnx": """gated (float[1, 2, 8, 8] x) => (float[1, 2, 8, 8] y) {
        s = Sigmoid (x)
        y = Mul (x, s)
    }""",
}


@pytest.fixture
def folder(digits, tmp_path, monkeypatch):
    """A folder with the files that the examples name."""
    for name in ("model.keras", "calibration.npz", "test.npz"):
        shutil.copy(digits / name, tmp_path)
    for name, text in NETWORKS.items():
        write_text(tmp_path / name, HEAD + text)
    np.save(tmp_path / "kernel.npy", np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", ["diff", "edits", "inspect", "params", "quantized", "reduce"])
def test_examples_run(page, folder):
    text = (GUIDES / f"{page}.md").read_text()
    for name, content in FILE.findall(text):
        json.loads(content)
        (folder / name).write_text(content)
    lines = LINE.findall(text)
    assert lines
    for line, shown in lines:
        run(line, shown)


def run(line, shown):
    """Runs a command line, which prints some lines in their order."""
    ended = CliRunner().invoke(cli, shlex.split(line), prog_name="narrowcast")
    assert ended.exit_code == 0, f"{line}: {ended.output}"
    printed = iter([printed.rstrip() for printed in ended.stdout.splitlines()])
    for told in shown.splitlines():
        assert any(printed_line.startswith(told[4:]) for printed_line in printed), f"{line}: {told}"


STEP = re.compile(LINE.pattern + r"|^```python\n(?P<code>(?:.*\n)*?)```", re.MULTILINE)


@pytest.mark.parametrize("page", ["json", "quantized", "tflite", "tune"])
def test_examples_run_in_their_order(page, folder):
    for step in STEP.finditer((GUIDES / f"{page}.md").read_text()):
        if step["code"] is not None:
            exec(step["code"], {})
        else:
            run(step[1], step[2])


MISTAKES = [
    ("model.json", '"fused_activation_function": "RELU"', '"fused_activation_function": "RELU7"'),
    ("scaled.json", '"opType": "Mul"', '"optype": "Mul"'),
    ("scaled.json", '"dims": [', '"dims": [], "dims": ['),
]


def test_mistakes_in_json_are_told_as_the_guide_says(folder):
    told = re.findall(r"^    (error: .*)$", (GUIDES / "json.md").read_text(), re.MULTILINE)
    for expected, (name, sound, broken) in zip(told, MISTAKES, strict=True):
        source, words = ("scaled.onnx", ()) if name == "scaled.json" else ("model.keras", ("--to", "tflite-json"))
        for line in (["convert", source, "-o", name, *words], ["convert", name, "-o", "out.onnx"]):
            ended = CliRunner().invoke(cli, line, prog_name="narrowcast")
            if line[1] == source:
                (folder / name).write_text((folder / name).read_text().replace(sound, broken, 1))
        assert ended.stderr.strip() == expected


def test_every_action_and_field_is_explained():
    rows = [line for line in (GUIDES / "edits.md").read_text().splitlines() if line.startswith("| `")]
    told = {}
    for row in rows:
        names, fields = (set(re.findall(r"`(\w+)`", cell)) for cell in row.split("|")[1:3])
        for name in names:
            told.setdefault(name, set()).update(fields)
    for name, action in ACTIONS.items():
        assert set(action.fields) <= told[name], name
