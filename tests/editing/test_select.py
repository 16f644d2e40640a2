"""Names that are meant: exactly, by operator, by expressions of which some take for ever; and the nearest ones."""

import pytest

from narrowcast.editing import select
from narrowcast.editing.select import Selector, nothing
from narrowcast.errors import UsageError
from tests.editing import network

NAMES = ["conv_1", "conv_2", "conv_10", "dense", "bn(1)", "größe", "a\nb", "a" * 60]


@pytest.mark.parametrize(
    ("regex", "wanted"),
    [
        ("conv_.", ["conv_1", "conv_2"]),
        ("conv_.*", ["conv_1", "conv_2", "conv_10"]),
        ("(conv_1|dense)", ["conv_1", "dense"]),
        (r"conv_\d+|bn\(\d+\)", ["conv_1", "conv_2", "conv_10", "bn(1)"]),
        ("gr(ö|o).*", ["größe"]),
        (r"a\s+(b)", ["a\nb"]),
        ("(?i)DENSE", ["dense"]),
    ],
)
def test_a_whole_name_fits(regex, wanted):
    assert Selector("", regex=regex).tensors(NAMES) == wanted


@pytest.mark.parametrize("regex", ["(a|aa)+b", "(a+)+b", "(a*)*b"])
def test_expressions_that_take_for_ever(regex, monkeypatch):
    monkeypatch.setattr(select, "PATIENCE", 0.5)
    with pytest.raises(UsageError, match="takes too long") as caught:
        Selector("edits[0].after", regex=regex).tensors(NAMES)
    assert caught.value.where == "edits[0].after"


def test_all_that_is_given_must_fit(tmp_path):
    model = network(tmp_path)
    assert [node.name for node in Selector("", type="Conv", regex="c.*").nodes(model)] == ["c/Conv"]
    with pytest.raises(UsageError):
        Selector("", name="c/Conv", type="Mul").nodes(model)


def test_the_nearest_come_first_and_the_rest_is_counted():
    error = nothing("tensor", "conv_3", [f"other_{number}" for number in range(50)] + NAMES, "here")
    assert error.hint.startswith("did you mean 'conv_")
    assert error.hint.endswith("and 50 more")


def test_long_names_are_compared_by_their_beginnings():
    error = nothing("tensor", "x" * 100_000, ["x" * 99_999, "y"], "here")
    assert len(str(error)) < 1000
    assert "did you mean" in error.hint
