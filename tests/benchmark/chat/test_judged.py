from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taxonet.benchmark.chat.judged import (
    below,
    counts_of_photos,
    photos_to_judge,
    require_levels,
)
from taxonet.errors import ConfigError, DataError
from taxonet.taxonomy import Taxonomy
from tests.helpers import ragged_taxonomy

TREE = ragged_taxonomy()


def manifest(path: Path, *labels: str, **columns: list[str]) -> Path:
    images = [f"{place}.jpg" for place in range(len(labels))]
    pd.DataFrame({"image": images, "taxon": labels, **columns}).to_csv(path, index=False)
    return path


def test_truth_is_known_down_to_where_the_label_reaches(tmp_path: Path) -> None:
    path = manifest(tmp_path / "p.csv", "dog rose", "bramble", "birch", "strange", "Rosa gallica")
    found = photos_to_judge(path, TREE, split="test", known=None)
    assert found.table.frame["image"].tolist() == ["0.jpg", "1.jpg", "4.jpg"]
    assert [TREE.names[node] for node in found.truth["genus"]] == ["Rosa", "Rubus", "Rosa"]
    assert found.truth["species"].tolist() == [
        *TREE.find("Rosa canina"),
        -1,
        *TREE.find("Rosa gallica"),
    ]
    assert found.facts["dropped_images"] == 1
    assert found.facts["above_genus"] == 1


def test_one_split_is_judged_and_another_is_counted(tmp_path: Path) -> None:
    labels = ["dog rose", "dog rose", "bramble", "birch", "strange"]
    splits = ["train", "test", "test", "train", "train"]
    path = manifest(tmp_path / "p.csv", *labels, split=splits)
    counts = counts_of_photos(path, TREE)
    assert counts.sum() == 2
    assert counts[TREE.find("Rosa canina")[0]] == 1
    found = photos_to_judge(path, TREE, split="test", known=np.flatnonzero(counts))
    assert found.table.frame["image"].tolist() == ["1.jpg"]  # no bramble was trained on
    assert found.facts["dropped_images"] == 1
    with pytest.raises(DataError, match="'val'"):
        photos_to_judge(path, TREE, split="val", known=None)


def test_nothing_to_judge_or_to_count_is_said(tmp_path: Path) -> None:
    path = manifest(tmp_path / "p.csv", "birch", "strange")
    with pytest.raises(DataError, match="of 2 photos none has a genus of the taxonomy"):
        photos_to_judge(path, TREE, split="test", known=None)
    known = np.array(TREE.find("Rosa canina"))
    with pytest.raises(DataError, match="and a taxon that is a class or has training photos"):
        photos_to_judge(path, TREE, split="test", known=known)
    with pytest.raises(DataError, match="no label of these training photos"):
        counts_of_photos(manifest(tmp_path / "q.csv", "strange"), TREE)


def test_counts_are_summed_up_to_the_root() -> None:
    counts = np.arange(len(TREE))
    sums = below(counts, TREE)
    for node in range(len(TREE)):
        inside = [n for n in range(len(TREE)) if node in TREE.ancestors(n)]
        assert sums[node] == counts[inside].sum()
    assert counts.tolist() == list(range(len(TREE)))


def test_a_tree_needs_genera_and_species() -> None:
    require_levels(TREE)
    with pytest.raises(ConfigError, match="no rank species"):
        require_levels(Taxonomy.from_table(pd.DataFrame({"genus": ["Acer"]})))
    with pytest.raises(ConfigError, match=r"no rank genus and species \(ranks: none\)"):
        require_levels(Taxonomy.from_edges([("Acer", "Acer rubrum")]))
