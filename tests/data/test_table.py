from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taxonet.data import ImageTable, open_images
from taxonet.errors import DataError


def table_of(images: list[str], **columns: object) -> ImageTable:
    return ImageTable(pd.DataFrame({"image": images, "taxon": "x", **columns}))


def test_missing_column_names_the_nearest() -> None:
    frame = pd.DataFrame({"image": ["a"], "taxo": ["x"]})
    with pytest.raises(DataError, match=r"'taxon'.* Did you mean 'taxo'\?"):
        ImageTable(frame)


def test_duplicate_images_are_named() -> None:
    with pytest.raises(DataError, match=r"1 images stand in more than one row .*'b\.jpg'"):
        table_of(["a.jpg", "b.jpg", "b.jpg"])


@pytest.mark.parametrize("nameless", [None, "", "  "])
def test_rows_without_an_image_are_counted(nameless: str | None) -> None:
    frame = pd.DataFrame({"image": ["a", nameless], "taxon": ["x", "y"]})
    with pytest.raises(DataError, match=r"1 rows name no image .*: 1\)"):
        ImageTable(frame)


def test_labels_become_text_or_none() -> None:
    table = ImageTable(pd.DataFrame({"image": ["a", "b", "c"], "taxon": [3.0, None, 7.0]}))
    assert table.frame["taxon"].tolist() == ["3", None, "7"]
    assert table.taxon_counts() == {"3": 1, "7": 1}


def test_the_callers_frame_stays_as_it_was() -> None:
    frame = pd.DataFrame({"image": ["a", "b"], "taxon": [1, 2]}, index=[5, 9])
    table = ImageTable(frame)
    assert frame["taxon"].tolist() == [1, 2]
    assert frame.index.tolist() == [5, 9]
    assert table.frame.index.tolist() == [0, 1]


def test_rows_by_mask_and_by_position_in_their_order() -> None:
    table = table_of(["a", "b", "c"])
    assert table.rows([True, False, True]).frame["image"].tolist() == ["a", "c"]
    assert table.rows([2, 0]).frame["image"].tolist() == ["c", "a"]
    with pytest.raises(DataError, match="needs 3 values"):
        table.rows([True, False])


def test_split_and_its_counts() -> None:
    table = table_of(["a", "b", "c", "d"], split=["test", "train", "train", None])
    assert table.split("train").frame["image"].tolist() == ["b", "c"]
    assert table.split_counts() == {"train": 2, "test": 1}
    with pytest.raises(DataError, match=r"'tests'. Did you mean 'test'\? Splits: train \(2\)"):
        table.split("tests")
    with pytest.raises(DataError, match="has no splits"):
        table_of(["a"]).split("train")


def test_with_columns_goes_by_position() -> None:
    table = table_of(["a", "b"]).with_columns(group=pd.Series(["g", "h"], index=[1, 0]))
    assert table.frame["group"].tolist() == ["g", "h"]
    with pytest.raises(DataError, match="'region' has 1 values for 2 images"):
        table.with_columns(region=["A"])


def test_blobs_follow_their_rows(tmp_path: Path) -> None:
    blobs = pa.chunked_array([[b"0", b"1"], [b"2", None]], type=pa.binary())
    frame = pd.DataFrame({"image": list("abcd"), "taxon": "x"})
    table = ImageTable(frame, blobs=blobs).rows([3, 2, 0])
    assert [table.read_bytes(row) for row in range(3)] == [b"", b"2", b"0"]
    table.save(tmp_path / "t.parquet")
    again = open_images(tmp_path / "t.parquet")
    assert again.frame["image"].tolist() == ["d", "c", "a"]
    assert [again.read_bytes(row) for row in range(3)] == [b"", b"2", b"0"]
    with pytest.raises(DataError, match=r"saved as \.parquet"):
        table.save(tmp_path / "t.csv")


def test_blobs_must_be_as_many_as_images() -> None:
    with pytest.raises(DataError, match="2 images needs as many byte strings, got 1"):
        ImageTable(
            pd.DataFrame({"image": ["a", "b"], "taxon": "x"}), blobs=pa.chunked_array([[b"0"]])
        )


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.xlsx"):
        table_of(["a"]).save(tmp_path / "t.xlsx")


AWKWARD = ['rose, "wild"', "Röschen 花", "two\nlines", "NA", "None", " padded ", "semi;colon\t"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_round_trip_with_awkward_names(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / "photos"
    images = [f"{name}/1.jpg" for name in AWKWARD]
    table = ImageTable(
        pd.DataFrame({"image": images, "taxon": [*AWKWARD[:-1], None], "split": "train"}),
        root=root,
    )
    path = tmp_path / "lists" / f"t.{suffix}"
    table.save(path)
    again = open_images(path)
    assert again.frame["image"].tolist() == [f"../photos/{image}" for image in images]
    assert again.frame["taxon"].tolist() == [*AWKWARD[:-1], None]
    assert again.frame["split"].tolist() == ["train"] * len(AWKWARD)


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(text.filter(str.strip), min_size=1, max_size=5))
def test_any_label_survives_a_csv(tmp_path: Path, labels: list[str]) -> None:
    images = [f"{i}.jpg" for i in range(len(labels))]
    ImageTable(pd.DataFrame({"image": images, "taxon": labels}), root=tmp_path).save(
        tmp_path / "t.csv"
    )
    assert open_images(tmp_path / "t.csv").frame["taxon"].tolist() == labels
