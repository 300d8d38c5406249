"""One question to an endpoint: sent, repeated where that may help, given up where it does not."""

import json
import time
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from types import TracebackType
from typing import Self

import httpx2

from taxonet.benchmark.chat.endpoints import Endpoint
from taxonet.benchmark.chat.failures import words_of_failure
from taxonet.benchmark.chat.pace import Pace
from taxonet.benchmark.chat.questions import Question, Reply, UnusableReplyError, shortened
from taxonet.benchmark.chat.waiting import back_off_seconds, retry_after_seconds
from taxonet.errors import ConfigError, DataError
from taxonet.version import __version__

ATTEMPTS = 5
FAILURES_IN_A_ROW = 5
_LONGEST_HOLD_SECONDS = 300.0
_LARGEST_REPLY_BYTES = 8 << 20
# What every other question would meet as well: no key, no money, no such model.
_HOPELESS = {401, 402, 404}
_MAY_PASS = {408, 409, 425, 429}


class NoReplyError(Exception):
    """A question that got no reply; the message says why, for the photo's row."""


class ForbiddenError(ConfigError):
    """A 403 where nothing was answered before: of the key, or of a filter and this one photo."""


@dataclass(frozen=True)
class _Answer:
    """What a server sent, read to the end."""

    status: int
    body: bytes
    retry_after: str | None


class Asker:
    """Sends questions to one endpoint; may be used by several threads at once.

    A question is asked up to five times, with growing waits, where the cause may pass: statuses
    408, 409, 425, 429 and 5xx, a broken connection, silence, and replies of another form than the
    protocol's. No redirection is followed, since the key would go along. A 403 ends the run as one
    of the key, unless the endpoint has answered before: then it is of one photo.

    Args:
        endpoint: Where questions go.
        pace: What all waits go through.
        timeout_seconds: Longest silence while a question is sent or a reply is waited for. Once it
            has passed since sending, no more is taken of a body that goes on; headers that come
            bit by bit are not bounded as a whole.
        seed: Key of the waits.

    Use it within a ``with`` block.
    """

    def __init__(
        self, endpoint: Endpoint, pace: Pace, *, timeout_seconds: float, seed: int = 0
    ) -> None:
        self._endpoint, self._pace = endpoint, pace
        self._timeout_seconds, self._seed = timeout_seconds, seed
        self._client = httpx2.Client(
            timeout=timeout_seconds,
            follow_redirects=False,
            # A proxy of the environment is no way to this machine, and would see the key.
            trust_env=not endpoint.is_local,
            headers={"User-Agent": f"taxonet/{__version__}", "Content-Type": "application/json"},
        )
        self._lock = Lock()
        self._failed_in_a_row = 0
        self._has_answered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def ask(self, question: Question) -> Reply:
        """Return the reply to a question.

        Raises:
            NoReplyError: There is none, and other questions may fare better.
            ForbiddenError: The endpoint refuses the key, or this photo before any other.
            ConfigError: The endpoint refuses the key, the model or the address.
            DataError: Several questions in a row got no reply, or the endpoint wants a long rest.
            StoppedError: The run is to end.
        """
        attempt = 1
        while True:
            self._pace.wait_for_turn()
            try:
                return self._ask_once(question)
            except UnusableReplyError as error:
                if attempt == ATTEMPTS:
                    raise self._given_up(f"{error}, {ATTEMPTS} times in a row") from None
            self._pace.pause(back_off_seconds(attempt, seed=self._seed, digest=question.digest))
            attempt += 1

    def note_earlier_answer(self) -> None:
        """Take note that the endpoint answered well in an earlier call: the key was good."""
        with self._lock:
            self._has_answered = True

    def _ask_once(self, question: Question) -> Reply:
        answer = self._send(question)
        if answer.status == HTTPStatus.OK:
            reply = self._read(answer.body)
            with self._lock:
                self._failed_in_a_row = 0
                self._has_answered = True
            return reply
        said = f"the endpoint answered {_status_text(answer.status)}{self._its_words(answer.body)}"
        if answer.status == HTTPStatus.FORBIDDEN:
            raise self._forbidden(said)
        if answer.status in _HOPELESS or 300 <= answer.status < 400:
            raise ConfigError(_why_hopeless(answer.status, said))
        if answer.status not in _MAY_PASS and answer.status < 500:
            raise self._given_up(said)
        self._rest(retry_after_seconds(answer.retry_after))
        raise UnusableReplyError(said)

    def _send(self, question: Question) -> _Answer:
        """Send a question and read what comes.

        Raises:
            UnusableReplyError: Nothing, not all, or too much came.
        """
        body = json.dumps(self._endpoint.wire.request(question)).encode()
        address = self._endpoint.address(question.model)
        latest = time.monotonic() + self._timeout_seconds
        pieces, size, late = [], 0, False
        try:
            with self._client.stream(
                "POST", address, content=body, headers=self._endpoint.headers()
            ) as response:
                for piece in response.iter_bytes():
                    if late:  # a body that was whole, however late, would have ended
                        raise UnusableReplyError(self._silence)
                    pieces.append(piece)
                    size += len(piece)
                    if size > _LARGEST_REPLY_BYTES:
                        raise UnusableReplyError("the reply does not end")
                    late = time.monotonic() > latest
                return _Answer(
                    response.status_code, b"".join(pieces), response.headers.get("Retry-After")
                )
        except httpx2.TimeoutException:
            raise UnusableReplyError(self._silence) from None
        except httpx2.RequestError as error:
            said = self._clean(str(error)) or type(error).__name__
            raise UnusableReplyError(f"the connection failed ({said})") from None

    @property
    def _silence(self) -> str:
        return f"no whole reply within {self._timeout_seconds:g} seconds"

    def _read(self, body: bytes) -> Reply:
        if not body.strip():
            raise UnusableReplyError("an empty reply")
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            raise UnusableReplyError("a reply that is no JSON") from None
        try:
            reply = self._endpoint.wire.reply(content)
        except UnusableReplyError as error:  # it may hold the server's words
            raise UnusableReplyError(self._clean(str(error))) from None
        return Reply(
            self._endpoint.without_key(reply.text),
            None if reply.refusal is None else self._clean(reply.refusal),
            reply.cut_off,
            reply.input_tokens,
            reply.output_tokens,
        )

    def _its_words(self, body: bytes) -> str:
        """Return what an error says of itself, after a colon; nothing if it says nothing."""
        try:
            said = words_of_failure(json.loads(body))
        except (ValueError, RecursionError):
            said = None
        return "" if said is None else f": {self._clean(said)}"

    def _clean(self, text: str) -> str:
        # First without the key: a cut through its middle would leave half of it.
        return shortened(self._endpoint.without_key(text))

    def _rest(self, seconds: float | None) -> None:
        if seconds is None:
            return
        if seconds > _LONGEST_HOLD_SECONDS:
            raise DataError(
                f"The endpoint asks to wait {seconds:,.0f} seconds. All answers so far are kept: "
                "the same command goes on after them."
            )
        self._pace.hold(seconds)

    def _forbidden(self, said: str) -> NoReplyError | DataError | ForbiddenError:
        """Return what a 403 means: a key that has had answers is good, so it is the photo then."""
        with self._lock:
            has_answered = self._has_answered
        if has_answered:
            return self._given_up(said)
        return ForbiddenError(_why_hopeless(HTTPStatus.FORBIDDEN, said))

    def _given_up(self, reason: str) -> NoReplyError | DataError:
        """Count a question without a reply; several in a row mean that more would be in vain."""
        with self._lock:
            self._failed_in_a_row += 1
            in_a_row = self._failed_in_a_row
        if in_a_row < FAILURES_IN_A_ROW:
            return NoReplyError(reason)
        return DataError(
            f"{in_a_row} photos in a row got no reply (the last: {reason}). All answers so far "
            "are kept: once the cause is mended, the same command with --retry-failed goes on."
        )


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _why_hopeless(status: int, said: str) -> str:
    if status < 400:
        step = "It leads elsewhere, and redirections are not followed: check --endpoint"
    elif status == HTTPStatus.NOT_FOUND:
        step = "Check --endpoint, --model and --protocol"
    else:
        step = "Check the key's environment variable (see --key-variable) and what it may do"
    return f"{said[0].upper()}{said[1:]}. {step}. All answers so far are kept."
