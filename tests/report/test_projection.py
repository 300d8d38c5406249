"""The section of a projection: what its sentences, its table and its figures say."""

import numpy as np
import pytest

from taxonet.evaluation import Projection
from taxonet.metrics import NeighbourAgreement
from taxonet.report.projection import projection_section
from taxonet.report.structure import Section

ORDERS = NeighbourAgreement(images=24, taxa=1, share=1.0, chance=1.0, best=1.0)
GENERA = NeighbourAgreement(images=24, taxa=2, share=0.75, chance=0.5, best=1.0)
SPECIES = NeighbourAgreement(images=20, taxa=12, share=0.2, chance=0.1, best=0.4)


def section_of(photos_in_all: int) -> Section:
    projection = Projection(
        photos="test",
        photos_in_all=photos_in_all,
        perplexity=23 / 3,
        images=tuple("abcdefghijklmnopqrstuvwx"),
        points=np.arange(48.0).reshape(24, 2),
        taxa={
            "order": ("Rosales",) * 24,
            "genus": ("Rosa", "Rubus") * 12,
            "species": (*(f"Rosa {k % 12}" for k in range(20)), *[None] * 4),
        },
        neighbours=10,
        agreement={"order": ORDERS, "genus": GENERA, "species": SPECIES},
    )
    return projection_section(projection)


@pytest.mark.parametrize(
    ("photos_in_all", "says"),
    [(24, "all 24 of the photos"), (9000, "24 of 9,000, drawn at random")],
)
def test_how_many_photos_are_shown_is_said(photos_in_all: int, says: str) -> None:
    text = " ".join(section_of(photos_in_all).paragraphs)
    assert says in text
    assert "perplexity 7.67" in text
    assert "of the 10 nearest neighbours" in text


def test_every_rank_has_a_row() -> None:
    (table,) = section_of(24).tables
    assert table.rows == (
        ("order", 24, 1, 1.0, 1.0, 1.0),
        ("genus", 24, 2, 0.75, 0.5, 1.0),
        ("species", 20, 12, 0.2, 0.1, 0.4),
    )


def test_ranks_with_taxa_to_tell_apart_have_a_figure() -> None:
    genus, species = section_of(24).figures
    assert genus.caption == "By genus: all 2 taxa are coloured."
    assert species.caption == "By species: the 10 most frequent of 12 taxa are coloured."
    assert "75% of the nearest neighbours have the genus of a photo, 50% by chance" in genus.alt
