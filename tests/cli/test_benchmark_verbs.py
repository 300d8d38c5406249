from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from taxonet.data import open_images
from taxonet.data.fetching import RemoteFile, RemoteSet, catalogue
from tests.cli.conftest import Command
from tests.data.test_benchmarks_cifar import as_folder, binary10, files100
from tests.data.test_benchmarks_inaturalist import FILES_2018, NAMED, write
from tests.file_server import Served, serving
from tests.helpers import save_photo

LIST = b"train/a.jpg 0\n"


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of one set, which no server has."""
    file = RemoteFile("list.txt", "http://x.invalid/list.txt", "14 bytes", "a page")
    small = RemoteSet("lists", "Be kind.", (file,), "Fetch the photos.")
    monkeypatch.setattr(catalogue, "CATALOGUE", {"lists": small})
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.usefixtures("lists")
def test_fetch_says_what_it_would_do_and_does_nothing(taxonet: Command, tmp_path: Path) -> None:
    ran = taxonet("data", "fetch", "lists", "--out", tmp_path / "out")
    assert ran.code == 2
    assert ran.err.splitlines() == [
        f"lists to {tmp_path / 'out'}:",
        "  list.txt, 14 bytes",
        "    from      http://x.invalid/list.txt",
        "    checksum  none is published; the SHA-256 of the first copy is recorded beside it",
        "    read in   a page",
        "Terms: Be kind.",
        "By hand: Fetch the photos.",
        "Error: Nothing was downloaded. The same command with --yes accepts the terms and "
        "downloads.",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("lists")
def test_fetch_downloads_from_a_mirror_when_told_yes(taxonet: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(Served({"/m/list.txt": LIST})) as address:
        ran = taxonet("data", "fetch", "lists", "--out", out, "--yes", "--url", f"{address}/m")
    assert ran.code == 0, ran.err
    assert ran.out == f"{out}\n"
    assert (out / "list.txt").read_bytes() == LIST
    assert (out / "list.txt.sha256").read_text("utf-8").startswith(sha256(LIST).hexdigest())
    # It is told before it is fetched.
    assert ran.err.index("Terms: Be kind.") < ran.err.index("Next: taxonet data import lists")


@pytest.mark.usefixtures("lists")
def test_fetch_ends_with_bad_input_where_a_server_has_nothing(
    taxonet: Command, tmp_path: Path
) -> None:
    with serving(Served({})) as address:
        ran = taxonet("data", "fetch", "lists", "--out", tmp_path, "--yes", "--url", address)
    assert ran.code == 1
    assert "answered 404" in ran.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cifar100-l"], "Did you mean 'cifar100-lt'?"),
        (["cifar100-lt", "--only", "x"], "cifar100-lt has no file 'x'."),
    ],
)
def test_fetch_refuses_names_it_does_not_know(
    taxonet: Command, words: list[str], message: str
) -> None:
    ran = taxonet("data", "fetch", *words)
    assert ran.code == 2
    assert message in ran.message


def test_import_writes_a_manifest_and_a_taxonomy(taxonet: Command, tmp_path: Path) -> None:
    write(tmp_path / "inat", {**FILES_2018, "categories.json": NAMED})
    for name in ("1/a.jpg", "0/b.jpg", "1/c.jpg"):
        save_photo(tmp_path / "inat" / "train_val2018" / "Plantae" / name, 1)
    out = tmp_path / "made" / "inat.csv"
    ran = taxonet(
        "data", "import", "inat2018", tmp_path / "inat", "--out", out, "--no-check-counts"
    )
    assert ran.code == 0, ran.err
    assert ran.out == f"{out}\n"
    assert "3 photos of 2 classes: train 2, test 1." in ran.message
    taxonomy = tmp_path / "made" / "taxonomy.csv"
    assert f"Next: taxonet train {out} --taxonomy {taxonomy} --out runs/inat2018" in ran.message
    assert (
        open_images(out).read_bytes(0)
        == (tmp_path / "inat" / "train_val2018" / "Plantae" / "1" / "a.jpg").read_bytes()
    )
    table = pd.read_csv(taxonomy, dtype=str)
    assert table["label"].tolist() == ["1", "0"]
    assert table["species"].tolist() == ["Rosa canina", "Quercus robur"]
    checked = taxonet("data", "inspect", out, "--taxonomy", taxonomy)
    assert "labels that are no taxon" not in checked.err


def test_import_of_pixels_writes_parquet_and_names_unusual_ranks(
    taxonet: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_folder(tmp_path / "cifar", "cifar-100-binary", files100(python=False))
    ran = taxonet("data", "import", "cifar100-lt", "cifar", "--no-check-counts")
    assert ran.code == 0, ran.err
    assert (
        "Next: taxonet train cifar100-lt.parquet --taxonomy taxonomy.csv --ranks superclass "
        "--ranks category --out runs/cifar100-lt"
    ) in ran.message
    assert len(open_images(tmp_path / "cifar100-lt.parquet")) == 300
    again = taxonet("data", "import", "cifar100-lt", "cifar", "--no-check-counts")
    assert again.code == 2
    assert "cifar100-lt.parquet exists already" in again.message


def test_import_passes_the_options_of_cifar_on(taxonet: Command, tmp_path: Path) -> None:
    as_folder(tmp_path, "cifar-10-batches-bin", binary10())
    out = tmp_path / "lt.parquet"
    options = ["--imbalance", "5000", "--seed", "1", "--no-check-counts"]
    ran = taxonet("data", "import", "cifar10-lt", tmp_path, "--out", out, *options)
    assert ran.code == 0, ran.err
    assert "train 79, test 10." in ran.message


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["cifar10-lt", "--lists", "x"], 2, "'cifar10-lt' has no option 'lists'."),
        (["inat2018", "--seed", "1"], 2, "'inat2018' has no option 'seed'."),
        (["cifar10"], 2, "No benchmark set is called 'cifar10'. Did you mean 'cifar10-lt'?"),
        (["cifar10-lt", "--imbalance", "0.5"], 2, "greater than or equal to 1"),
        (["places-lt"], 1, "No Places_LT_train.txt"),
    ],
)
def test_import_says_what_is_wrong(
    taxonet: Command, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    ran = taxonet("data", "import", words[0], tmp_path, *words[1:])
    assert ran.code == code
    assert message in ran.message


def test_the_sets_are_listed_with_their_options(taxonet: Command) -> None:
    ran = taxonet("list", "benchmark-sets")
    text = " ".join(ran.out.replace("│", " ").split())
    assert "cifar100-lt imbalance=100, seed=0, check_counts=True" in text
    assert "places-lt lists=None, check_counts=True, check_files=True" in text
