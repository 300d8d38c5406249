"""What is asked of a chat model and what comes back, whatever the wire format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

_CUT_AT = 200  # characters of a server's own words in a reason


class UnusableReplyError(Exception):
    """A reply of another form than the protocol promises, or an error instead; it says which."""


@dataclass(frozen=True)
class Question:
    """One photo and all that decides what a model may answer about it.

    Args:
        protocol: Name of the wire format.
        model: Name of the model, as the endpoint knows it.
        system: Who the model is asked to be.
        user: What it is asked to do.
        jpeg: The photo as it is sent.
        temperature: Sampling temperature; None leaves it to the endpoint.
        settings: Further keys of the request.
    """

    protocol: str
    model: str
    system: str
    user: str
    jpeg: bytes = field(repr=False)
    temperature: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of all of it as 64 hexadecimal digits, by which an answer is kept.

        Examples:
            >>> one = Question("openai", "NAME", "You are ...", "Name it.", b"photo")
            >>> len(one.digest), one.digest == Question(*list(vars(one).values())).digest
            (64, True)
        """
        content = {**vars(self), "jpeg": sha256(self.jpeg).hexdigest()}
        return sha256(json.dumps(["chat 1", content], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """What a model said.

    Args:
        text: Its words.
        refusal: Why it gave no answer: its own refusal, or what a filter of the endpoint says.
        cut_off: The reply reached the largest number of tokens before it was whole.
        input_tokens: Tokens of the question, as the endpoint counted them; None if it did not.
        output_tokens: Tokens of the reply, those of hidden thoughts included.
    """

    text: str
    refusal: str | None = None
    cut_off: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None


def shortened(text: str) -> str:
    r"""Return a foreign text on one line and no longer than a reason should be.

    Examples:
        >>> shortened("  rate limit\n reached ")
        'rate limit reached'
    """
    line = " ".join(text.split())
    return line if len(line) <= _CUT_AT else line[: _CUT_AT - 3] + "..."
