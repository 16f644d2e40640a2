import io
import sys

import pytest

from narrowcast.cli import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def replaced(monkeypatch, stream, patience):
    """Puts a stream in the place of stderr; inside the test, as pytest puts its own there before."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE", patience)
    return stream


def test_work_that_lasts_gets_a_bar_on_a_terminal(monkeypatch):
    stderr = replaced(monkeypatch, Terminal(), 0.0)
    with progress.Bar(shown=True) as bar:
        bar("calibrating", 0, 128)
        bar("calibrating", 3, 128)
    assert "calibrating" in stderr.getvalue()
    assert "3/128" in stderr.getvalue()


def test_each_stage_has_its_own_total(monkeypatch):
    stderr = replaced(monkeypatch, Terminal(), 0.0)
    with progress.Bar(shown=True) as bar:
        bar("calibrating", 3, 128)
        bar("writing [red]", 1, None)
    shown = stderr.getvalue()
    assert "writing [red]" in shown
    assert "1/128" not in shown


def test_short_work_gets_none(monkeypatch):
    stderr = replaced(monkeypatch, Terminal(), 60.0)
    with progress.Bar(shown=True) as bar:
        bar("reading", 0, None)
    assert stderr.getvalue() == ""


def test_no_bar_when_it_is_not_wanted(monkeypatch):
    stderr = replaced(monkeypatch, Terminal(), 0.0)
    with progress.Bar(shown=False) as bar:
        bar("reading", 0, None)
    assert stderr.getvalue() == ""


def test_no_bar_without_a_terminal(monkeypatch):
    stream = replaced(monkeypatch, io.StringIO(), 0.0)
    with progress.Bar(shown=True) as bar:
        bar("reading", 0, None)
    assert stream.getvalue() == ""


def test_an_error_stops_the_bar(monkeypatch):
    stderr = replaced(monkeypatch, Terminal(), 0.0)

    def work():
        with progress.Bar(shown=True) as bar:
            bar("reading", 0, 5)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert stderr.getvalue().endswith(("\x1b[?25h", "\n", "\x1b[2K"))
