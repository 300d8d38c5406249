import sys
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from taxonet.progress import Progress


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the clock jump."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def jump(seconds: float) -> None:
        nonlocal now
        now += seconds

    return jump


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_log_gets_a_line_now_and_then_with_the_time_left(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with Progress("training", 100) as progress:
        for _ in range(4):
            wait(8.0)
            progress.advance(note="loss 1.5")
    assert lines(capsys) == [
        "training: 2/100, 13:04 left loss 1.5",
        "training: 4/100, 12:48 left loss 1.5",
    ]


def test_the_last_step_is_always_told(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with Progress("reading", 3) as progress:
        progress.advance(2)
        wait(1.0)
        progress.advance()
    assert lines(capsys) == ["reading: 3/3, 0:00 left"]


def test_without_a_total_there_is_no_time_left(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with Progress("naming", None) as progress:
        wait(20.0)
        progress.advance(5)
    assert lines(capsys) == ["naming: 5"]


def test_steps_of_an_earlier_run_do_not_count_for_the_pace(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with Progress("training", 100, done=50) as progress:
        wait(20.0)
        progress.advance(10)
    # Ten steps took 20 seconds: the remaining forty take 80.
    assert lines(capsys) == ["training: 60/100, 1:20 left"]


def test_nothing_is_written_where_nothing_is_shown(
    capsys: pytest.CaptureFixture[str], wait: Callable[[float], None]
) -> None:
    with Progress("training", 1, shown=False) as progress:
        wait(60.0)
        progress.advance()
        assert progress.done == 1
    assert lines(capsys) == []


def test_a_terminal_gets_a_bar_in_which_texts_are_literal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminal(**_: object) -> Console:
        return Console(file=sys.stderr, force_terminal=True, width=120, color_system=None)

    monkeypatch.setattr("taxonet.progress.Console", terminal)
    with Progress("read [/b]", 2) as progress:
        progress.advance(note="[/red] photo")
        progress.advance(note="[/red] photo")
    shown = "\n".join(lines(capsys))
    assert "read [/b]" in shown
    assert "2/2" in shown
    assert "[/red] photo" in shown


def test_an_error_within_the_block_comes_through(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), Progress("training", 2):
        raise KeyError
    assert lines(capsys) == []
