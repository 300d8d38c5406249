"""What is in a collection of photos, and what is wrong with it, before anything is trained."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.data.decoding import BrokenImage, decode, file_bytes
from taxonet.data.duplicates import Fingerprint, fingerprint, near_groups
from taxonet.data.long_tail import shot_groups
from taxonet.data.table import ImageTable
from taxonet.progress import Progress
from taxonet.taxonomy import Taxonomy, match_labels

# A fingerprint looks at 16 x 16 pixels: decoding more than a few times that is waste.
_SIDE_FOR_FINGERPRINT = 72


@dataclass(frozen=True)
class BrokenFile:
    """An image that cannot be used, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class LabelProblem:
    """A label that stands for no taxon, or for several; ``suggestions`` are near names."""

    label: str
    images: int
    problem: str
    suggestions: tuple[str, ...]


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are the same photo, with the splits and labels they have.

    ``leaks`` says that the photo is in more than one split: a test that was trained on.
    """

    images: tuple[str, ...]
    splits: tuple[str, ...]
    taxa: tuple[str, ...]
    leaks: bool


@dataclass(frozen=True)
class Inspection:
    """What `inspect_images` found.

    Args:
        images: Number of images.
        unlabelled: How many have no label.
        split_counts: Images of each split.
        label_counts: Images of each label.
        training_counts: Training images of each label (all images where there are no splits).
        rank_counts: For each rank, images of each taxon by its path; empty without a taxonomy.
        shot_groups: Number of labels in each shot group, by their training images (by all
            images where there are no splits).
        labels_without_training: Labels that occur in other splits only.
        classes_without_images: Labels of the taxonomy (its leaves, where it has no labels) with
            no image at or below them.
        label_problems: Labels that do not stand for one taxon.
        broken: Files that cannot be used.
        exact_duplicates: Groups of equal files (SHA-256).
        near_duplicates: Groups of different files with nearly equal pictures.
        notes: What the reader of the collection left out.
    """

    images: int
    unlabelled: int
    split_counts: dict[str, int]
    label_counts: dict[str, int]
    training_counts: dict[str, int]
    rank_counts: dict[str, dict[str, int]]
    shot_groups: dict[str, int]
    labels_without_training: tuple[str, ...]
    classes_without_images: tuple[str, ...]
    label_problems: tuple[LabelProblem, ...]
    broken: tuple[BrokenFile, ...]
    exact_duplicates: tuple[DuplicateGroup, ...]
    near_duplicates: tuple[DuplicateGroup, ...]
    notes: tuple[str, ...]

    @property
    def leaks(self) -> tuple[DuplicateGroup, ...]:
        """The duplicates that are in more than one split."""
        return tuple(g for g in (*self.exact_duplicates, *self.near_duplicates) if g.leaks)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values that JSON can hold."""
        return asdict(self)


def inspect_images(
    table: ImageTable,
    taxonomy: Taxonomy | None = None,
    *,
    near_distance: int = 4,
    progress: Progress | None = None,
) -> Inspection:
    """Read every image once and report counts, broken files, duplicates and label problems.

    Args:
        table: The images.
        taxonomy: Where the labels are looked up; without it, nothing is said of ranks.
        near_distance: Bits of 64 by which the difference hashes of near duplicates may differ;
            see `near_groups`.
        progress: Advanced by one for each image.
    """
    training = table
    if "split" in table.frame:
        training = table.rows((table.frame["split"] == "train").to_numpy())
    training_counts = training.taxon_counts()
    label_counts = table.taxon_counts()
    by_taxonomy = _TaxonomyView(label_counts, taxonomy)
    files = _read_files(table, progress)
    exact, near = _find_duplicates(table, files, near_distance)
    return Inspection(
        images=len(table),
        unlabelled=int(table.frame["taxon"].isna().sum()),
        split_counts=table.split_counts(),
        label_counts=label_counts,
        training_counts=training_counts,
        rank_counts=by_taxonomy.rank_counts(),
        shot_groups=_count_groups(list(training_counts.values())),
        labels_without_training=tuple(sorted(set(label_counts) - set(training_counts))),
        classes_without_images=by_taxonomy.classes_without_images(),
        label_problems=by_taxonomy.problems,
        broken=files.broken,
        exact_duplicates=exact,
        near_duplicates=near,
        notes=table.notes,
    )


def _count_groups(training_counts: list[int]) -> dict[str, int]:
    groups = shot_groups(training_counts).tolist()
    return {name: groups.count(name) for name in ("many", "medium", "few")}


class _TaxonomyView:
    """The labels as the taxonomy sees them."""

    def __init__(self, label_counts: dict[str, int], taxonomy: Taxonomy | None) -> None:
        self._taxonomy = taxonomy
        self.problems: tuple[LabelProblem, ...] = ()
        if taxonomy is None:
            return
        report = match_labels(label_counts, taxonomy)
        found = [match for match in report.matches if match.found]
        self._nodes = np.array([match.nodes[0] for match in found], dtype=np.int64)
        self._images = np.array([label_counts[match.label] for match in found], dtype=np.int64)
        self.problems = tuple(
            LabelProblem(match.label, label_counts[match.label], str(match), match.suggestions)
            for match in report.problems
        )

    def rank_counts(self) -> dict[str, dict[str, int]]:
        if self._taxonomy is None:
            return {}
        counts = {}
        for rank in self._taxonomy.ranks:
            at_rank = self._taxonomy.ancestor_at_rank(self._nodes, rank)
            images = pd.Series(self._images).groupby(at_rank).sum()
            counts[rank] = {
                self._taxonomy.path_text(int(node)): int(images[node])
                for node in images.index
                if node >= 0
            }
        return counts

    def classes_without_images(self) -> tuple[str, ...]:
        taxonomy = self._taxonomy
        if taxonomy is None:
            return ()
        seen = np.zeros(taxonomy.size, dtype=bool)
        seen[self._nodes] = True
        # Parents come before their children, so one pass from the end carries sights upward.
        for node in range(taxonomy.size - 1, 0, -1):
            if seen[node]:
                seen[taxonomy.parent[node]] = True
        if taxonomy.labels:
            return tuple(label for label, node in taxonomy.labels.items() if not seen[node])
        unseen = taxonomy.leaves[~seen[taxonomy.leaves]]
        return tuple(taxonomy.path_text(int(node)) for node in unseen)


@dataclass(frozen=True)
class _Files:
    """What reading gave: rows, digests and fingerprints of the good images; the broken ones."""

    rows: NDArray[np.int64]
    digests: list[str]
    prints: dict[str, Fingerprint]  # by digest: equal files look equal
    broken: tuple[BrokenFile, ...]


def _read_files(table: ImageTable, progress: Progress | None) -> _Files:
    rows: list[int] = []
    digests: list[str] = []
    prints: dict[str, Fingerprint] = {}
    broken: list[BrokenFile] = []
    for row in range(len(table)):
        source = table.source(row)
        try:
            data = file_bytes(source)
            image = decode(data, at_least=_SIDE_FOR_FINGERPRINT)
        except BrokenImage as error:
            broken.append(BrokenFile(table.name(row), error.reason))
        else:
            rows.append(row)
            digests.append(sha256(data).hexdigest())
            prints[digests[-1]] = fingerprint(image)
        if progress is not None:
            progress.advance()
    return _Files(np.array(rows, dtype=np.int64), digests, prints, tuple(broken))


def _find_duplicates(
    table: ImageTable, files: _Files, near_distance: int
) -> tuple[tuple[DuplicateGroup, ...], tuple[DuplicateGroup, ...]]:
    groups = near_groups(list(files.prints.values()), near_distance=near_distance)
    group_of = dict(zip(files.prints, groups.tolist(), strict=True))
    digests = pd.Series(files.digests, dtype=object)
    exact = _members(digests)
    near = [
        members
        for members in _members(digests.map(group_of))
        if digests.iloc[members].nunique() > 1
    ]
    return (
        tuple(_describe(table, files.rows[members]) for members in exact),
        tuple(_describe(table, files.rows[members]) for members in near),
    )


def _members(keys: pd.Series) -> list[NDArray[np.int64]]:
    """Return the positions of each key that occurs more than once, by first position."""
    repeated = keys[keys.duplicated(keep=False)]
    return [
        positions.to_numpy() for positions in repeated.groupby(repeated, sort=False).groups.values()
    ]


def _describe(table: ImageTable, rows: NDArray[np.int64]) -> DuplicateGroup:
    frame = table.frame.iloc[rows]
    splits = _distinct(frame["split"]) if "split" in frame else ()
    return DuplicateGroup(
        images=tuple(frame["image"]),
        splits=splits,
        taxa=_distinct(frame["taxon"]),
        leaks=len(splits) > 1,
    )


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value is not None}))
