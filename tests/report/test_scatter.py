"""Photos as points: who gets a colour, and what the legend says."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from taxonet.errors import DataError
from taxonet.report.drawing import COLOURS
from taxonet.report.scatter import TAXA_AT_MOST, most_frequent, taxon_scatter

#: Twelve taxa, the first with 13 photos, the last with 2; three photos without a taxon.
TAXA = [*(f"T{k:02}" for k in range(12) for _ in range(13 - k)), None, None, None]
POINTS = np.stack([np.arange(len(TAXA)), np.arange(len(TAXA)) % 7], axis=1)


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(e.itertext()).strip() for e in root.iter() if e.tag.endswith("}text")]


def test_the_most_frequent_taxa_are_named_and_the_others_counted() -> None:
    shown = texts(taxon_scatter(POINTS, TAXA))
    assert shown == [*(f"T{k:02} ({13 - k})" for k in range(10)), "others (8)"]


def test_every_photo_is_a_point_and_every_taxon_looks_another_way() -> None:
    svg = taxon_scatter(POINTS, TAXA)
    points = re.findall(r'<use xlink:href="#(\w+)" x="[-\d.]+" y="[-\d.]+" style="([^"]*)"', svg)
    assert len(points) == len(TAXA) + 11  # each with one more in the legend
    assert len(set(points)) == 11
    assert all(colour in svg for colour in COLOURS)


def test_few_taxa_leave_no_others() -> None:
    svg = taxon_scatter([[0, 0], [1, 1], [2, 0]], ["Rosa", "$x_1$ <b>", "Rosa"])
    assert texts(svg) == ["Rosa (2)", "$x_1$ <b> (1)"]
    assert "<b>" not in svg
    assert "nan" not in svg


def test_equal_input_gives_equal_bytes_without_requests() -> None:
    svg = taxon_scatter(POINTS, TAXA)
    assert svg == taxon_scatter(POINTS, TAXA)
    assert "currentColor" in svg
    assert not re.search(r"<script|<image|@import|<foreignObject", svg)


def test_frequent_taxa_come_first_and_ties_go_by_name() -> None:
    assert most_frequent(["b", "a", "c", "c", None, None, None]) == ["c", "a", "b"]
    assert most_frequent([f"{k:02}" for k in range(20)]) == [f"{k:02}" for k in range(TAXA_AT_MOST)]
    assert most_frequent([None]) == []


def test_not_one_taxon_a_point_is_refused() -> None:
    with pytest.raises(DataError, match=r"for each of 1 photos, got shape \(2, 2\)"):
        taxon_scatter([[0, 0], [1, 1]], ["Rosa"])
