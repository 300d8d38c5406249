"""The official files of CIFAR-10 and CIFAR-100: the binary and the Python version.

Reference:
    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009); the layout of both
    versions is described on the set's own page, www.cs.toronto.edu/~kriz/cifar.html.
"""

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taxonet.data.benchmarks.base import find_file
from taxonet.data.benchmarks.unpickling import unpickle_plain
from taxonet.errors import DataError

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


@dataclass(frozen=True)
class CifarLayout:
    """How one of the two sets lies on disk.

    Args:
        name: ``cifar10`` or ``cifar100``.
        stem: What its archives are called by: ``<stem>-binary.tar.gz``, ``<stem>-python.tar.gz``.
        folders: What the archives unpack to: the binary, the Python version.
        binary: Files of the binary version: each split's batches.
        python: The same of the Python version.
        label_bytes: Bytes before the pixels of a record of the binary version; the last is the
            label.
        binary_names: Text files of the class names: the classes, then their superclasses.
        python_names: The pickle of the class names, and its keys likewise.
        python_labels: The key of the labels in a pickled batch, then that of the superclasses.
    """

    name: str
    stem: str
    folders: tuple[str, str]
    binary: Mapping[str, tuple[str, ...]]
    python: Mapping[str, tuple[str, ...]]
    label_bytes: int
    binary_names: tuple[str, ...]
    python_names: tuple[str, ...]
    python_labels: tuple[str, ...]


CIFAR10 = CifarLayout(
    name="cifar10",
    stem="cifar-10",
    folders=("cifar-10-batches-bin", "cifar-10-batches-py"),
    binary={
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    python={
        "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test": ("test_batch",),
    },
    label_bytes=1,
    binary_names=("batches.meta.txt",),
    python_names=("batches.meta", "label_names"),
    python_labels=("labels",),
)
CIFAR100 = CifarLayout(
    name="cifar100",
    stem="cifar-100",
    folders=("cifar-100-binary", "cifar-100-python"),
    binary={"train": ("train.bin",), "test": ("test.bin",)},
    python={"train": ("train",), "test": ("test",)},
    label_bytes=2,
    binary_names=("fine_label_names.txt", "coarse_label_names.txt"),
    python_names=("meta", "fine_label_names", "coarse_label_names"),
    python_labels=("fine_labels", "coarse_labels"),
)


@dataclass(frozen=True, eq=False)
class CifarArrays:
    """Pixels and labels of the splits.

    Args:
        pixels: By split, uint8 ``(N, 32, 32, 3)``.
        labels: By split, names of the classes, ``(N,)``.
        superclasses: The superclass of each class; empty for CIFAR-10.
    """

    pixels: Mapping[str, NDArray[np.uint8]]
    labels: Mapping[str, NDArray[np.str_]]
    superclasses: Mapping[str, str]


def read_official(folder: Path, layout: CifarLayout) -> CifarArrays | None:
    """Read whichever official version is there, the binary one first; None if there is neither.

    The files may lie in ``folder``, in the folder that the archive unpacks to, or in the archive,
    which is read where it is. ``folder`` may be the archive itself.

    Raises:
        DataError: A file is missing, damaged, or asks to run code.
    """
    for version, files, parse in (
        (0, layout.binary, _parse_binary),
        (1, layout.python, _parse_python),
    ):
        names = layout.binary_names if version == 0 else layout.python_names[:1]
        wanted = [*(name for batches in files.values() for name in batches), *names]
        contents = _contents(folder, layout, version, wanted)
        if contents is not None:
            return parse(contents, layout)
    return None


def _contents(
    folder: Path, layout: CifarLayout, version: int, wanted: list[str]
) -> dict[str, bytes] | None:
    """Return the bytes of the wanted files by name, None where this version is not there."""
    folders = [folder, folder / layout.folders[version]]
    home = next((place for place in folders if (place / wanted[0]).is_file()), None)
    if home is not None:
        absent = [name for name in wanted if not (home / name).is_file()]
        _require_all(absent, home)
        return {name: (home / name).read_bytes() for name in wanted}
    archive = f"{layout.stem}-{('binary', 'python')[version]}.tar.gz"
    path = folder if folder.name == archive else find_file([folder], [archive])
    return None if path is None else _members(path, wanted)


def _members(archive: Path, wanted: list[str]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                stream = tar.extractfile(member) if member.isfile() and name in wanted else None
                if stream is not None:
                    contents[name] = stream.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{archive} is damaged or cannot be read: {error}.") from None
    _require_all([name for name in wanted if name not in contents], archive)
    return contents


def _require_all(absent: list[str], place: Path) -> None:
    if absent:
        raise DataError(f"{place} lacks {', '.join(absent)}: take all files of the official set.")


def _parse_binary(contents: Mapping[str, bytes], layout: CifarLayout) -> CifarArrays:
    names = [
        [line for line in contents[file].decode("ascii", "replace").splitlines() if line.strip()]
        for file in layout.binary_names
    ]
    width = layout.label_bytes + _PIXELS
    pixels, codes = {}, {}
    for split, batches in layout.binary.items():
        for batch in batches:
            if len(contents[batch]) % width or not contents[batch]:
                raise DataError(
                    f"{batch} has {len(contents[batch]):,} bytes, which is no whole number of "
                    f"records of {width:,}: it is incomplete or of another set."
                )
        data = np.frombuffer(b"".join(contents[batch] for batch in batches), np.uint8)
        records = data.reshape(-1, width)
        # CIFAR-100 stores the superclass first; the class comes last.
        codes[split] = records[:, layout.label_bytes - 1 :: -1]
        pixels[split] = _upright(records[:, layout.label_bytes :])
    return _named(pixels, codes, names)


def _parse_python(contents: Mapping[str, bytes], layout: CifarLayout) -> CifarArrays:
    file, *keys = layout.python_names
    meta = unpickle_plain(contents[file], source=file)
    names = [list(_entry(meta, key, file, list)) for key in keys]
    pixels, codes = {}, {}
    for split, batches in layout.python.items():
        rows, labels = [], []
        for batch in batches:
            content = unpickle_plain(contents[batch], source=batch)
            data = _entry(content, "data", batch, np.ndarray)
            label = np.array([_entry(content, key, batch, list) for key in layout.python_labels])
            if data.dtype != np.uint8 or data.shape != (label.shape[1], _PIXELS):
                raise DataError(
                    f"{batch}: expected uint8 pixels of shape {(label.shape[1], _PIXELS)}, as "
                    f"many as labels, got {data.dtype} of {data.shape}."
                )
            rows.append(data)
            labels.append(label.T)
        pixels[split] = _upright(np.concatenate(rows))
        codes[split] = np.concatenate(labels)
    return _named(pixels, codes, names)


def _entry(content: Mapping[str, Any], key: str, file: str, kind: type) -> Any:
    if not isinstance(content.get(key), kind):
        raise DataError(f"{file} has no {kind.__name__} {key!r}: it is no file of this set.")
    return content[key]


def _upright(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn rows of red, green and blue planes into images."""
    return rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)  # (N, 32, 32, 3)


def _named(
    pixels: Mapping[str, NDArray[np.uint8]],
    codes: Mapping[str, NDArray[Any]],
    names: list[list[str]],
) -> CifarArrays:
    """Turn codes ``(N, 1)`` or, with superclasses, ``(N, 2)`` into names."""
    for split, columns in codes.items():
        for column, known in zip(columns.T, names, strict=True):
            if column.max() >= len(known) or column.min() < 0:
                raise DataError(
                    f"The {split} part has the label {column.max()}, but there are {len(known)} "
                    "class names, counted from 0: the files are not of one set."
                )
    fine = np.array(names[0])
    labels = {split: fine[columns[:, 0].astype(np.int64)] for split, columns in codes.items()}
    superclasses: dict[str, str] = {}
    if len(names) > 1:
        pairs = np.unique(np.concatenate(list(codes.values())), axis=0)
        if len(pairs) > len(np.unique(pairs[:, 0])):
            raise DataError("A class stands under two superclasses: the files are not of one set.")
        superclasses = {names[0][int(one)]: names[1][int(group)] for one, group in pairs}
    return CifarArrays(pixels, labels, superclasses)
