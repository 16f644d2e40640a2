"""What libraries raise becomes an error of narrowcast's own; what its own code raises stays what it is."""

from __future__ import annotations

import json
import zipfile

import onnx
import pytest

from narrowcast.errors import ModelFileError, UsageError, did_you_mean, foreign_as
from narrowcast.model import ir


def run_as(module, code):
    exec(compile(code, module, "exec"), {"__name__": module, "json": json})


FOREIGN = {
    "a library's class": lambda: run_as("narrowcast.readers.onnx", "import zipfile; raise zipfile.BadZipFile('bad')"),
    "a library's code": lambda: json.loads("{"),
    "protocol buffers": lambda: onnx.ModelProto().ParseFromString(b"\xff"),
    "onnx": lambda: onnx.defs.get_schema("Nothing", 17, ""),
    "onnx_ir": lambda: ir.from_proto(onnx.parser.parse_graph("g (float[1] x) => (float[1] y) { y = Abs(x) }")).sort(1),
    "zip": lambda: zipfile.ZipFile(__file__),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_libraries_raise_is_translated(name):
    with (
        pytest.raises(ModelFileError, match="not a sound file: ") as caught,
        foreign_as(ModelFileError, "not a sound file"),
    ):
        FOREIGN[name]()
    assert "\n" not in caught.value.what
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("code", ["{}['a']", "1 / 0", "None.a", "assert False", "int('a')"])
def test_what_the_code_here_raises_is_a_bug_and_stays_one(code):
    kinds = (LookupError, ArithmeticError, AttributeError, AssertionError, ValueError)
    with pytest.raises(kinds), foreign_as(ModelFileError, "unsound"):
        run_as("narrowcast.readers.onnx", code)


def test_errors_of_narrowcast_pass():
    with pytest.raises(UsageError, match="mine"), foreign_as(ModelFileError, "not a sound file"):
        raise UsageError("mine")


def test_the_cause_is_told_in_one_line():
    error = onnx.checker.ValidationError("calls\nthat led there")
    error.__cause__ = ValueError("Expecting\nproperty name")
    with pytest.raises(ModelFileError) as caught, foreign_as(ModelFileError, "broken"):
        raise error
    assert caught.value.what.startswith("broken: Expecting property name")


@pytest.mark.parametrize(
    ("word", "guess"), [("flaot16", "did you mean float16?"), ("INT8", "did you mean int8?"), ("banana", "")]
)
def test_near_words_are_guessed(word, guess):
    assert did_you_mean(word, ("float16", "int8")) == guess
