import json
from pathlib import Path

import pytest

from taxonet.benchmark.chat.cache import AnswerCache, Finished
from taxonet.benchmark.chat.questions import Reply
from taxonet.errors import DataError

REPLY = Reply('{"genus": "Acer"} \udce9', None, cut_off=True, input_tokens=7, output_tokens=None)


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "cache")
    assert cache.get("ab" * 32) is None
    cache.put("ab" * 32, Finished(reply=Reply("Rosa", "refused")))
    cache.put("cd" * 32, Finished(failure="boom"))
    for one in (cache, AnswerCache(tmp_path / "cache")):
        assert one.get("ab" * 32) == Finished(reply=Reply("Rosa", "refused"))
        assert one.get("cd" * 32) == Finished(failure="boom")


def test_a_reply_that_utf8_cannot_hold_is_kept(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.put("ab", Finished(reply=REPLY))
    assert cache.get("ab") == Finished(reply=REPLY)


def test_nothing_but_whole_files_is_there(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.put("ab12", Finished(reply=REPLY))
    cache.put("ab12", Finished(reply=Reply("again")))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.relative_to(tmp_path).as_posix() for path in files] == ["ab/ab12.json"]
    assert json.loads(files[0].read_text("utf-8"))["reply"]["text"] == "again"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2, "reply": null, "failure": "x"}', '{"version": 1}']
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    cache = AnswerCache(tmp_path)
    cache.put("ab12", Finished(reply=REPLY))
    (tmp_path / "ab" / "ab12.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"ab12\.json is no answer.*remove the file"):
        cache.get("ab12")
