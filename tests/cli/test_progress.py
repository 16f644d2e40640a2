import io
import sys

import pytest

from narrowcast.cli import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stderr(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    return stream


def test_work_that_lasts_gets_a_bar_on_a_terminal(stderr, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with progress.Bar(shown=True) as bar:
        bar("calibrating", 3, 128)
        bar("verifying [0]", 1, None)
    assert "calibrating" in stderr.getvalue()
    assert "3/128" in stderr.getvalue()


def test_short_work_gets_none(stderr, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    with progress.Bar(shown=True) as bar:
        bar("reading", 0, None)
    assert stderr.getvalue() == ""


def test_no_bar_when_it_is_not_wanted(stderr, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with progress.Bar(shown=False) as bar:
        bar("reading", 0, None)
    assert stderr.getvalue() == ""


def test_no_bar_without_a_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with progress.Bar(shown=True) as bar:
        bar("reading", 0, None)
    assert stream.getvalue() == ""


def test_an_error_stops_the_bar(stderr, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)

    def work():
        with progress.Bar(shown=True) as bar:
            bar("reading", 0, 5)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert stderr.getvalue().endswith(("\x1b[?25h", "\n", "\x1b[2K"))
