"""Commands of the user: how they end, and that nothing of them stays."""

import time

import pytest

from narrowcast import _commands
from narrowcast._commands import run_command, stop_commands


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("true", 0),
        ("false", 1),
        ("exit 77", 77),
        ("kill -SEGV $$", -11),
        ("sh -c 'kill -TERM $$'", -15),
        ("no-such", 127),
    ],
)
def test_how_a_command_ends(line, code):
    assert run_command(line, 30) == code


def test_input_is_empty_and_output_goes_nowhere(capfd):
    assert run_command("cat; echo out; echo err >&2", 30) == 0
    assert capfd.readouterr() == ("", "")


def test_what_takes_too_long_is_stopped_with_its_children(tmp_path):
    mark = tmp_path / "late"
    assert run_command(f"(sleep 1; touch '{mark}') & sleep 60", 0.2) is None
    time.sleep(1.3)
    assert not mark.exists()


def test_what_runs_can_be_stopped_from_elsewhere():
    import threading

    threading.Timer(0.3, stop_commands).start()
    assert run_command("sleep 60", 30) == -9
    assert set() == _commands._RUNNING
