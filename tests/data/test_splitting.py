from collections import defaultdict
from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxonet.data import ImageTable, complete_splits, split_images
from taxonet.errors import DataError


def table_of(taxa: Sequence[str | None], groups: Sequence[str | None] | None = None) -> ImageTable:
    frame = pd.DataFrame({"image": [f"{i}.jpg" for i in range(len(taxa))], "taxon": taxa})
    if groups is not None:
        frame["group"] = groups
    return ImageTable(frame)


def splits_by_image(table: ImageTable) -> dict[str, str]:
    return dict(zip(table.frame["image"], table.frame["split"], strict=True))


def test_shares_hold_within_every_taxon() -> None:
    table = split_images(table_of(["a"] * 50 + ["b"] * 20), seed=0)
    for taxon, images in [("a", 50), ("b", 20)]:
        counts = table.rows(table.frame["taxon"] == taxon).split_counts()
        assert counts == {
            "train": 0.7 * images,
            "val": 0.1 * images,
            "calibration": 0.1 * images,
            "test": 0.1 * images,
        }


def test_tiny_taxa_train_first() -> None:
    taxa = [f"{size}-{i}" for size in (1, 2, 3) for i in range(12) for _ in range(size)]
    table = split_images(table_of(taxa), seed=0)
    for size, train in [(1, 1), (2, 2), (3, 2)]:
        of_size = table.rows(table.frame["taxon"].str.startswith(f"{size}-"))
        assert set(of_size.split("train").taxon_counts().values()) == {train}
    # The twelve third images are spread where the whole table lacks most.
    assert table.split_counts() == {"train": 60, "val": 4, "calibration": 4, "test": 4}


taxa_and_groups = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from([None, "g", "h", "i", "j", "k"])),
    min_size=1,
    max_size=40,
)


@settings(max_examples=150)
@given(
    rows=taxa_and_groups,
    train=st.sampled_from([0.1, 0.4, 0.7]),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_groups_stay_whole_taxa_train_and_row_order_is_nothing(
    rows: list[tuple[str, str | None]], train: float, seed: int, data: st.DataObject
) -> None:
    fractions = {"train": train, "val": 0.1, "test": 0.9 - train}
    table = table_of([taxon for taxon, _ in rows], [group for _, group in rows])
    done = split_images(table, fractions=fractions, seed=seed)
    assert done.frame["split"].notna().all()
    of_group = defaultdict(set)
    for group, split in zip(done.frame["group"], done.frame["split"], strict=True):
        of_group[group].add(split)
    assert all(len(splits) == 1 for group, splits in of_group.items() if group is not None)
    assert set(done.split("train").taxon_counts()) == set(done.taxon_counts())
    order = data.draw(st.permutations(range(len(rows))))
    again = split_images(table.rows(order), fractions=fractions, seed=seed)
    assert splits_by_image(again) == splits_by_image(done)


def test_a_taxon_that_lives_only_in_shared_groups_still_trains() -> None:
    # The rarer taxon alone could give the shared group to another split.
    for seed in range(20):
        table = table_of(["a", "a", "b", "b", "b"], ["g", "h", "h", "h", "h"])
        done = split_images(table, fractions={"train": 0.2, "test": 0.8}, seed=seed)
        train = done.split("train")
        assert set(train.taxon_counts()) == {"a", "b"}


def test_a_group_and_an_image_of_one_name_are_two_things() -> None:
    frame = pd.DataFrame({"image": ["x", "y", "z"], "taxon": "a", "group": [None, "x", "x"]})
    split = split_images(ImageTable(frame), fractions={"train": 0.5, "test": 0.5}, seed=0)
    assert split.frame["split"][1] == split.frame["split"][2]
    assert split.frame["split"][0] != split.frame["split"][1]


def test_seeds_differ_and_unlabelled_images_get_none() -> None:
    table = table_of(["a"] * 30 + [None])
    assert splits_by_image(split_images(table, seed=0)) != splits_by_image(
        split_images(table, seed=1)
    )
    assert split_images(table, seed=0).frame["split"][30] is None


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.5, "tset": 0.5}, "no split 'tset'. Did you mean 'test'"),
        ({"val": 0.5, "test": 0.5}, "need a share for `train`"),
        ({"train": 0.5, "test": 0.4}, "must sum to 1, got 0.9"),
        ({"train": 1.0, "test": 0.0}, "'test' must lie in"),
    ],
)
def test_fractions_that_make_no_split(fractions: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_images(table_of(["a"]), fractions=fractions, seed=0)


def test_only_missing_splits_are_taken_from_training() -> None:
    table = table_of(["a"] * 40).with_columns(split=["train"] * 20 + ["val"] * 5 + ["test"] * 15)
    done = complete_splits(table, fractions={"val": 0.3, "calibration": 0.2}, seed=0)
    assert done.split_counts() == {"train": 16, "val": 5, "calibration": 4, "test": 15}
    assert done.frame["split"][20:].tolist() == table.frame["split"][20:].tolist()
    assert complete_splits(done, seed=1) is done


def test_completing_needs_a_training_split_and_known_names() -> None:
    with pytest.raises(DataError, match="no training split"):
        complete_splits(table_of(["a"]), seed=0)
    with pytest.raises(DataError, match=r"a split 'trian'\. Did you mean 'train'"):
        complete_splits(table_of(["a"]).with_columns(split=["trian"]), seed=0)
