"""The examples of docs/hierarchy.md, with the figures that they print, are run."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "hierarchy.md"


def test_every_example_prints_what_the_page_says() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert results.attempted > 3
    assert results.failed == 0
