"""How long to wait before another attempt."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from taxonet.seeds import generator

_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 60.0


def back_off_seconds(attempt: int, *, seed: int, digest: str) -> float:
    r"""Return the wait after a failed attempt: twice as long each time, and never the same.

    $$w_k = u \cdot \min(60, 2^{k - 1}), \quad u \sim U[1/2, 1)$$

    The draw is keyed by seed, question and attempt, so that workers that failed together do not
    come back together, and a run can be repeated.

    Args:
        attempt: The attempt that failed, k, from 1.
        seed: Key of the draw.
        digest: The question.

    Examples:
        >>> [round(back_off_seconds(k, seed=0, digest="ab")) for k in (1, 4, 40)]
        [1, 8, 32]
    """
    share = generator("chat back-off", seed, digest, attempt).uniform(0.5, 1.0)
    return float(share * min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** (attempt - 1)))


def retry_after_seconds(header: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for: a number, or a date to wait until.

    Args:
        header: Its value; None where there was none.
        now: The present time.

    Returns:
        Seconds, 0 at least; None where there is no telling.

    Examples:
        >>> retry_after_seconds("7"), retry_after_seconds("soon")
        (7.0, None)
        >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        >>> retry_after_seconds("Thu, 01 Jan 2026 12:00:30 GMT", now=noon)
        30.0
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
