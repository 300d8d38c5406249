from collections.abc import Sequence
from itertools import pairwise

import pytest

from taxonet.errors import ConfigError
from taxonet.models import prompts
from taxonet.taxonomy import Taxonomy

OAK = ("Plantae", "Fagaceae", "Quercus", "Quercus robur", "Quercus robur subsp. robur")
TREE = Taxonomy.from_edges(
    [
        ("life", "Plantae"),
        *pairwise(OAK),
        ("Fagaceae", "Fagus"),
        ("Fagus", "sylvatica"),  # an epithet alone
        ("Quercus", "Quercusia"),  # begins with the name above it, and is another word
        ("Plantae", 'Rosa "Peace, or Gloria"'),
        ("Plantae", "{name}"),
    ]
)


def of(name: str, **options: object) -> tuple[str, ...]:
    (node,) = TREE.find(name)
    return prompts(TREE, **options)[node]  # type: ignore[arg-type]


def test_every_template_of_every_node() -> None:
    found = prompts(TREE, templates=("a photo of a {name}.", "{name}, {name}"))
    assert len(found) == len(TREE)
    assert found[0] == ("", "")
    for node in range(1, len(TREE)):
        name = TREE.names[node]
        assert found[node] == (f"a photo of a {name}.", f"{name}, {name}")


def test_the_usual_template() -> None:
    assert of("Quercus robur") == ("a photo of a Quercus robur",)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Plantae", "Plantae"),
        ("Quercus", "Plantae Fagaceae Quercus"),
        ("Quercus robur", "Plantae Fagaceae Quercus robur"),
        ("Quercus robur subsp. robur", "Plantae Fagaceae Quercus robur subsp. robur"),
        ("Quercusia", "Plantae Fagaceae Quercus Quercusia"),
        ("sylvatica", "Plantae Fagaceae Fagus sylvatica"),
    ],
)
def test_paths(name: str, path: str) -> None:
    """From below the root, without the genus twice."""
    assert of(name, templates=("{name}",), form="path") == (path,)


@pytest.mark.parametrize("form", ["scientific", "path", "common"])
def test_names_are_taken_as_they_are(form: str) -> None:
    """Commas, quotes, and what looks like a place for a name."""
    end = 'Rosa "Peace, or Gloria"'
    assert of(end, templates=("a {name}",), form=form)[0].endswith(f" {end}")
    assert of("{name}", templates=("a {name} b",), form=form)[0].endswith("{name} b")


def test_common_names_where_there_are_some() -> None:
    common = {"Quercus robur": "English oak, pedunculate", "Fagus": "beeches", "Malus": "apples"}
    options = {"templates": ("a {name}",), "form": "common", "common": common}
    assert of("Quercus robur", **options) == ("a English oak, pedunculate",)
    assert of("Fagus", **options) == ("a beeches",)
    assert of("Quercus", **options) == ("a Quercus",)
    assert of("Quercus robur", templates=("a {name}",), form="common") == ("a Quercus robur",)


def test_paths_that_do_not_fit_lose_names_from_the_top() -> None:
    """Their end is what tells taxa apart."""
    for most in range(1, 8):

        def fits(texts: Sequence[str], most: int = most) -> list[bool]:
            return [len(text.split()) <= most for text in texts]

        templates = ("a {name}", "{name}")
        found = prompts(TREE, templates=templates, form="path", fits=fits)
        whole = prompts(TREE, templates=("{name}",), form="path")
        names = [str(name) for name in TREE.names]
        for node in range(1, len(TREE)):
            own = whole[node][0].split()
            # The longest end of the path that fits, or the taxon's own name.
            least = len(names[node].split())
            size = max(least, min(len(own), most - 1))
            kept = found[node][1].split()
            assert own[-len(kept) :] == kept
            assert len(kept) <= size
            assert found[node][0] == f"a {found[node][1]}"
    alone = prompts(
        TREE, templates=("{name}",), form="path", fits=lambda texts: [False] * len(texts)
    )
    assert alone[1:] == [(str(name),) for name in TREE.names[1:]]


def test_other_forms_are_as_long_as_they_are() -> None:
    def refuse(texts: Sequence[str]) -> list[bool]:
        raise AssertionError(texts)

    assert prompts(TREE, fits=refuse) == prompts(TREE)


def test_one_name_in_two_places_of_the_tree() -> None:
    table = Taxonomy.from_edges([("root", "A"), ("root", "B"), ("A", "A x"), ("B", "B x")])
    assert prompts(table, templates=("{name}",), form="path")[1:] == [
        ("A",),
        ("B",),
        ("A x",),
        ("B x",),
    ]


@pytest.mark.parametrize(
    ("templates", "says"), [((), "but got 'none'"), (("a {name}", "a photo"), "but got 'a photo'")]
)
def test_templates_without_a_place(templates: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        prompts(TREE, templates=templates)
