from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.data import (
    ImageTable,
    cut_to_profile,
    exponential_profile,
    open_images,
    pareto_profile,
    shot_groups,
)
from taxonet.errors import DataError


@pytest.mark.parametrize(("factor", "total"), [(10, 19573), (50, 12608), (100, 10847)])
def test_exponential_profile_gives_the_sizes_of_cifar100_lt(factor: int, total: int) -> None:
    profile = exponential_profile(500, factor, 100)
    assert profile.sum() == total
    assert profile[0] == 500
    assert profile[-1] == 500 // factor


@given(largest=st.integers(1, 5000), factor=st.integers(1, 300), classes=st.integers(2, 300))
def test_exponential_profile_is_the_formula(largest: int, factor: int, classes: int) -> None:
    profile = exponential_profile(largest, factor, classes)
    exact = [largest * factor ** (-k / (classes - 1)) for k in range(classes)]
    assert np.all(np.abs(profile - np.floor(exact)) <= (np.abs(exact - np.round(exact)) < 1e-6))
    assert profile[-1] == largest // factor
    assert np.all(np.diff(profile) <= 0)


def test_exponential_profile_of_one_class() -> None:
    assert exponential_profile(7, 50, 1).tolist() == [7]


def test_pareto_profile() -> None:
    profile = pareto_profile(1280, 1000, alpha=6, smallest=5)
    assert profile[0] == 1280
    assert profile[-1] == 5
    assert np.all(np.diff(profile) <= 0)
    # The median class by hand: survival 0.5005 against 0.0005 for the first.
    assert profile[500] == int(1280 * (0.5005 ** (-1 / 6) - 1) / (0.0005 ** (-1 / 6) - 1))
    assert pareto_profile(100, 50, alpha=1).sum() < pareto_profile(100, 50, alpha=9).sum()


@pytest.mark.parametrize(
    "make",
    [
        lambda: exponential_profile(0, 10, 5),
        lambda: exponential_profile(9, 0.5, 5),
        lambda: pareto_profile(9, 0),
        lambda: pareto_profile(9, 5, alpha=0),
        lambda: pareto_profile(9, 5, smallest=10),
        lambda: shot_groups([1], few_below=50, many_above=40),
    ],
)
def test_arguments_out_of_range(make: object) -> None:
    assert callable(make)
    with pytest.raises(DataError):
        make()


def test_shot_groups_at_their_boundaries() -> None:
    assert shot_groups([500, 101, 100, 20, 19, 0]).tolist() == [
        "many", "many", "medium", "medium", "few", "few",
    ]  # fmt: skip
    assert shot_groups([9, 10, 11], few_below=11, many_above=10).tolist() == ["few", "few", "many"]


def collection() -> ImageTable:
    labels = ["b"] * 6 + ["a"] * 6 + ["c"] * 9 + ["d"] * 2 + [None]
    images = [f"{i}.jpg" for i in range(len(labels))]
    split = ["train"] * len(labels)
    split[0] = "test"
    return ImageTable(pd.DataFrame({"image": images, "taxon": labels, "split": split}))


def test_cut_ranks_by_size_and_keeps_other_splits() -> None:
    cut = cut_to_profile(collection(), [8, 4, 3, 1], seed=0, minimum=2)
    # Training sizes: c 9, a 6, b 5, d 2.
    assert cut.split("train").taxon_counts() == {"a": 4, "b": 3, "c": 8, "d": 2}
    assert cut.split("test").frame["image"].tolist() == ["0.jpg"]
    assert cut.frame["taxon"].isna().sum() == 1


def test_ties_are_ranked_by_label() -> None:
    table = ImageTable(pd.DataFrame({"image": list("1234"), "taxon": ["b", "b", "a", "a"]}))
    assert cut_to_profile(table, [2, 1], seed=0, minimum=1).taxon_counts() == {"a": 2, "b": 1}


@given(order=st.permutations(range(24)), seed=st.integers(0, 3))
def test_the_cut_does_not_depend_on_the_order_of_rows(order: list[int], seed: int) -> None:
    profile = [5, 4, 3, 1]
    kept = cut_to_profile(collection(), profile, seed=seed, minimum=1)
    shuffled = cut_to_profile(collection().rows(order), profile, seed=seed, minimum=1)
    assert set(kept.frame["image"]) == set(shuffled.frame["image"])


def test_another_seed_keeps_other_images() -> None:
    kept = [
        tuple(cut_to_profile(collection(), [2, 2, 2, 2], seed=seed, minimum=1).frame["image"])
        for seed in range(5)
    ]
    assert len(set(kept)) == 5


def test_a_profile_for_another_number_of_classes() -> None:
    with pytest.raises(DataError, match="3 counts, but 4 classes"):
        cut_to_profile(collection(), [3, 2, 1], seed=0, minimum=1)


@pytest.mark.real_data
def test_flowers_at_imbalance_50(real_data: Path) -> None:
    flowers = open_images(real_data / "flowers102/splits.csv")
    cut = cut_to_profile(flowers, exponential_profile(200, 50, 102), seed=0, minimum=4)
    available = sorted(flowers.split("train").taxon_counts().items(), key=lambda x: (-x[1], x[0]))
    expected = {
        label: min(count, max(4, int(200 * 50 ** (-k / 101) + 1e-9)))
        for k, (label, count) in enumerate(available)
    }
    assert cut.split("train").taxon_counts() == expected
    assert sum(expected.values()) == 4841
    assert cut.split_counts() == {"train": 4841, "val": 510, "test": 1020}
