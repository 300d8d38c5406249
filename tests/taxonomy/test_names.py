import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from taxonet.taxonomy import clean_name, fold_name, near_misses
from taxonet.taxonomy.names import LEAST_SIMILARITY


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("\ufeffAcer\u200b mono", "Acer mono"),
        (" Acer \t\r\n mono\u2003", "Acer mono"),
        ("Quercus ×hispanica", "Quercus ×hispanica"),
        ("Rosa 'Königin'", "Rosa 'Königin'"),
        ("\u00a0", ""),
    ],
)
def test_clean_name(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@given(st.text())
def test_cleaning_and_folding_twice_change_nothing(name: str) -> None:
    assert clean_name(clean_name(name)) == clean_name(name)
    assert "  " not in clean_name(name)
    assert fold_name(clean_name(name)) == fold_name(name)


def test_folding_keeps_different_epithets_apart() -> None:
    assert fold_name("Acer_Rubrum") == fold_name("acer rubrum")
    assert fold_name("Tilia × europaea") == fold_name("Tilia_X_Europaea")
    assert fold_name("Acer rubrum") != fold_name("Acer rubra")


WORDS = st.text("abcd", min_size=1, max_size=9)


@given(st.lists(WORDS, max_size=5), st.lists(WORDS, max_size=30))
def test_near_misses_are_the_most_similar_of_all(names: list[str], known: list[str]) -> None:
    expected = {}
    for name in names:
        scored = [(-OSA.normalized_similarity(name, other), other) for other in set(known)]
        near = sorted(pair for pair in scored if -pair[0] >= LEAST_SIMILARITY)
        expected[name] = tuple(other for _, other in near[:3])
    assert near_misses(names, known) == expected


def test_near_misses_ignore_case_and_underscores_and_keep_the_spelling() -> None:
    assert near_misses(["Acer_Platanoids"], ["Acer platanoides", "Acer mono"]) == {
        "Acer_Platanoids": ("Acer platanoides",)
    }
    assert near_misses(["aaaa"], ["aaab", "aaac", "aaad"], limit=2) == {"aaaa": ("aaab", "aaac")}


def test_the_most_similar_comes_first_whatever_the_alphabet_says() -> None:
    known = ["Acer rubra", "Acer rubrum", "Acer rubrus"]
    assert near_misses(["Acer rubrun"], known) == {
        "Acer rubrun": ("Acer rubrum", "Acer rubrus", "Acer rubra")
    }
