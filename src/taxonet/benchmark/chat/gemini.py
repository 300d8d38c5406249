"""The wire format of Google's Gemini models."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from taxonet.benchmark.chat.failures import words_of_failure
from taxonet.benchmark.chat.lenient import Lenient, TokenCount
from taxonet.benchmark.chat.questions import Question, Reply, UnusableReplyError
from taxonet.errors import ConfigError

# Any other reason to finish means that a filter stopped the reply.
_WHOLE, _CUT_OFF = {"STOP", "FINISH_REASON_UNSPECIFIED"}, "MAX_TOKENS"


class _Part(BaseModel):
    text: str = ""
    thought: bool = False


class _Content(BaseModel):
    parts: list[_Part] = []


class _Candidate(BaseModel):
    content: _Content = _Content()
    finish_reason: Annotated[str | None, Lenient] = Field(None, alias="finishReason")


class _Feedback(BaseModel):
    block_reason: str | None = Field(None, alias="blockReason")


# A count of 0 is left out of the reply, or null in that of a gateway.
_PartCount = Annotated[TokenCount, BeforeValidator(lambda value: 0 if value is None else value)]


class _Usage(BaseModel):
    prompt: TokenCount = Field(None, alias="promptTokenCount")
    candidates: _PartCount = Field(0, alias="candidatesTokenCount")
    thoughts: _PartCount = Field(0, alias="thoughtsTokenCount")


class _Response(BaseModel):
    candidates: list[_Candidate] = []
    feedback: _Feedback = Field(_Feedback(blockReason=None), alias="promptFeedback")
    usage: Annotated[_Usage | None, Lenient] = Field(None, alias="usageMetadata")


class GeminiProtocol:
    """``POST {endpoint}/models/{model}:generateContent``, the photo as inline data.

    Attributes:
        name: What ``--protocol`` calls it.
        reserved: Keys of the request that are not for the user to set.
    """

    name: ClassVar[str] = "gemini"
    reserved: ClassVar[frozenset[str]] = frozenset(
        {"contents", "system_instruction", "systemInstruction"}
    )

    def address(self, endpoint: str, model: str) -> str:
        """Return where a question to a model goes.

        Examples:
            >>> GeminiProtocol().address("https://host/v1beta", "models/NAME")
            'https://host/v1beta/models/NAME:generateContent'
        """
        return f"{endpoint}/models/{quote(model.removeprefix('models/'), safe='')}:generateContent"

    def key_header(self, key: str) -> dict[str, str]:
        """Return the header that carries the key; in the address it would get into logs."""
        return {"x-goog-api-key": key}

    def request(self, question: Question) -> dict[str, Any]:
        """Return the request as JSON holds it.

        Raises:
            ConfigError: A temperature has no place in the settings.
        """
        photo = {"mime_type": "image/jpeg", "data": b64encode(question.jpeg).decode("ascii")}
        body: dict[str, Any] = {
            "system_instruction": {"parts": [{"text": question.system}]},
            "contents": [
                {"role": "user", "parts": [{"text": question.user}, {"inline_data": photo}]}
            ],
            **question.settings,
        }
        if question.temperature is not None:
            given = body.get("generationConfig", {})
            if not isinstance(given, Mapping):
                raise ConfigError(
                    f"generationConfig must be a mapping, but is {given!r}: set one of its keys, "
                    "such as generationConfig.maxOutputTokens=2000."
                )
            body["generationConfig"] = {**given, "temperature": question.temperature}
        return body

    def reply(self, content: Mapping[str, Any]) -> Reply:
        """Read a reply.

        Raises:
            UnusableReplyError: It has no candidate and says not why, is of another form, or is a
                failure of the server that comes with the status of a good reply.
        """
        if (failure := words_of_failure(content)) is not None:
            raise UnusableReplyError(f"an error instead of a reply: {failure}")
        try:
            response = _Response.model_validate(content)
        except ValidationError as error:
            raise UnusableReplyError(
                f"a reply of another form ({error.error_count()} faults)"
            ) from None
        blocked = response.feedback.block_reason
        if not response.candidates and blocked is None:
            raise UnusableReplyError("a reply without a candidate")
        candidate = response.candidates[0] if response.candidates else _Candidate(finishReason=None)
        return Reply(
            text="".join(part.text for part in candidate.content.parts if not part.thought),
            refusal=_refusal(blocked or candidate.finish_reason),
            cut_off=candidate.finish_reason == _CUT_OFF,
            **_tokens(response.usage),
        )


def _refusal(reason: str | None) -> str | None:
    if reason is None or reason in _WHOLE or reason == _CUT_OFF:
        return None
    return f"the endpoint's filter stopped the reply ({reason})"


def _tokens(usage: _Usage | None) -> dict[str, int | None]:
    """Thoughts are billed as output, and counted apart."""
    if usage is None or usage.prompt is None:
        return {}
    parts = (usage.candidates, usage.thoughts)
    output = None if None in parts else sum(part or 0 for part in parts)
    return {"input_tokens": usage.prompt, "output_tokens": output}
