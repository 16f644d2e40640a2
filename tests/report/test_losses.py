"""What is told of a quantised network's losses in a terminal."""

from dataclasses import replace

from narrowcast.report import losses
from narrowcast.report.tables import plain
from tests.report import samples


def test_the_worst_stands_first_with_its_cause_and_what_to_do():
    text = plain(losses.view(samples.diagnosis()))
    rows = [line for line in text.splitlines() if " %  " in line]
    assert [line.split()[0] for line in rows] == ["stem/silu", "neck", "head"]
    assert "87.3 %" in rows[0]
    assert "the negative lobe of its activation rounds away" in text
    assert "try --keep-float 'stem/conv'" in text
    assert "1 block" in text


def test_measured_sensitivity_has_its_columns():
    found = samples.diagnosis()
    assert "all but it" in plain(losses.view(found))
    without = replace(found, blocks=tuple(replace(block, only_db=None) for block in found.blocks))
    assert "all but it" not in plain(losses.view(without))


def test_two_networks_that_are_the_same():
    text = plain(losses.view(replace(samples.diagnosis(), worst=())))
    assert "no block loses anything" in text
