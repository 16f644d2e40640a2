"""Which runtime there is for a format, and why there is none."""

from __future__ import annotations

import platform

import pytest

from narrowcast import runtimes
from narrowcast.errors import MissingExtraError, UnsupportedError
from narrowcast.runtimes import RUNTIMES, NoRuntime, Runtime
from narrowcast.writers.formats import FORMATS

ELSEWHERE = "Linux" if platform.system() == "Darwin" else "Darwin"


@pytest.mark.parametrize(
    ("row", "error", "reason"),
    [
        (Runtime("some", "nowhere", system=ELSEWHERE), UnsupportedError, "needs (macOS|Linux)"),
        (
            Runtime("some", "nowhere", "no_such_package", "some"),
            MissingExtraError,
            r"no_such_package.*narrowcast\[some\]",
        ),
        (NoRuntime("needs an NPU"), UnsupportedError, "cannot be run here: needs an NPU"),
        (None, UnsupportedError, "no runtime of this format is known"),
    ],
)
def test_what_cannot_be_run_here_says_why(row, error, reason, monkeypatch, tmp_path):
    if row is not None:
        monkeypatch.setitem(RUNTIMES, "some", row)
    assert isinstance(runtimes.find("some"), NoRuntime)
    with pytest.raises(error, match=reason):
        runtimes.open(tmp_path / "m", "some")


def test_every_row_is_complete():
    for name, row in RUNTIMES.items():
        assert isinstance(row, NoRuntime) or row.name == name
        assert isinstance(runtimes.find(name), type(row))
    assert {row.runtime for row in FORMATS} <= set(RUNTIMES)
