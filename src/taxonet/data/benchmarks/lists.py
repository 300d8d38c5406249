"""ImageNet-LT and Places-LT: a folder of images, and lists of ``path label`` lines."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from taxonet.data.benchmarks.base import BenchmarkSet, find_file, require_folder
from taxonet.data.benchmarks.checks import (
    ExpectedCounts,
    require_counts,
    require_files,
    require_unique,
)
from taxonet.data.table import ImageTable
from taxonet.errors import DataError
from taxonet.registry import BENCHMARK_SETS


@dataclass(frozen=True)
class _Lists:
    """One of the sets: what its lists are called by, and its figures."""

    name: str
    stem: str
    expected: ExpectedCounts


# Liu et al. (CVPR 2019), section 4, and the lists ImageNet_LT_{train,val,test}.txt: the
# validation list has 20 images a class, the test list is ImageNet's own validation part.
_IMAGENET = _Lists(
    "imagenet-lt",
    "ImageNet_LT",
    ExpectedCounts(
        classes=1_000, train=115_846, val=20_000, test=50_000, largest=1_280, smallest=5
    ),
)
# The public lists Places_LT_{train,test}.txt, whose training part is smaller than the 184.5
# thousand images that Liu et al. (CVPR 2019) print.
_PLACES = _Lists(
    "places-lt",
    "Places_LT",
    ExpectedCounts(classes=365, train=62_500, test=36_500, largest=4_980, smallest=5),
)


@BENCHMARK_SETS.register("imagenet-lt")
def imagenet_lt(
    folder: str | Path,
    *,
    lists: Path | None = None,
    check_counts: bool = True,
    check_files: bool = True,
) -> BenchmarkSet:
    """Read ImageNet-LT: the images of ImageNet 2012 that three lists name.

    Labels are the numbers of the lists. The images are looked for under the lists' own paths,
    ``train/n01440764/...`` and ``val/n01440764/...``, so the validation images lie in a folder a
    class.

    Args:
        folder: Holds ``train`` and ``val``.
        lists: Folder of ``ImageNet_LT_train.txt``, ``ImageNet_LT_val.txt`` (may be left out) and
            ``ImageNet_LT_test.txt``; by default the images' folder or ``ImageNet_LT`` in it.
        check_counts: Hold the set against its published figures.
        check_files: Look whether every image is there.

    Raises:
        DataError: A list or an image is missing, a line is malformed, or the figures differ.

    Reference:
        Liu et al., "Large-Scale Long-Tailed Recognition in an Open World" (CVPR 2019), section 4.
    """
    return _read(_IMAGENET, folder, lists, check_counts=check_counts, check_files=check_files)


@BENCHMARK_SETS.register("places-lt")
def places_lt(
    folder: str | Path,
    *,
    lists: Path | None = None,
    check_counts: bool = True,
    check_files: bool = True,
) -> BenchmarkSet:
    """Read Places-LT: the images of Places365-Standard that three lists name; see `imagenet_lt`.

    The lists are ``Places_LT_train.txt``, ``Places_LT_val.txt`` and ``Places_LT_test.txt``, in
    the images' folder or ``Places_LT`` in it; their paths are ``train/airfield/...`` and
    ``val/airfield/...``, as the archive called easyformat has them.
    """
    return _read(_PLACES, folder, lists, check_counts=check_counts, check_files=check_files)


def read_list(path: Path) -> list[tuple[str, str]]:
    """Return the image and the label of each line of a list; blank lines are skipped.

    Raises:
        DataError: A line is not a path and a label, with its number.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The list {path} cannot be read: {error}.") from None
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        image, _, label = line.strip().rpartition(" ")
        if not image or not label.isdecimal():
            raise DataError(
                f"Line {number} of {path}: expected a path, a space and a class number, got "
                f"{line[:80]!r}."
            )
        pairs.append((image.strip(), label))
    return pairs


def _read(
    made_of: _Lists,
    folder: str | Path,
    lists: Path | None,
    *,
    check_counts: bool,
    check_files: bool,
) -> BenchmarkSet:
    root = require_folder(folder, holds="the images, as the lists name them")
    places = [Path(lists)] if lists is not None else [root, root / made_of.stem]
    frames = []
    for split in ("train", "val", "test"):
        name = f"{made_of.stem}_{split}.txt"
        path = find_file(places, [name])
        if path is None and split == "val":
            continue
        if path is None:
            raise DataError(
                f"No {name} in {' or '.join(map(str, places))}: put the public lists there, or "
                "name their folder (--lists)."
            )
        pairs = read_list(path)
        require_unique([image for image, _ in pairs], source=str(path))
        frames.append(pd.DataFrame(pairs, columns=["image", "taxon"]).assign(split=split))
    frame = pd.concat(frames, ignore_index=True)
    require_unique(frame["image"].tolist(), source=f"The lists {made_of.stem}_*.txt together")
    if check_files:
        require_files(root, frame["image"], name=made_of.name)
    images = ImageTable(frame, root=root)
    if check_counts:
        require_counts(images, _as_listed(images, made_of.expected), name=made_of.name)
    return BenchmarkSet(images)


def _as_listed(images: ImageTable, expected: ExpectedCounts) -> ExpectedCounts:
    """Expect validation images only where their list is there: it may be left out."""
    return expected if "val" in images.split_counts() else replace(expected, val=None)
