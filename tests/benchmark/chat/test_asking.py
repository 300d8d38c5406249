"""Questions against a server on this machine; waiting is written down, not done."""

import json
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from taxonet.benchmark.chat.asking import Asker, NoReplyError
from taxonet.benchmark.chat.endpoints import Endpoint
from taxonet.benchmark.chat.pace import Pace
from taxonet.benchmark.chat.questions import Question, Reply
from taxonet.benchmark.chat.waiting import back_off_seconds
from taxonet.errors import ConfigError, DataError
from tests.chat_server import Act, ChatServer, completion, fails, says, serving

KEY = "sk-a-very-secret-key"
QUESTION = Question("openai", "NAME", "You are a botanist.", "Name it.", b"jpeg")
GOOD = '{"genus": "Acer", "species": "Acer rubrum"}'


class Timer:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Asked(NamedTuple):
    reply: Reply
    server: ChatServer
    waits: list[float]


def ask(*script: Act, key: str | None = None, timeout_seconds: float = 5.0) -> Asked:
    """Ask one question of a server with a script, which afterwards always answers well."""
    server, timer = ChatServer([*script], says("Acer", "Acer rubrum")), Timer()
    pace = Pace(sleep=timer.sleep, now=lambda: timer.now)
    with serving(server) as address:
        endpoint = Endpoint(address, "openai", None if key is None else SecretStr(key))
        with Asker(endpoint, pace, timeout_seconds=timeout_seconds) as asker:
            return Asked(asker.ask(QUESTION), server, timer.waits)


def back_off(attempt: int) -> float:
    return back_off_seconds(attempt, seed=0, digest=QUESTION.digest)


def test_a_good_reply_comes_at_once() -> None:
    asked = ask()
    assert asked.reply == Reply(GOOD, input_tokens=1000, output_tokens=10)
    assert (asked.server.requests, asked.waits) == (1, [])


PASSING = {
    "a full server": fails(503),
    "an error of the server": fails(500),
    "too many requests": fails(429),
    "a conflict": fails(409),
    "a slow request": fails(408),
    "a cut stream": Act(b'{"choices": [', missing=500),
    "an empty body": Act(b""),
    "no JSON": Act(b"<html>Bad gateway</html>"),
    "another form": Act(b'{"choices": [{}]}'),
    "an error within a 200": Act(b'{"error": {"message": "overloaded"}}'),
    "an error of the choice": completion("", finish="error", error={"message": "gone"}),
    "a list": Act(b"[1, 2]"),
    "no choice": Act(b'{"choices": []}'),
    "deep nesting": Act(b"[" * 100_000),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_may_pass_is_asked_again_after_growing_waits(fault: Act) -> None:
    asked = ask(fault, fault)
    assert asked.reply.text == GOOD
    assert asked.server.requests == 3
    assert asked.waits == [back_off(1), back_off(2)]


def test_five_attempts_are_all() -> None:
    server, timer = ChatServer(otherwise=fails(500, "boom")), Timer()
    pace = Pace(sleep=timer.sleep, now=lambda: timer.now)
    with (
        serving(server) as address,
        Asker(Endpoint(address, "openai"), pace, timeout_seconds=5) as asker,
        pytest.raises(
            NoReplyError,
            match=r"the endpoint answered 500 Internal Server Error: boom, 5 times in a row",
        ),
    ):
        asker.ask(QUESTION)
    assert server.requests == 5
    assert timer.waits == [back_off(attempt) for attempt in (1, 2, 3, 4)]


def test_nobody_is_asked_sooner_than_the_endpoint_says() -> None:
    asked = ask(fails(429, headers={"Retry-After": "7"}))
    assert sum(asked.waits) == pytest.approx(7)
    assert asked.waits[0] == back_off(1)


def test_a_shorter_rest_than_ours_changes_nothing() -> None:
    assert ask(fails(429, headers={"Retry-After": "0"})).waits == [back_off(1)]


def test_a_long_rest_ends_the_run() -> None:
    with pytest.raises(DataError, match=r"asks to wait 3,600 seconds.*kept"):
        ask(fails(429, headers={"Retry-After": "3600"}))


def test_silence_ends_an_attempt() -> None:
    asked = ask(Act(pause_seconds=0.5), timeout_seconds=0.15)
    assert asked.reply.text == GOOD
    assert asked.server.requests == 2


def test_a_reply_that_drips_is_silence_in_the_end() -> None:
    # Each byte comes in time, and the whole would be a good reply.
    asked = ask(Act(says("Rosa", None).body, drip_seconds=0.02), timeout_seconds=0.3)
    assert asked.reply.text == GOOD
    assert asked.server.requests == 2


def test_a_whole_reply_is_kept_though_its_end_was_late() -> None:
    # Neither silence is too long, but both together are.
    late = Act(says("Rosa", None).body, pause_seconds=0.7, pause_within_seconds=0.7)
    asked = ask(late, timeout_seconds=1.2)
    assert '"Rosa"' in asked.reply.text
    assert asked.server.requests == 1


def test_repeated_requests_are_counted_as_requests() -> None:
    server, timer = ChatServer([fails(503)], says("Acer", None)), Timer()
    pace = Pace(6, sleep=timer.sleep, now=lambda: timer.now)
    with (
        serving(server) as address,
        Asker(Endpoint(address, "openai"), pace, timeout_seconds=5) as asker,
    ):
        asker.ask(QUESTION)
        asker.ask(QUESTION)
    assert server.requests == 3
    assert timer.now == pytest.approx(20)  # ten seconds between requests


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_endpoint_refuses_is_not_asked_again(status: int) -> None:
    with pytest.raises(NoReplyError, match=f"the endpoint answered {status} .*: too large"):
        ask(fails(status, "too large"))


@pytest.mark.parametrize(
    ("status", "step"),
    [(401, "environment variable"), (402, "key"), (403, "what it may do"), (404, "--model")],
)
def test_what_every_question_would_meet_ends_the_run(status: int, step: str) -> None:
    with pytest.raises(ConfigError, match=f"The endpoint answered {status} .*: no such.*{step}"):
        ask(fails(status, "no such thing"))


def test_a_403_is_of_one_photo_once_there_was_an_answer() -> None:
    no = fails(403, "flagged")
    server = ChatServer([says("Acer", None), *[no] * 5])
    with (
        serving(server) as address,
        Asker(Endpoint(address, "openai"), Pace(), timeout_seconds=5) as asker,
    ):
        asker.ask(QUESTION)
        for _ in range(4):
            with pytest.raises(NoReplyError, match="answered 403 Forbidden: flagged"):
                asker.ask(QUESTION)
        with pytest.raises(DataError, match=r"5 photos in a row got no reply.*flagged"):
            asker.ask(QUESTION)
    assert server.requests == 6


def test_an_earlier_answer_tells_as_much_and_forgets_no_failure() -> None:
    server = ChatServer(otherwise=fails(403, "flagged"))
    with (
        serving(server) as address,
        Asker(Endpoint(address, "openai"), Pace(), timeout_seconds=5) as asker,
    ):
        for _ in range(4):
            asker.note_earlier_answer()
            with pytest.raises(NoReplyError, match="flagged"):
                asker.ask(QUESTION)
        asker.note_earlier_answer()
        with pytest.raises(DataError, match="5 photos in a row"):
            asker.ask(QUESTION)


def test_a_redirection_is_not_followed() -> None:
    other = ChatServer()
    with serving(other) as elsewhere:
        act = Act(status=307, headers={"Location": f"{elsewhere}/chat/completions"})
        with pytest.raises(ConfigError, match=r"307 Temporary Redirect.*not followed"):
            ask(act, key=KEY)
    assert other.requests == 0


def test_failures_in_a_row_end_the_run_and_a_reply_forgets_them() -> None:
    no = fails(400, "bad photo")
    server = ChatServer([*[no] * 4, says("Acer", None), *[no] * 5])
    with (
        serving(server) as address,
        Asker(Endpoint(address, "openai"), Pace(), timeout_seconds=5) as asker,
    ):
        for place in range(9):
            if place == 4:
                asker.ask(QUESTION)
            else:
                with pytest.raises(NoReplyError):
                    asker.ask(QUESTION)
        with pytest.raises(DataError, match=r"5 photos in a row got no reply.*bad photo.*--retry"):
            asker.ask(QUESTION)


def test_a_server_that_is_not_there_is_said_to_be_so() -> None:
    with serving(ChatServer()) as address:
        pass
    with (
        Asker(Endpoint(address, "openai"), Pace(sleep=lambda _: None), timeout_seconds=5) as asker,
        pytest.raises(NoReplyError, match=r"the connection failed \(.*refused.*5 times"),
    ):
        asker.ask(QUESTION)


def test_the_key_goes_into_its_header_and_nowhere_else() -> None:
    (path, headers, body), *_ = ask(key=KEY).server.asked
    assert headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in path + json.dumps(body)
    assert "authorization" not in ask().server.asked[0][1]


def test_a_server_that_repeats_the_key_does_not_spread_it() -> None:
    with pytest.raises(ConfigError) as refused:
        ask(fails(401, f"wrong key {KEY}"), key=KEY)
    assert "wrong key [key]" in str(refused.value)
    # A key that lies where the message is cut off leaves no half of itself.
    with pytest.raises(ConfigError) as refused:
        ask(fails(401, "x" * 190 + KEY), key=KEY)
    assert KEY[:6] not in str(refused.value)
    assert ask(completion(f"{KEY} is a maple"), key=KEY).reply.text == "[key] is a maple"
    with pytest.raises(NoReplyError, match=r"reply: \[key\] may not, 5 times"):
        ask(*[completion("", error={"message": f"{KEY} may not"})] * 5, key=KEY)
    refused_reply = ask(completion(None, refusal=f"not for {KEY}"), key=KEY).reply
    assert refused_reply.refusal == "not for [key]"
    refused_reply = ask(completion(None, refusal="x" * 190 + KEY), key=KEY).reply
    assert KEY[:6] not in str(refused_reply.refusal)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(key=KEY).reply.text == GOOD


def test_a_reply_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taxonet.benchmark.chat.asking._LARGEST_REPLY_BYTES", 1000)
    asked = ask(Act(b"x" * 5000))
    assert asked.server.requests == 2
