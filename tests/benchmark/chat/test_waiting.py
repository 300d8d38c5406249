from datetime import UTC, datetime

import pytest

from taxonet.benchmark.chat.waiting import back_off_seconds, retry_after_seconds

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def test_waits_double_up_to_a_minute_and_differ() -> None:
    for attempt in range(1, 12):
        longest = min(60.0, 2.0 ** (attempt - 1))
        waits = {back_off_seconds(attempt, seed=0, digest=str(question)) for question in range(50)}
        assert longest / 2 <= min(waits)
        assert max(waits) < longest
        assert max(waits) - min(waits) > longest / 4
        assert len(waits) == 50


def test_waits_are_keyed_by_seed_question_and_attempt() -> None:
    assert back_off_seconds(3, seed=1, digest="a") == back_off_seconds(3, seed=1, digest="a")
    assert back_off_seconds(3, seed=1, digest="a") != back_off_seconds(3, seed=2, digest="a")
    shares = {back_off_seconds(k, seed=1, digest="a") / 2.0 ** (k - 1) for k in range(1, 6)}
    assert len(shares) == 5


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("-5", None),
        ("1.5", None),
        ("inf", None),
        ("²", None),
        ("Sat, 21 Nov 2026 12:01:30 GMT", 90.0),
        ("Sat, 21 Nov 2026 14:01:30 +0200", 90.0),
        ("Sat, 21 Nov 2026 12:01:30 -0000", 90.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 99 Nov 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, now=NOW) == seconds
