"""The examples of docs/chat-models.md are run, and its outcomes are those that there are."""

import doctest
import re
from pathlib import Path

from taxonet.benchmark.chat import OUTCOMES

PAGE = Path(__file__).parents[3] / "docs" / "chat-models.md"


def test_the_page_prints_what_it_says() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert results.attempted >= 5
    assert results.failed == 0


def test_the_page_explains_every_outcome() -> None:
    explained = re.findall(r"^\| `([a-z ]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert explained[1:] == list(OUTCOMES)
