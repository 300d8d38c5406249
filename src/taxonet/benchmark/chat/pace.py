"""How fast questions may follow each other, and how everything that waits is stopped."""

import time
from collections.abc import Callable
from threading import Event, Lock


class StoppedError(Exception):
    """The run is to end: what waited does not go on."""


class Pace:
    """Lets requests through one by one, never more in a minute than allowed.

    It is shared by all threads. Whatever waits, waits here, so that `stop` ends every wait.

    Args:
        per_minute: Most requests a minute; None for no limit.
        sleep: Waits some seconds; by default until `stop` at the latest.
        now: The time in seconds.

    Examples:
        >>> waits = []
        >>> pace = Pace(60, sleep=waits.append, now=lambda: 0.0)
        >>> for _ in range(3):
        ...     pace.wait_for_turn()
        >>> waits
        [1.0, 2.0]
    """

    def __init__(
        self,
        per_minute: float | None = None,
        *,
        sleep: Callable[[float], object] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gap_seconds = 0.0 if per_minute is None else 60.0 / per_minute
        self._stopped = Event()
        self._sleep = self._stopped.wait if sleep is None else sleep
        self._now = now
        self._lock = Lock()
        self._next_turn = self._held_until = now()

    def wait_for_turn(self) -> None:
        """Wait until the next request may be sent.

        Raises:
            StoppedError: The run is to end.
        """
        while True:
            with self._lock:
                now = self._now()
                turn = max(now, self._next_turn)
                self._next_turn = turn + self._gap_seconds
            self.pause(turn - now)
            if turn >= self._held_until:
                return
            # The endpoint asked for a rest while this turn was waited for: take one after it.

    def pause(self, seconds: float) -> None:
        """Wait some seconds, as before another attempt.

        Raises:
            StoppedError: The run is to end.
        """
        if seconds > 0 and not self._stopped.is_set():
            self._sleep(seconds)
        if self._stopped.is_set():
            raise StoppedError

    def hold(self, seconds: float) -> None:
        """Let no request of any thread through for some seconds, as the endpoint has asked."""
        with self._lock:
            self._held_until = max(self._held_until, self._now() + seconds)
            self._next_turn = max(self._next_turn, self._held_until)

    def stop(self) -> None:
        """End every wait, now and later."""
        self._stopped.set()
