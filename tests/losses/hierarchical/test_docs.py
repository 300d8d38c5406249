"""The examples of docs/hierarchical-losses.md, with the figures that they print, are run."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "hierarchical-losses.md"


def test_the_page_prints_what_it_says() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert results.attempted >= 30
    assert results.failed == 0
