"""Labels of any photo set as nodes of a classifier's tree, with a count of what did not match."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.data.sources import open_images
from taxonet.data.table import UNKNOWN_SPLIT, ImageTable
from taxonet.errors import DataError, did_you_mean
from taxonet.taxonomy import Taxonomy, match_labels

UNKNOWN = "unknown"


@dataclass(frozen=True)
class MatchedPhotos:
    """Photos sorted by what the classifier can know of them.

    Reference: TaxoNet, section 5.2 ("instance-level matching", in our reading).
    """

    known: ImageTable
    """Photos whose taxon is a class of the classifier."""
    nodes: NDArray[np.int64]
    """Node of each of them, ``(M,)``."""
    unknown: ImageTable
    """Photos that the map calls ``unknown``."""
    dropped: dict[str, int]
    """Label and number of photos of the rest: not in the tree, or no class."""

    @property
    def facts(self) -> dict[str, int]:
        """How many photos and taxa matched and how many did not."""
        return {
            "matched_images": len(self.known),
            "matched_taxa": len(np.unique(self.nodes)),
            "unknown_images": len(self.unknown),
            "dropped_images": sum(self.dropped.values()),
            "dropped_taxa": len(self.dropped),
        }


def match_photos(
    table: ImageTable,
    taxonomy: Taxonomy,
    class_nodes: NDArray[np.int64],
    *,
    taxon_map: Path | None = None,
) -> MatchedPhotos:
    """Find the node of each photo's label, through a map where there is one.

    Args:
        table: Labelled photos.
        taxonomy: The classifier's tree.
        class_nodes: Nodes that carried training labels, ``(c,)``.
        taxon_map: CSV with the columns ``label`` and ``path``; see `read_taxon_map`.

    Raises:
        DataError: The map cannot be read, or says of a label what the tree does not know.
    """
    labels = mapped = table.frame["taxon"]
    if taxon_map is not None:
        meaning = read_taxon_map(taxon_map)
        _require_known(meaning, taxonomy, taxon_map)
        mapped = _through_map(labels, meaning)
    wanted = sorted(set(mapped.dropna()) - {UNKNOWN})
    report = match_labels(wanted, taxonomy)
    node_of = {match.label: match.nodes[0] for match in report.matches if match.found}
    nodes = np.array([node_of.get(label, -1) for label in mapped], dtype=np.int64)
    is_known = np.isin(nodes, class_nodes)
    is_unknown = (mapped == UNKNOWN).to_numpy(dtype=bool)
    lost = labels[~is_known & ~is_unknown].fillna("(no label)").value_counts()
    return MatchedPhotos(
        known=table.rows(is_known),
        nodes=nodes[is_known],
        unknown=table.rows(is_unknown),
        dropped={str(label): int(count) for label, count in lost.items()},
    )


def open_unknown(path: Path, taxonomy: Taxonomy, class_nodes: NDArray[np.int64]) -> ImageTable:
    """Open photos of taxa that a classifier lacks: all, or with splits those of ``unknown``.

    Args:
        path: Photos.
        taxonomy: The classifier's tree.
        class_nodes: Nodes that carried training labels, ``(c,)``.

    Raises:
        DataError: Splits of which none is ``unknown``, or photos of taxa that are classes.
    """
    table = open_images(path)
    splits = table.split_counts()
    if splits and UNKNOWN_SPLIT not in splits:
        raise DataError(
            f"{path}: no photo is in the split {UNKNOWN_SPLIT!r} (splits: {', '.join(splits)}). "
            "Hold taxa out with `taxonet data split --hold-out-taxa`, or take the column `split` "
            "out if all its photos are of unknown taxa."
        )
    table = table.split(UNKNOWN_SPLIT) if splits else table
    stray = match_photos(table, taxonomy, class_nodes).known
    if len(stray):
        raise DataError(
            f"{path}: {len(stray)} photos are of taxa that the classifier knows (first: "
            f"{stray.name(0)}, {stray.frame['taxon'].iloc[0]}). Photos of unknown taxa must be of "
            "others; take them out."
        )
    return table


def read_taxon_map(path: Path) -> dict[str, str]:
    """Read what another set's labels mean here.

    The column ``path`` holds a label or unique name of the classifier's taxonomy, a full path
    such as ``Rosaceae/Rosa/Rosa canina``, or ``unknown``.

    Raises:
        DataError: The file cannot be read, a column is missing, or a label has two meanings.
    """
    try:
        # A label may read NA; a row may end after its label.
        frame = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False).fillna("")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a CSV with the columns label and path: {error}"
        ) from None
    for column in ("label", "path"):
        if column not in frame:
            raise DataError(
                f"{path} needs the columns label and path; {column} is missing."
                f"{did_you_mean(column, frame.columns)}"
            )
    labels, paths = frame["label"].str.strip(), frame["path"].str.strip()
    twice = labels[labels.duplicated()]
    if len(twice):
        raise DataError(f"{path} maps {twice.iloc[0]!r} twice; keep one row a label.")
    return dict(zip(labels, paths, strict=True))


def _require_known(meaning: dict[str, str], taxonomy: Taxonomy, path: Path) -> None:
    """Refuse a map with a slip: what it means to map would be dropped in silence."""
    wanted = sorted(set(meaning.values()) - {UNKNOWN, ""})
    problems = match_labels(wanted, taxonomy).problems
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems[:10])
        raise DataError(
            f"{path} maps to {len(problems)} taxa that the classifier's taxonomy does not have:\n"
            f"{lines}\nWrite a label, a unique name or a full path of it, or `{UNKNOWN}`."
        )


def _through_map(labels: pd.Series, meaning: dict[str, str]) -> pd.Series:
    """Translate the labels that the map has; the others keep their own name."""
    return labels.map(lambda label: meaning.get(label, label))
