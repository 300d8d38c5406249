from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from taxonet.data import open_images
from taxonet.errors import DataError


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "green").save(path)
    return path


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    for name in ["rose/b.jpg", "rose/a.JPG", "Ähre, wilde/1.png", "rose/.hidden.jpg"]:
        photo(tmp_path / name)
    (tmp_path / "rose/notes.txt").write_text("x")
    (tmp_path / ".DS_Store").write_text("x")
    (tmp_path / "empty").mkdir()
    photo(tmp_path / "loose.jpg")
    photo(tmp_path / "rose/deeper/c.jpg")
    table = open_images(tmp_path)
    rows = table.frame[["image", "taxon"]].to_numpy().tolist()
    assert sorted(rows) == [
        ["rose/a.JPG", "rose"],
        ["rose/b.jpg", "rose"],
        ["Ähre, wilde/1.png", "Ähre, wilde"],
    ]
    assert table.read_bytes(0) == (tmp_path / table.name(0)).read_bytes()
    assert set(table.notes) == {
        "Left out 1 photos outside the label folders (first: loose.jpg).",
        "Left out 1 files of the kind .txt (first: rose/notes.txt).",
        "Left out 1 folders below a label (first: rose/deeper).",
    }


def test_folders_called_after_splits_hold_the_labels(tmp_path: Path) -> None:
    for name in ["train/rose/a.jpg", "test/rose/a.jpg", "test/oak/b.jpg"]:
        photo(tmp_path / name)
    table = open_images(tmp_path)
    assert table.frame.to_numpy().tolist() == [
        ["test/oak/b.jpg", "oak", "test"],
        ["test/rose/a.jpg", "rose", "test"],
        ["train/rose/a.jpg", "rose", "train"],
    ]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (None, "with the photos directly in it"),
        ("images/rose/a.jpg", r"open \S*images instead"),
        ("splits.csv", r"open \S*splits\.csv"),
    ],
)
def test_folder_without_labelled_photos(tmp_path: Path, name: str | None, hint: str) -> None:
    if name:
        photo(tmp_path / name) if name.endswith("jpg") else (tmp_path / name).touch()
    with pytest.raises(DataError, match=hint):
        open_images(tmp_path)


def test_nothing_there_and_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_images(tmp_path / "no")
    (tmp_path / "t.xlsx").touch()
    with pytest.raises(DataError, match=r"\.csv, \.tsv, \.parquet\), not as \.xlsx"):
        open_images(tmp_path / "t.xlsx")


@pytest.mark.parametrize("folder", ["", "images"])
def test_manifest_with_bom_and_crlf(tmp_path: Path, folder: str) -> None:
    photo(tmp_path / folder / "rose/a, b.jpg")
    (tmp_path / "images").mkdir(exist_ok=True)
    lines = ["image,label,split,height", '"rose/a, b.jpg",rose,train,12', "gone.jpg,NA,,7", ""]
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    table = open_images(tmp_path / "m.csv")
    assert table.root == tmp_path / folder
    assert table.frame["taxon"].tolist() == ["rose", "NA"]
    assert table.frame["split"].tolist() == ["train", None]
    assert table.frame["height"].tolist() == ["12", "7"]
    assert table.name(1) == "gone.jpg"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("image,lable", r"no column for the label.*Did you mean 'lable'"),
        ("photo,taxon", r"no column for the image.*Columns: photo, taxon"),
        ("image,label,species", r"could be any of the columns label, species.*label_column"),
        ("image;taxon", r"separated by semicolons"),
    ],
)
def test_unclear_columns(tmp_path: Path, header: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(f"{header}\n" + "a" + ",b" * header.count(",") + "\n")
    with pytest.raises(DataError, match=message):
        open_images(tmp_path / "m.csv")


def test_columns_given_by_name(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("photo\ttaxon\tname\na.jpg\tRosa\tthe rose\n")
    table = open_images(tmp_path / "m.tsv", image_column="photo", label_column="name")
    assert table.frame.to_dict("records") == [
        {"image": "a.jpg", "taxon_in_file": "Rosa", "taxon": "the rose"}
    ]
    with pytest.raises(DataError, match=r"no column 'nam'\. Did you mean 'name'\?"):
        open_images(tmp_path / "m.tsv", image_column="photo", label_column="nam")
    with pytest.raises(DataError, match="cannot be the same column"):
        open_images(tmp_path / "m.tsv", image_column="photo", label_column="photo")


def test_taxonets_own_names_win(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,image,label,taxon\np,i,l,t\n")
    table = open_images(tmp_path / "m.csv")
    assert table.frame[["image", "taxon"]].to_numpy().tolist() == [["i", "t"]]


def test_unlabelled_photos(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file\na.jpg\n")
    assert open_images(tmp_path / "m.csv", labelled=False).frame["taxon"].tolist() == [None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image,taxon\n", "has no rows"),
        (b"image,taxon\na.jpg,R\xf6schen\n", "not UTF-8"),
        (b"image,taxon\na.jpg,x\na.jpg,y\n", r"m\.csv: 1 images stand in more than one row"),
        (b'image,taxon\n"a.jpg,x\n', "cannot be read as a table"),
    ],
)
def test_bad_manifests(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_images(tmp_path / "m.csv")


def test_parquet_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_text("image,taxon\n")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        open_images(tmp_path / "m.parquet")


def test_parquet_of_paths(tmp_path: Path) -> None:
    pd.DataFrame({"path": ["a.jpg"], "label": [4], "height": [1.5]}).to_parquet(
        tmp_path / "m.parquet"
    )
    frame = open_images(tmp_path / "m.parquet").frame
    assert frame.to_dict("records") == [{"image": "a.jpg", "taxon": "4", "height": 1.5}]


def test_parquet_with_bytes(tmp_path: Path) -> None:
    table = pa.table({"label": ["x", "y"], "image": pa.array([b"one", b"two"])})
    pq.write_table(table, tmp_path / "photos.parquet")
    opened = open_images(tmp_path / "photos.parquet")
    assert opened.frame["image"].tolist() == ["photos:0", "photos:1"]
    assert [opened.read_bytes(row) for row in range(2)] == [b"one", b"two"]
    assert opened.root is None


@pytest.mark.parametrize(
    ("paths", "ids"),
    [(["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"]), (["a.jpg", "a.jpg"], ["photos:0", "photos:1"])],
)
def test_parquet_with_structs(tmp_path: Path, paths: list[str], ids: list[str]) -> None:
    structs = [{"bytes": b"one", "path": paths[0]}, {"bytes": b"two", "path": paths[1]}]
    pq.write_table(pa.table({"img": structs, "label": ["x", "y"]}), tmp_path / "photos.parquet")
    opened = open_images(tmp_path / "photos.parquet")
    assert opened.frame["image"].tolist() == ids
    assert opened.rows([1]).read_bytes(0) == b"two"


def test_two_columns_of_bytes_are_ambiguous(tmp_path: Path) -> None:
    table = pa.table({"label": ["x"], "photo": pa.array([b"1"]), "mask": pa.array([b"2"])})
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(DataError, match=r"several columns of bytes \(photo, mask\)"):
        open_images(tmp_path / "m.parquet")
    assert open_images(tmp_path / "m.parquet", image_column="mask").read_bytes(0) == b"2"


@pytest.mark.real_data
def test_the_real_collections(real_data: Path) -> None:
    flowers = open_images(real_data / "flowers102/splits.csv")
    assert flowers.split_counts() == {"train": 6149, "val": 510, "test": 1020}
    assert len(flowers.taxon_counts()) == 102
    assert all((flowers.root or Path()).joinpath(name).exists() for name in flowers.frame["image"])
    assert len(open_images(real_data / "leaves/images").taxon_counts()) == 99
    assert len(open_images(real_data / "flickr5/images")) == 1439
    cifar = open_images(real_data / "cifar100-lt-train.parquet")
    assert len(cifar) == 19573
    assert cifar.read_bytes(19572)[:4] == b"RIFF"
