"""The wire format that OpenAI began and most servers of open models speak."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ValidationError

from taxonet.benchmark.chat.failures import words_of_failure
from taxonet.benchmark.chat.lenient import Lenient, TokenCount
from taxonet.benchmark.chat.questions import Question, Reply, UnusableReplyError


class _Part(BaseModel):
    text: str | None = None


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: Annotated[str | None, Lenient] = None


class _Usage(BaseModel):
    prompt_tokens: TokenCount = None
    completion_tokens: TokenCount = None


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: Annotated[_Usage | None, Lenient] = None


class OpenAIProtocol:
    """``POST {endpoint}/chat/completions``, the photo as a data URL.

    Attributes:
        name: What ``--protocol`` calls it.
        reserved: Keys of the request that are not for the user to set.
    """

    name: ClassVar[str] = "openai"
    reserved: ClassVar[frozenset[str]] = frozenset({"model", "messages", "stream", "n"})

    def address(self, endpoint: str, model: str) -> str:
        """Return where a question goes; the model is named in the request."""
        return f"{endpoint}/chat/completions"

    def key_header(self, key: str) -> dict[str, str]:
        """Return the header that carries the key."""
        return {"Authorization": f"Bearer {key}"}

    def request(self, question: Question) -> dict[str, Any]:
        """Return the request as JSON holds it."""
        photo = "data:image/jpeg;base64," + b64encode(question.jpeg).decode("ascii")
        body: dict[str, Any] = {
            "model": question.model,
            "messages": [
                {"role": "system", "content": question.system},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": question.user},
                        {"type": "image_url", "image_url": {"url": photo}},
                    ],
                },
            ],
            **question.settings,
        }
        if question.temperature is not None:
            body["temperature"] = question.temperature
        return body

    def reply(self, content: Mapping[str, Any]) -> Reply:
        """Read a reply.

        Raises:
            UnusableReplyError: It has no choice, is of another form, or is a failure of the server
                that comes with the status of a good reply.
        """
        if (failure := _failure(content)) is not None:
            raise UnusableReplyError(f"an error instead of a reply: {failure}")
        try:
            completion = _Completion.model_validate(content)
        except ValidationError as error:
            raise UnusableReplyError(
                f"a reply of another form ({error.error_count()} faults)"
            ) from None
        if not completion.choices:
            raise UnusableReplyError("a reply without a choice")
        choice = completion.choices[0]
        usage = completion.usage or _Usage()
        return Reply(
            text=_text(choice.message.content),
            refusal=_refusal(choice),
            cut_off=choice.finish_reason == "length",
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
        )


def _failure(content: object) -> str | None:
    """Return why there is no answer, of the whole or of its choice; None where there is one.

    A gateway that has begun to send a 200 has no other place for what goes wrong later.
    """
    match content:
        case {"choices": [dict(choice), *_]}:
            pass
        case _:
            choice = {}
    said = words_of_failure(content) or words_of_failure(choice)
    if said is None and choice.get("finish_reason") == "error":
        return "the model did not finish"
    return said


def _text(content: str | list[_Part] | None) -> str:
    if isinstance(content, list):
        return "".join(part.text or "" for part in content)
    return content or ""


def _refusal(choice: _Choice) -> str | None:
    if choice.finish_reason == "content_filter":
        return "the endpoint's content filter stopped the reply"
    return choice.message.refusal or None
