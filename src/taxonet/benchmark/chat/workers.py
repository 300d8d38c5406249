"""Several questions at a time, by threads: they do little but wait for the endpoint."""

from collections.abc import Callable, Generator
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")


def in_threads(
    work: Callable[[int], Result], count: int, *, workers: int, stop: Callable[[], None]
) -> Generator[tuple[int, Result], None, None]:
    """Yield ``(number, work(number))`` for 0 .. count - 1 as they are done, in any order.

    Where one fails, or the caller stops early (Ctrl-C too), no further one is begun, those under
    way come to their end, since they may be paid for, and then the first error is raised. A second
    Ctrl-C does not wait for them.

    Args:
        work: May be called by several threads at once.
        count: How many there are.
        workers: Threads.
        stop: Called when it is time to end; has to wake whatever in ``work`` only waits.

    Examples:
        >>> sorted(in_threads(lambda number: number**2, 4, workers=2, stop=lambda: None))
        [(0, 0), (1, 1), (2, 4), (3, 9)]
    """
    pool = _Pool(work, count)
    threads = [Thread(target=pool.run, daemon=True) for _ in range(min(workers, count))]
    for thread in threads:
        thread.start()
    try:
        for _ in range(count):
            done = pool.done.get()
            if isinstance(done, BaseException):
                raise done
            yield done
    finally:
        pool.ended.set()
        stop()
        for thread in threads:
            thread.join()


class _Pool(Generic[Result]):
    """What the threads of a call share."""

    def __init__(self, work: Callable[[int], Result], count: int) -> None:
        self._work, self._numbers, self._lock = work, iter(range(count)), Lock()
        self.done: SimpleQueue[tuple[int, Result] | BaseException] = SimpleQueue()
        self.ended = Event()

    def run(self) -> None:
        """Do one after another until there is none, or until the end."""
        while not self.ended.is_set():
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            try:
                self.done.put((number, self._work(number)))
            except BaseException as error:  # whatever it is, the caller must hear of it
                self.done.put(error)
                return
