import threading
import time

import pytest

from taxonet.benchmark.chat.workers import in_threads


def test_all_is_done_once_whatever_the_number_of_threads() -> None:
    for workers in (1, 3, 50):
        done: list[int] = []

        def work(number: int, done: list[int] = done) -> int:
            done.append(number)
            return number * 2

        found = dict(in_threads(work, 20, workers=workers, stop=lambda: None))
        assert found == {number: 2 * number for number in range(20)}
        assert sorted(done) == list(range(20))
    assert list(in_threads(work, 0, workers=2, stop=lambda: None)) == []


def test_one_thread_keeps_the_order() -> None:
    found = list(in_threads(str, 5, workers=1, stop=lambda: None))
    assert found == [(number, str(number)) for number in range(5)]


def test_threads_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=10)
    found = list(in_threads(lambda _: together.wait() >= 0, 6, workers=3, stop=lambda: None))
    assert len(found) == 6


def test_after_an_error_nothing_begins_and_what_runs_ends() -> None:
    began: list[int] = []
    ended: list[int] = []
    second_runs, stopped = threading.Event(), threading.Event()

    def work(number: int) -> None:
        began.append(number)
        if number == 0:
            second_runs.wait(10)
            raise ValueError("first")
        second_runs.set()
        stopped.wait(10)
        ended.append(number)

    with pytest.raises(ValueError, match="first"):
        list(in_threads(work, 100, workers=2, stop=stopped.set))
    assert (sorted(began), ended) == ([0, 1], [1])


def test_a_caller_that_leaves_waits_for_what_runs() -> None:
    ended: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.05)
        ended.append(number)
        return number

    running = in_threads(work, 100, workers=2, stop=lambda: None)
    next(running)
    running.close()
    count = len(ended)
    assert count < 10
    time.sleep(0.15)
    assert len(ended) == count
