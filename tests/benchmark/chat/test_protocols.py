"""Requests as they go out, and replies of every form, in both wire formats."""

from base64 import b64decode
from typing import Any

import pytest

from taxonet.benchmark.chat.gemini import GeminiProtocol
from taxonet.benchmark.chat.openai import OpenAIProtocol
from taxonet.benchmark.chat.questions import Question, Reply, UnusableReplyError


def question(protocol: str, temperature: float | None = None, **settings: Any) -> Question:
    return Question(protocol, "NAME", "persona", "name it", b"\xff\xd8", temperature, settings)


def test_openai_asks_with_a_data_url() -> None:
    body = OpenAIProtocol().request(question("openai", 0.0, max_completion_tokens=5))
    assert body == {
        "model": "NAME",
        "messages": [
            {"role": "system", "content": "persona"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "name it"},
                    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9g="}},
                ],
            },
        ],
        "max_completion_tokens": 5,
        "temperature": 0.0,
    }
    assert "temperature" not in OpenAIProtocol().request(question("openai"))


def test_gemini_asks_with_inline_data() -> None:
    asked = question("gemini", 0.5, generationConfig={"maxOutputTokens": 5})
    body = GeminiProtocol().request(asked)
    part = body["contents"][0]["parts"][1]["inline_data"]
    assert b64decode(part["data"]) == b"\xff\xd8"
    assert part["mime_type"] == "image/jpeg"
    assert body["contents"][0]["parts"][0] == {"text": "name it"}
    assert body["system_instruction"] == {"parts": [{"text": "persona"}]}
    assert body["generationConfig"] == {"maxOutputTokens": 5, "temperature": 0.5}
    assert asked.settings == {"generationConfig": {"maxOutputTokens": 5}}
    assert "generationConfig" not in GeminiProtocol().request(question("gemini"))


def test_gemini_takes_no_way_out_of_its_path() -> None:
    address = GeminiProtocol().address("https://h", "../../x?y")
    assert address == "https://h/models/..%2F..%2Fx%3Fy:generateContent"


def openai(message: dict[str, Any], finish: str | None = "stop", usage: Any = None) -> Reply:
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return OpenAIProtocol().reply({"id": "x", "choices": choices, "usage": usage})


def test_openai_replies() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert openai({"content": "Acer"}, usage=usage) == Reply("Acer", None, False, 7, 3)
    parts = [{"type": "text", "text": "Ac"}, {"type": "text", "text": "er"}, {"type": "other"}]
    assert openai({"content": parts}).text == "Acer"
    assert openai({"content": "Ac"}, "length") == Reply("Ac", cut_off=True)
    assert openai({"content": None, "refusal": "I cannot."}).refusal == "I cannot."
    assert "content filter" in str(openai({"content": ""}, "content_filter").refusal)
    assert openai({"content": None}) == Reply("")
    assert openai({}, None) == Reply("")


FAILED = {"code": 502, "message": "overloaded"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"error": FAILED}, "overloaded"),
        ({"error": "busy", "choices": None}, "busy"),
        ({"error": {"code": 502}}, "does not say why"),
        ({"error": {"message": ["odd"]}}, "does not say why"),
        ({"choices": [{"message": {"content": "Ac"}, "error": FAILED}]}, "overloaded"),
        ({"choices": [{"finish_reason": "error", "error": FAILED}]}, "overloaded"),
        (
            {"choices": [{"message": {"content": "Ac"}, "finish_reason": "error"}]},
            "the model did not finish",
        ),
    ],
)
def test_an_error_in_place_of_a_reply_of_openai(content: Any, said: str) -> None:
    with pytest.raises(UnusableReplyError, match=f"an error instead of a reply: .*{said}"):
        OpenAIProtocol().reply(content)


def test_an_empty_error_is_none() -> None:
    choice = {"message": {"content": "Acer"}, "error": {}}
    assert OpenAIProtocol().reply({"choices": [choice], "error": ""}) == Reply("Acer")


ODD_COUNTS: list[Any] = [12.5, 7.0, "7", [7], {}, True, -1, 2**53 + 1, 10**20]


@pytest.mark.parametrize("odd", ODD_COUNTS)
def test_an_odd_count_of_openai_is_none_and_the_answer_stays(odd: Any) -> None:
    usage = {"prompt_tokens": odd, "completion_tokens": 3}
    assert openai({"content": "Acer"}, usage=usage) == Reply("Acer", output_tokens=3)
    usage = {"prompt_tokens": 2**53, "completion_tokens": odd}
    assert openai({"content": "Acer"}, usage=usage) == Reply("Acer", input_tokens=2**53)


@pytest.mark.parametrize("odd", [7, "many", [1], 1.5])
def test_an_odd_usage_or_finish_loses_no_answer(odd: Any) -> None:
    assert openai({"content": "Acer"}, usage=odd) == Reply("Acer")
    good = {"content": {"parts": [{"text": "Acer"}]}}
    assert gemini(good, usageMetadata=odd) == Reply("Acer")
    if odd != "many":
        assert openai({"content": "Acer"}, odd) == Reply("Acer")
        assert gemini({**good, "finishReason": odd}) == Reply("Acer")


def gemini(*candidates: dict[str, Any], **more: Any) -> Reply:
    return GeminiProtocol().reply({"candidates": candidates, **more})


def test_gemini_replies() -> None:
    parts = [{"text": "hm", "thought": True}, {"text": "Ac"}, {"text": "er"}]
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 20}
    good = {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP"}
    assert gemini(good, usageMetadata=usage) == Reply("Acer", None, False, 7, 23)
    assert gemini(good, usageMetadata={}) == gemini(good) == Reply("Acer")
    assert gemini({"content": {}, "finishReason": "MAX_TOKENS"}) == Reply("", cut_off=True)
    assert "SAFETY" in str(gemini({"finishReason": "SAFETY"}).refusal)
    feedback = {"blockReason": "OTHER"}
    usage = {"promptTokenCount": 7, "totalTokenCount": 7}  # no candidate, and so no count of any
    blocked = GeminiProtocol().reply({"promptFeedback": feedback, "usageMetadata": usage})
    assert "OTHER" in str(blocked.refusal)
    assert (blocked.input_tokens, blocked.output_tokens) == (7, 0)


@pytest.mark.parametrize("odd", ODD_COUNTS)
def test_an_odd_count_of_gemini_is_none_and_the_answer_stays(odd: Any) -> None:
    good = {"content": {"parts": [{"text": "Acer"}]}}
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 20}
    assert gemini(good, usageMetadata={**usage, "promptTokenCount": odd}) == Reply("Acer")
    for part in ("candidatesTokenCount", "thoughtsTokenCount"):
        found = gemini(good, usageMetadata={**usage, part: odd})
        assert found == Reply("Acer", input_tokens=7)
    nothing = {**usage, "thoughtsTokenCount": None}
    assert gemini(good, usageMetadata=nothing) == Reply("Acer", None, False, 7, 3)


def test_an_error_in_place_of_a_reply_of_gemini() -> None:
    for content in ({"error": FAILED}, {"error": FAILED, "candidates": []}):
        with pytest.raises(UnusableReplyError, match="an error instead of a reply: overloaded"):
            GeminiProtocol().reply(content)


@pytest.mark.parametrize(
    "content",
    [{}, [], "text", 7, None, {"choices": [{}]}, {"choices": [{"message": {"content": 7}}]}],
)
def test_another_form_is_no_reply_of_openai(content: Any) -> None:
    with pytest.raises(UnusableReplyError, match="another form"):
        OpenAIProtocol().reply(content)


@pytest.mark.parametrize(
    "content", [{}, {"candidates": []}, [], 7, {"candidates": [{"content": 7}]}]
)
def test_another_form_is_no_reply_of_gemini(content: Any) -> None:
    with pytest.raises(UnusableReplyError):
        GeminiProtocol().reply(content)


def test_everything_that_decides_an_answer_is_in_the_digest() -> None:
    base: dict[str, Any] = {
        "protocol": "openai",
        "model": "a",
        "system": "s",
        "user": "u",
        "jpeg": b"j",
        "temperature": None,
        "settings": {"x": 1, "y": 2},
    }
    changed: dict[str, Any] = {
        "protocol": "gemini",
        "model": "b",
        "system": "t",
        "user": "v",
        "jpeg": b"k",
        "temperature": 0.0,
        "settings": {"x": 2, "y": 2},
    }
    one = Question(**base).digest
    others = {Question(**{**base, key: value}).digest for key, value in changed.items()}
    assert len(others | {one}) == 8
    assert Question(**{**base, "settings": {"y": 2, "x": 1}}).digest == one
