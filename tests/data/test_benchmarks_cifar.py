import codecs
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from taxonet.data import exponential_profile, load_image, open_images
from taxonet.data.benchmarks import cifar10_lt, cifar100_lt
from taxonet.data.benchmarks.unpickling import unpickle_plain
from taxonet.errors import DataError

NAMES10 = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]
FINE = [f"fine{number:02d}" for number in range(100)]
COARSE = [f"coarse{number:02d}" for number in range(20)]


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 did, which is how CIFAR's own files were made."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)
    write: Callable[[bytes], object]

    def save_bytes(self, data: bytes) -> None:
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)

    dispatch[bytes] = save_bytes


def python2_pickle(value: Any) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def pixels_of(split: str, label: int, count: int) -> NDArray[np.uint8]:
    """Images (count, 3, 32, 32) that differ in every class, split and place."""
    values = np.arange(count * 3072, dtype=np.int64).reshape(count, 3, 32, 32)
    return ((values * 7 + label * 13 + (split == "test")) % 251).astype(np.uint8)


def records(split: str, classes: int, each: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Labels and pixel rows, the classes in turn."""
    labels = np.tile(np.arange(classes), each)
    rows = np.stack([pixels_of(split, label, each) for label in range(classes)], axis=1)
    return labels, rows.reshape(-1, 3072)


def binary10(each: int = 10) -> dict[str, bytes]:
    labels, rows = records("train", 10, each)
    whole = np.concatenate([labels[:, None].astype(np.uint8), rows], axis=1)
    files = {
        f"data_batch_{number}.bin": part.tobytes()
        for number, part in enumerate(np.array_split(whole, 5), start=1)
    }
    labels, rows = records("test", 10, 1)
    test = np.concatenate([labels[:, None].astype(np.uint8), rows], axis=1)
    return {
        **files,
        "test_batch.bin": test.tobytes(),
        "batches.meta.txt": ("\n".join(NAMES10) + "\n\n").encode(),
    }


def python10(each: int = 10) -> dict[str, bytes]:
    labels, rows = records("train", 10, each)
    batches = zip(np.array_split(labels, 5), np.array_split(rows, 5), strict=True)
    files = {
        f"data_batch_{number}": python2_pickle({b"labels": part.tolist(), b"data": data})
        for number, (part, data) in enumerate(batches, start=1)
    }
    labels, rows = records("test", 10, 1)
    return {
        **files,
        "test_batch": python2_pickle({b"labels": labels.tolist(), b"data": rows}),
        "batches.meta": python2_pickle({b"label_names": [name.encode() for name in NAMES10]}),
    }


def files100(*, python: bool) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for split, each in (("train", 2), ("test", 1)):
        fine, rows = records(split, 100, each)
        coarse = fine // 5
        if python:
            content = {
                b"fine_labels": fine.tolist(),
                b"coarse_labels": coarse.tolist(),
                b"data": rows,
            }
            files[split] = python2_pickle(content)
        else:
            labels = np.stack([coarse, fine], axis=1).astype(np.uint8)
            files[f"{split}.bin"] = np.concatenate([labels, rows], axis=1).tobytes()
    if python:
        names = {b"fine_label_names": FINE, b"coarse_label_names": COARSE}
        as_bytes = {key: [name.encode() for name in value] for key, value in names.items()}
        return {**files, "meta": python2_pickle(as_bytes)}
    return {
        **files,
        "fine_label_names.txt": "\n".join(FINE).encode(),
        "coarse_label_names.txt": "\n".join(COARSE).encode(),
    }


def as_folder(root: Path, folder: str, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_bytes(data)
    return root


def as_archive(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def ten_in_binary_folder(root: Path) -> Path:
    return as_folder(root, "cifar-10-batches-bin", binary10())


def ten_in_binary_archive(root: Path) -> Path:
    as_archive(root / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", binary10())
    return root


def ten_as_binary_archive(root: Path) -> Path:
    return as_archive(root / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", binary10())


def ten_without_a_folder(root: Path) -> Path:
    return as_folder(root, ".", binary10())


def ten_in_python_folder(root: Path) -> Path:
    return as_folder(root, "cifar-10-batches-py", python10())


def ten_in_python_archive(root: Path) -> Path:
    as_archive(root / "cifar-10-python.tar.gz", "cifar-10-batches-py", python10())
    return root


@pytest.mark.parametrize(
    "make",
    [
        ten_in_binary_folder,
        ten_in_binary_archive,
        ten_as_binary_archive,
        ten_without_a_folder,
        ten_in_python_folder,
        ten_in_python_archive,
    ],
)
def test_every_form_gives_the_same_cut_with_its_exact_pixels(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    found = cifar10_lt(make(tmp_path / "form"), imbalance=5_000, check_counts=False)
    other = cifar10_lt(
        ten_in_binary_folder(tmp_path / "other"), imbalance=5_000, check_counts=False
    )
    assert found.images.frame.equals(other.images.frame)
    assert found.taxonomy is None
    training = found.images.split("train")
    # By hand: 5000 * 5000**(-k/9) from k = 6 on is 17.1, 6.6, 2.6, 1; ten a class are there.
    assert list(training.taxon_counts().values()) == [10] * 7 + [6, 2, 1]
    assert found.images.split("test").taxon_counts() == dict.fromkeys(NAMES10, 1)
    for row in range(len(found.images)):
        split, name = found.images.name(row).removesuffix(".png").split("/")
        place, label = divmod(int(name), 10)
        assert found.images.frame["taxon"].iat[row] == NAMES10[label]
        expected = pixels_of(split, label, 10 if split == "train" else 1)[place]
        image = np.asarray(load_image(found.images.source(row)))
        assert np.array_equal(image, expected.transpose(1, 2, 0))


def test_the_seed_decides_which_images_stay(tmp_path: Path) -> None:
    folder = ten_in_binary_folder(tmp_path)
    cuts = [
        cifar10_lt(folder, imbalance=5_000, seed=seed, check_counts=False).images
        for seed in (0, 0, 1)
    ]
    names = [cut.split("train").frame["image"].tolist() for cut in cuts]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("python", [True, False])
def test_the_superclasses_of_cifar_100_are_its_taxonomy(tmp_path: Path, python: bool) -> None:
    folder = f"cifar-100-{'python' if python else 'binary'}"
    root = as_folder(tmp_path, folder, files100(python=python))
    found = cifar100_lt(root, imbalance=1, check_counts=False)
    assert found.ranks == ("superclass", "category")
    assert found.taxonomy is not None
    assert found.taxonomy.to_dict("list") == {
        "superclass": [COARSE[number // 5] for number in range(100)],
        "category": FINE,
        "label": FINE,
    }
    assert found.images.taxon_counts() == dict.fromkeys(FINE, 3)
    assert found.images.source(101) == found.images.read_bytes(101)
    image = np.asarray(Image.open(io.BytesIO(found.images.read_bytes(101))))
    assert np.array_equal(image, pixels_of("train", 1, 2)[1].transpose(1, 2, 0))


def test_a_set_of_the_wrong_size_is_no_benchmark(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"train images: expected 50,000, found 100; test images: expected 10,000"
    ):
        cifar10_lt(ten_in_binary_folder(tmp_path))


def test_a_saved_cut_is_what_train_reads(tmp_path: Path) -> None:
    found = cifar10_lt(ten_in_binary_folder(tmp_path), imbalance=5_000, check_counts=False)
    found.images.save(tmp_path / "lt.parquet")
    back = open_images(tmp_path / "lt.parquet")
    assert back.frame.equals(found.images.frame)
    assert back.read_bytes(5) == found.images.read_bytes(5)


def test_nothing_there_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "cifar100.parquet").write_bytes(b"the other set")
    with pytest.raises(DataError, match=r"holds no cifar10: .*cifar-10-binary\.tar\.gz"):
        cifar10_lt(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_batch_3.bin": None}, r"lacks data_batch_3\.bin"),
        ({"data_batch_3.bin": b"short"}, r"data_batch_3\.bin has 5 bytes"),
        ({"test_batch.bin": b""}, r"test_batch\.bin has 0 bytes"),
        ({"test_batch.bin": bytes([10]) + bytes(3072)}, "test part has the label 10, but there"),
    ],
)
def test_a_faulty_file_is_named(
    tmp_path: Path, change: dict[str, bytes | None], message: str
) -> None:
    files = {name: data for name, data in {**binary10(), **change}.items() if data is not None}
    with pytest.raises(DataError, match=message):
        cifar10_lt(as_folder(tmp_path, "cifar-10-batches-bin", files), check_counts=False)


def test_a_cut_archive_is_named(tmp_path: Path) -> None:
    archive = ten_as_binary_archive(tmp_path)
    archive.write_bytes(archive.read_bytes()[:2_000])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz is damaged"):
        cifar10_lt(archive)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({b"labels": [1]}, "test_batch has no ndarray 'data'"),
        ({b"labels": [1], b"data": np.zeros((2, 3072), np.uint8)}, r"expected .*\(1, 3072\)"),
        ({b"data": np.zeros((1, 3072), np.uint8)}, "test_batch has no list 'labels'"),
        ([1, 2], "test_batch must hold a dictionary, but holds a list"),
    ],
)
def test_a_pickle_of_another_kind_is_named(tmp_path: Path, batch: Any, message: str) -> None:
    files = {**python10(), "test_batch": python2_pickle(batch)}
    with pytest.raises(DataError, match=message):
        cifar10_lt(as_folder(tmp_path, "cifar-10-batches-py", files), check_counts=False)


class Malicious:
    """What an attacker puts into a pickle: it creates a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    attack = pickle.dumps({"labels": Malicious(mark)}, protocol=2)
    pickle.loads(attack)
    assert mark.exists()  # the attack works where nothing stands in its way
    mark.unlink()
    files = {**python10(), "data_batch_1": attack}
    with pytest.raises(DataError, match=r"data_batch_1 asks for \w+\..* It was not run"):
        cifar10_lt(as_folder(tmp_path, "cifar-10-batches-py", files))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("attack", "asked"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", r"os\.system"),
        (b"(S'true'\nios\nsystem\n.", r"os\.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", r"builtins\.eval"),
        (b"cnumpy.core.multiarray\nfromfile\n.", r"numpy\.core\.multiarray\.fromfile"),
        (b"cnumpy\nload\n.", r"numpy\.load"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", r"numpy\.ndarray\.dumps"),
        (pickle.dumps(codecs.encode, protocol=2), r"_codecs\.encode"),
        (pickle.dumps(np.zeros(1), protocol=4), r"numpy\._core"),
    ],
)
def test_only_three_names_are_known(attack: bytes, asked: str) -> None:
    with pytest.raises(DataError, match=f"batch asks for {asked}"):
        unpickle_plain(attack, source="batch")


def test_arrays_of_objects_are_refused() -> None:
    attack = python2_pickle({b"data": np.array([None])})
    with pytest.raises(DataError, match="type 'O8' is in the pickle"):
        unpickle_plain(attack, source="batch")


@pytest.mark.parametrize("data", [b"", b"no pickle", python2_pickle({b"a": 1})[:-3], b"\x80\x09."])
def test_a_damaged_pickle_is_told(data: bytes) -> None:
    with pytest.raises(DataError, match="batch is damaged or no pickle"):
        unpickle_plain(data, source="batch")


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> None:
    pq.write_table(pa.table(columns), path)


def parquet10(folder: Path, *, each: int, order: bool) -> None:
    rows = [(name, rank) for name in NAMES10 for rank in range(each)]
    columns: dict[str, list[Any]] = {
        "label": [name for name, _ in rows],
        "image": [f"{name}{rank}".encode() for name, rank in rows],
        "split": ["train"] * len(rows),
    }
    if order:
        columns["order"] = [rank for _, rank in rows]
    write_parquet(folder / "cifar10-train.parquet", columns)
    images = [name.encode() for name in NAMES10]
    write_parquet(folder / "cifar10-test.parquet", {"label": NAMES10, "image": images})


def test_parquet_with_an_order_keeps_the_first_of_each_class(tmp_path: Path) -> None:
    parquet10(tmp_path, each=5_000, order=True)
    found = cifar10_lt(tmp_path, imbalance=100, check_counts=False).images
    training = found.split("train")
    profile = exponential_profile(5_000, 100, 10)
    assert list(training.taxon_counts().values()) == profile.tolist()
    last = training.frame["taxon"] == "truck"
    assert sorted(training.frame["order"][last]) == list(range(50))
    assert training.read_bytes(len(training) - 1) == b"truck49"
    assert found.split("test").taxon_counts() == dict.fromkeys(NAMES10, 1)


def test_labels_that_are_numbers_stand_in_their_order(tmp_path: Path) -> None:
    rows = [(str(label), rank) for label in range(100) for rank in range(500)]
    columns: dict[str, list[Any]] = {
        "label": [label for label, _ in rows],
        "image": [b"x"] * len(rows),
        "order": [rank for _, rank in rows],
    }
    write_parquet(tmp_path / "cifar100-train.parquet", columns)
    names = [str(label) for label in range(100)]
    write_parquet(tmp_path / "cifar100-test.parquet", {"label": names, "image": [b"x"] * 100})
    found = cifar100_lt(tmp_path, imbalance=100, check_counts=False).images
    counts = found.split("train").taxon_counts()
    profile = exponential_profile(500, 100, 100)
    assert [counts[str(label)] for label in range(100)] == profile.tolist()


def test_parquet_without_an_order_is_shuffled_by_the_seed(tmp_path: Path) -> None:
    parquet10(tmp_path, each=10, order=False)
    cuts = [
        cifar10_lt(tmp_path, imbalance=5_000, seed=seed, check_counts=False).images
        for seed in (0, 1)
    ]
    training = [cut.split("train") for cut in cuts]
    bytes_kept = [sorted(map(part.read_bytes, range(len(part)))) for part in training]
    assert bytes_kept[0] != bytes_kept[1]
    assert list(cuts[0].split("train").taxon_counts().values()) == [10] * 7 + [6, 2, 1]


def test_a_tail_that_was_cut_longer_already_is_told(tmp_path: Path) -> None:
    parquet10(tmp_path, each=4_000, order=True)
    with pytest.raises(DataError, match=r"hold 4000 training images of 'airplane', but .* 5000"):
        cifar10_lt(tmp_path, imbalance=10)


def test_parquet_that_does_not_say_its_part_is_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "cifar10.parquet", {"label": ["ship"], "image": [b"s"]})
    with pytest.raises(DataError, match="which part of the set"):
        cifar10_lt(tmp_path)
    write_parquet(tmp_path / "cifar10.parquet", {"label": ["ship"], "path": ["s"]})
    with pytest.raises(DataError, match="no column of encoded images"):
        cifar10_lt(tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize(("factor", "train"), [(100, 10_847), (50, 12_608), (10, 19_573)])
def test_the_real_cifar_100_lt_is_as_published(real_data: Path, factor: int, train: int) -> None:
    found = cifar100_lt(real_data, imbalance=factor).images
    assert found.split_counts() == {"train": train, "test": 10_000}
    counts = found.split("train").taxon_counts()
    assert list(counts.values()) == exponential_profile(500, factor, 100).tolist()
    assert load_image(found.source(0)).size == (32, 32)


@pytest.mark.real_data
def test_a_longer_head_than_the_real_files_have_is_refused(real_data: Path) -> None:
    with pytest.raises(DataError, match="Ask for a larger imbalance factor"):
        cifar100_lt(real_data, imbalance=5)


@pytest.mark.real_data
def test_the_real_cifar_10_is_cut_by_the_seed(real_data: Path) -> None:
    found = cifar10_lt(real_data, imbalance=100).images
    assert found.split_counts() == {"train": 12_406, "test": 10_000}
    other = cifar10_lt(real_data, imbalance=100, seed=1).images
    assert set(other.frame["image"]) != set(found.frame["image"])
