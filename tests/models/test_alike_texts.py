"""What a text tower cannot tell apart, and what it reads to the end, also of many texts."""

from pathlib import Path

import pytest

from taxonet.models import TextTower, alike_texts, load_towers

MANY = 3000


@pytest.fixture(scope="module")
def tower(tiny_clips: dict[str, Path]) -> TextTower:
    return load_towers(f"clip:{tiny_clips['vit']}", weights="none").text


@pytest.mark.parametrize("templates", [1, 2])
def test_they_are_those_whose_tokens_came_before(tower: TextTower, templates: int) -> None:
    words = [f"taxon {place % 997}" for place in range(MANY)]
    words[5] = words[6].upper()  # which the tokenizer does not see
    groups = [tuple(f"{word}, {row}" for row in range(templates)) for word in words]
    found = alike_texts(tower, groups)
    # Place 5 now reads as 6, and those that repeat the old 5 have none before them but each other.
    first = {word: place for place, word in reversed(list(enumerate(map(str.lower, words))))}
    firsts = [first[word.lower()] for word in words]
    assert found == [(place, same) for place, same in enumerate(firsts) if place != same]
    assert (6, 5) in found
    assert (2 * 997 + 5, 997 + 5) in found
    assert alike_texts(tower, groups[7:900]) == []


def test_a_group_is_alike_in_all_its_texts_or_not(tower: TextTower) -> None:
    assert alike_texts(tower, [("a", "b"), ("a", "c"), ("b", "a"), ("a", "c")]) == [(3, 1)]


def test_a_text_fits_that_leaves_a_place(tower: TextTower) -> None:
    """Of 16 places two are for start and end."""
    texts = ["a " * (place % 20) for place in range(MANY)]
    assert tower.fits(texts) == [place % 20 < 14 for place in range(MANY)]
