"""The examples of the pages on this room, with the figures that they print, are run."""

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["hierarchy.md", "unknown-taxa.md", "decisions.md"])
def test_every_example_prints_what_the_page_says(page: str) -> None:
    results = doctest.testfile(str(DOCS / page), module_relative=False, encoding="utf-8")
    assert results.attempted > 3
    assert results.failed == 0
