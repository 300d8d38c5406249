from pathlib import Path

import pandas as pd
import pytest

from taxonet.errors import TaxonomyError
from taxonet.taxonomy import Synonyms


def synonyms(*rows: tuple[str, str]) -> Synonyms:
    return Synonyms.from_table(pd.DataFrame(rows, columns=["name", "accepted"]))


def test_names_lead_to_accepted_names_by_any_way_and_spelling() -> None:
    table = synonyms(("A_old", "B"), ("B", "C ×d"), ("E", "F"), ("E", "G"), ("G", "G"))
    assert table.accepted("a OLD") == {"c x d"}
    assert table.accepted("C x d") == {"c x d"}
    assert table.accepted("E") == {"f", "g"}
    assert table.accepted("G") == {"g"}
    assert table.accepted("H") == {"h"}


def test_a_divided_name_may_keep_one_part() -> None:
    table = synonyms(("A", "A"), ("A", "B"))
    assert table.accepted("A") == {"a", "b"}
    assert table.accepted("B") == {"b"}


def test_without_a_table_every_name_is_its_own() -> None:
    assert Synonyms().accepted("Acer_Mono") == {"acer mono"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,accepted\nA,B\nC,\n", r"row 3 of synonyms.csv has 'C' and ''"),
        ("name,acepted\nA,B\n", r"no column 'accepted'. Did you mean 'acepted'"),
        ("name,accepted\nA,B\nB,C\nC,A\n", r"'a' lead round in a circle \(a, b, c\)"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "synonyms.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TaxonomyError, match=complaint):
        Synonyms.from_table(path)
