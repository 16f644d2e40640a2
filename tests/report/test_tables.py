# ruff: noqa: RUF001 - typographic signs are meant
import io
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowcast.evaluation.results import OutputParity
from narrowcast.report import differing, tables, views
from narrowcast.report.blocks import Cell, Column, Note, Table

from . import samples

ESCAPE = re.compile("\x1b\\[[0-9;]*m")

VIEWS = {
    "judged": lambda: views.comparison(samples.judged("share", classifier=True)),
    "comparison": lambda: views.comparison(samples.comparison()),
    "benchmark": lambda: views.benchmark(samples.benchmark()),
    "written": lambda: views.written(samples.written()),
    "inspection": lambda: views.inspection(samples.inspection()),
    "differences": lambda: differing.view(samples.differences()),
    "prediction": lambda: views.prediction(samples.prediction()),
}


class Stream(io.StringIO):
    """A text stream that may claim to be a terminal."""

    def __init__(self, *, terminal=False, encoding="utf-8"):
        super().__init__()
        self._terminal, self._encoding = terminal, encoding

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return self._terminal


def test_comparison_names_every_file_and_the_recommendation():
    shown = tables.plain(VIEWS["comparison"]())
    lines = shown.splitlines()
    heads = ("source", "float32", "float16", "dynamic_range", "int8", "full_int8 ★", "int16x8 failed")
    rows = [next(i for i, line in enumerate(lines) if line.startswith(f"{head} ")) for head in heads]
    assert rows == sorted(rows)
    assert "★ recommended: mobilenet_v2_full_int8.tflite: the fastest on 2 threads" in shown
    assert "int16x8 failed: conv_1: LiteRT has no 16x8 kernel" in shown
    for title in ("size", "top-1", "top-5", "change", "agree", "1 thread", "2 threads", "memory", "ops", "undeleg."):
        assert title in lines[1]


def test_figures_stand_under_their_heads():
    lines = tables.plain(VIEWS["comparison"]()).splitlines()
    row = next(line for line in lines if line.startswith("int8 "))
    for title, figure in [
        ("size", "4.00 MB"),
        ("change", "−0.6 ±1.4 pp"),
        ("2 threads", "6.02 ±0.15 ms"),
        ("ops", "67"),
    ]:
        end = lines[1].index(title) + len(title)
        assert row[:end].endswith(figure)


@pytest.mark.parametrize(
    ("unit", "value", "change"),
    [("share", "97.0 %", "−3.0 pp ±1.0 %"), ("dB", "42.0 dB", "±1.5 dB"), ("", "-0.6", "−0.6 ±0.2")],
)
def test_a_metric_stands_first_with_its_change(unit, value, change):
    table = views.comparison(samples.judged(unit))[0]
    titles = [column.title for column in table.columns]
    assert titles[3:5] == ["near", "change"]
    assert "top-1" not in titles
    assert [cell.text for cell in table.rows[3][3:5]] == [value, change]
    assert "top-1" in [column.title for column in views.comparison(samples.judged(unit, classifier=True))[0].columns]


def test_best_of_each_column_is_marked_among_files_that_stand():
    table = VIEWS["comparison"]()[0]
    marked = {
        column.title: [row[0].text for row in table.rows if row[index].tone == "best"]
        for index, column in enumerate(table.columns)
    }
    assert marked["size"] == ["dynamic_range"]
    assert marked["agree"] == ["float32"]
    assert marked["2 threads"] == ["full_int8 ★"]
    assert marked["change"] == []


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140, 300])
@pytest.mark.parametrize("name", ["comparison", "benchmark"])
def test_tables_fit_the_terminal_and_lose_nothing(name, width):
    whole = VIEWS[name]()[0]
    pieces = tables.split(whole, width)
    assert [column for piece in pieces for column in piece.columns[1:]] == list(whole.columns[1:])
    for piece in pieces:
        assert len(piece.columns) == 2 or sum(tables._widths(piece)) + 2 * (len(piece.columns) - 1) <= width


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=12),
    st.integers(1, 120),
)
def test_split_uses_as_few_pieces_as_filling_each_line(widths, width):
    table = Table("t", tuple(Column("x" * count) for count in widths), ())
    pieces = tables.split(table, width)
    assert [column for piece in pieces for column in piece.columns[1:]] == list(table.columns[1:])
    assert len(pieces) == len(tables._break(widths, width))


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_gets_colours_and_the_plain_words(name, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Stream(terminal=True)
    tables.show(VIEWS[name](), stream)
    coloured = stream.getvalue()
    assert ESCAPE.search(coloured)
    words = set(ESCAPE.sub("", coloured).split())
    wanted = {cell.text for line in tables.lines(VIEWS[name](), columns) for cell in line}
    assert {word for text in wanted for word in text.split()} <= words


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Stream(terminal=True)
    tables.show([Note("text", "label", "bad")], stream)
    assert "\x1b[31m" not in stream.getvalue()
    assert "label: text" in ESCAPE.sub("", stream.getvalue())


@pytest.mark.parametrize("name", VIEWS)
def test_a_pipe_gets_no_escape_sequences(name):
    stream = Stream()
    tables.show(VIEWS[name](), stream)
    assert "\x1b" not in stream.getvalue()
    assert not any(line != line.rstrip() for line in stream.getvalue().splitlines())


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("terminal", [False, True])
def test_an_ascii_stream_gets_ascii(name, terminal):
    stream = Stream(terminal=terminal, encoding="latin-1")
    tables.show(VIEWS[name](), stream)
    assert stream.getvalue().isascii()


def test_plain_output_needs_no_rich():
    code = (
        "import io, sys; from narrowcast.report import tables; from narrowcast.report.blocks import Note\n"
        "tables.show([Note('x')], io.StringIO()); assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_long_names_keep_both_ends():
    table = Table("", (Column("", "left"), Column("n")), ((Cell("start" + "x" * 200 + "end"), Cell("1")),))
    (line, *_) = [line for line in tables.lines([table], 60) if line and "start" in "".join(c.text for c in line)]
    shown = "".join(cell.text for cell in line)
    assert len(shown) <= 60
    assert "start" in shown
    assert "end " in shown


def test_wide_characters_are_counted_as_two_cells():
    table = Table("", (Column("", "left"), Column("n")), ((Cell("模型"), Cell("1")), (Cell("abcd"), Cell("1"))))
    first, second = tables.plain([table]).splitlines()[-2:]
    assert first == "模型  1"
    assert second == "abcd  1"


@pytest.mark.parametrize(("fraction", "shown"), [(0.0, ""), (1.0, "████"), (0.5, "██"), (0.125, "▌"), (7.0, "████")])
def test_bar(fraction, shown):
    assert views.bar(fraction, width=4) == shown


def test_written_tells_how_it_was_verified():
    shown = tables.plain(views.written(samples.written()))
    assert "21.8 dB, largest error 0.081, same first class 98.0 %" in shown
    assert "LiteRT 2.3.0 beside onnxruntime 1.31.1, original file, 16 samples" in shown


def test_a_failed_verification_says_what_is_asked_for():
    failed = samples.written("float32", sqnr_db=31.0)
    assert "FAILED: 31.0 dB, largest error 0.028, same first class 98.0 %; 60 dB" in tables.plain(views.written(failed))


def test_a_translation_whose_roundings_add_up_is_told_as_such():
    proof = samples.parity(21.8)
    leg = replace(proof.translation, outputs=(OutputParity("boxes", 1.0, -1.8, 1.0, -1.8, resolved=True),))
    shown = tables.plain(views.written(samples.written(parity=replace(proof, translation=leg))))
    assert "right but for roundings, which leave -1.8 dB at the end beside its own graph" in shown


def test_a_doubtful_verification_warns():
    assert "doubtful, usually above 15 dB" in tables.plain(views.written(samples.written(sqnr_db=9.0)))


def test_an_unverified_file_says_why():
    file = samples.written(parity=None, unverified_because="no runtime for this format")
    assert "no: no runtime for this format" in tables.plain(views.written(file))


def test_names_from_files_cannot_drive_the_terminal():
    file = samples.written(notes=("input '\x1b[2J\u202ereversed' is NHWC",))
    stream = Stream()
    tables.show(views.written(file), stream)
    assert "\x1b" not in stream.getvalue()
    assert "\\x1b[2J\\u202ereversed" in stream.getvalue()


def test_logits_are_shown_without_bars():
    result = samples.prediction()
    logits = replace(result, guesses=tuple(replace(guess, score=guess.score * 20) for guess in result.guesses))
    shown = tables.plain(views.prediction(logits))
    assert "14.26" in shown
    assert "█" not in shown
