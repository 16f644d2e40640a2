"""What is told of a search: while it runs, at its end, and on its page."""

from __future__ import annotations

from dataclasses import replace

from narrowcast.report import tables, tuning, tuning_page
from narrowcast.tuning.records import Goal
from tests.report import samples


def test_a_line_for_each_trial():
    result = samples.tuning()
    lines = [tuning.line(tried) for tried in result.tried]
    assert lines[1].split() == ["kept", "observer", "mse", "12.2", "0.91", "~1.00", "MB", "0.0", "%", "1.50", "s"]
    assert lines[-1] == "failed   repair <b> the package torch is missing"


def test_the_report_says_what_was_kept_and_chosen():
    text = tables.plain(tuning.view(samples.tuning()))
    assert "refused" not in text
    assert "float32: stem/conv .. stem/mul ★  21.0    0.97  1.10 MB  6.2 %  6.00 ms" in text
    assert "agree of at least 0.95 and 20 dB in every output: reached" in text
    assert "5 trials in 61.0 s; it ended as the goal is reached; made by 86 samples, judged by 42 others" in text


def test_what_nobody_asked_for_is_not_missed():
    result = samples.tuning()
    text = tables.plain(tuning.view(replace(result, goal=Goal(), reached=False)))
    assert "as much as can be kept\n" in text


def test_the_page_shows_all_that_was_tried():
    page = tuning_page.page(samples.tuning())
    assert page.count("<svg") == 2
    assert "repair &lt;b&gt;" in page
    assert "<b>" not in page
    assert "the package torch is missing" in page
    assert page.count("refused") == 1
    assert "<script" not in page
