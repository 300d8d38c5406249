import threading
import time

import pytest

from taxonet.benchmark.chat.pace import Pace, StoppedError


class Timer:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def pace(self, per_minute: float | None = None) -> Pace:
        return Pace(per_minute, sleep=self.sleep, now=lambda: self.now)


def test_requests_are_spread_over_the_minute() -> None:
    timer = Timer()
    pace = timer.pace(30)
    turns = []
    for _ in range(4):
        pace.wait_for_turn()
        turns.append(timer.now)
    assert turns == [100.0, 102.0, 104.0, 106.0]
    timer.now += 60  # idle time is not saved up
    pace.wait_for_turn()
    pace.wait_for_turn()
    assert timer.waits == [2.0, 2.0, 2.0, 2.0]


def test_without_a_limit_nothing_waits() -> None:
    timer = Timer()
    pace = timer.pace()
    for _ in range(5):
        pace.wait_for_turn()
    assert timer.waits == []


def test_a_hold_is_for_everyone_and_never_shortens_another() -> None:
    timer = Timer()
    pace = timer.pace()
    pace.hold(10)
    pace.hold(3)
    pace.wait_for_turn()
    assert timer.waits == [10.0]


def test_a_hold_is_for_those_too_who_wait_for_their_turn_already() -> None:
    timer = Timer()

    def sleep(seconds: float) -> None:
        if not timer.waits:  # meanwhile another thread hears of it
            pace.hold(60)
            pace.hold(3)
        timer.sleep(seconds)

    pace = Pace(6, sleep=sleep, now=lambda: timer.now)
    pace.wait_for_turn()
    pace.wait_for_turn()
    assert timer.now == 160.0
    pace.wait_for_turn()
    assert timer.now == 170.0


def test_a_stop_ends_waits_under_way_and_later_ones() -> None:
    pace = Pace()
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            pace.pause(60)
        except StoppedError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    started = time.monotonic()
    thread.start()
    pace.stop()
    thread.join(10)
    assert len(ended) == 1
    assert time.monotonic() - started < 10
    with pytest.raises(StoppedError):
        pace.wait_for_turn()
