from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taxonet.data.matching import MatchedPhotos, match_photos, read_taxon_map
from taxonet.data.table import ImageTable
from taxonet.errors import DataError
from tests.helpers import CLASS_NODES, ragged_taxonomy


def matched(labels: list[str | None], map_text: str | None, folder: Path) -> MatchedPhotos:
    frame = pd.DataFrame({"image": [f"{row}.jpg" for row in range(len(labels))], "taxon": labels})
    path = None
    if map_text is not None:
        path = folder / "map.csv"
        path.write_text(map_text, encoding="utf-8")
    return match_photos(ImageTable(frame), ragged_taxonomy(), np.array(CLASS_NODES), taxon_map=path)


def images(table: ImageTable) -> list[str]:
    return [str(name) for name in table.frame["image"]]


def test_labels_match_by_label_name_path_and_spelling(tmp_path: Path) -> None:
    labels = ["dog rose", "Rosa canina", "Rosaceae/Rosa/Rosa canina", "rosa_canina", "maple"]
    found = matched([*labels, "Acer"], None, tmp_path)
    assert found.nodes.tolist() == [7, 7, 7, 7, 6, 6]
    assert images(found.known) == [f"{row}.jpg" for row in range(6)]
    assert found.facts == {
        "matched_images": 6,
        "matched_taxa": 2,
        "unknown_images": 0,
        "dropped_images": 0,
        "dropped_taxa": 0,
    }


def test_what_is_no_class_is_dropped_and_counted(tmp_path: Path) -> None:
    """A taxon in the tree without training photos, one that is not in it, and no label at all."""
    labels = ["Rubus idaeus", "Salix", "Rosa", None, "Salix", "Acer"]
    found = matched(labels, None, tmp_path)
    assert (images(found.known), found.nodes.tolist()) == (["5.jpg"], [6])
    assert found.dropped == {"Salix": 2, "Rubus idaeus": 1, "Rosa": 1, "(no label)": 1}
    assert found.coarse == {"Rosa"}
    assert found.facts["dropped_images"] == 5
    assert found.facts["dropped_taxa"] == 4


def test_the_map_speaks_first(tmp_path: Path) -> None:
    """To a label, a name, a path, `unknown`, or nothing; other labels keep their own name."""
    taxon_map = (
        "label,path\n"
        "Hundsrose,dog rose\n"
        "Essigrose,Rosa gallica\n"
        "Rotahorn,Sapindaceae/Acer/Acer rubrum\n"
        "Eibe,unknown\n"
        "maple,Rubus\n"
        "Unkraut,\n"
        " Ahorn , Acer \n"
    )
    labels = ["Hundsrose", "Essigrose", "Rotahorn", "Eibe", "maple", "Unkraut", "birch", "Ahorn"]
    found = matched([*labels, "unknown"], taxon_map, tmp_path)
    assert found.nodes.tolist() == [7, 8, 10, 5, 1, 6]
    assert images(found.known) == ["0.jpg", "1.jpg", "2.jpg", "4.jpg", "6.jpg", "7.jpg"]
    assert images(found.unknown) == ["3.jpg", "8.jpg"]
    assert found.dropped == {"Unkraut": 1}


def test_a_map_to_what_is_not_there_is_refused_and_says_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"(?s)maps to 1 taxa .*'Acre' matches nothing; near: 'Acer'"
    ):
        matched(["Ahorn", "Acer"], "label,path\nAhorn,Acre\n", tmp_path)


def test_a_byte_order_mark_quotes_and_the_label_na_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    text = 'label,path\n"rose, dog",dog rose\nNA,unknown\n'
    path.write_text(text, encoding="utf-8-sig")
    assert read_taxon_map(path) == {"rose, dog": "dog rose", "NA": "unknown"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("labels,path\na,b\n", r"label is missing. Did you mean 'labels'"),
        ("label,taxon\na,b\n", r"map.csv needs the columns label and path; path is missing"),
        ("label,path\na,b\na,c\n", r"maps 'a' twice"),
        ("label,path\na,b\na ,c\n", r"maps 'a' twice"),
        ("", r"map.csv"),
    ],
)
def test_a_map_that_cannot_be_used(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=complaint):
        read_taxon_map(path)


def test_a_map_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.csv cannot be read as a CSV .*No such file"):
        read_taxon_map(tmp_path / "none.csv")
