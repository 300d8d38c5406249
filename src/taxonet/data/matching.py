"""Labels of any photo set as nodes of a classifier's tree, with a count of what did not match."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.data.sources import open_images
from taxonet.data.table import UNKNOWN_SPLIT, ImageTable
from taxonet.errors import DataError, TaxonomyError, did_you_mean
from taxonet.taxonomy import Taxonomy, clean_name, match_labels

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
    coarse: frozenset[str]
    """Labels among them of taxa that have a class below them, such as the genus of one."""

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
        coarse=_above_classes(labels[~is_known], nodes[~is_known], taxonomy, class_nodes),
    )


def _above_classes(
    labels: "pd.Series[str]",
    nodes: NDArray[np.int64],
    taxonomy: Taxonomy,
    class_nodes: NDArray[np.int64],
) -> frozenset[str]:
    """Return the labels whose nodes are in the tree that the classes span; -1 is none."""
    spanned = taxonomy.spanned_by(class_nodes)[1]
    return frozenset(labels[np.isin(nodes, spanned)])


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


def deepest_known(taxonomy: Taxonomy, class_nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, for every node, the deepest of itself and its ancestors with a class at or below it.

    It is what a classifier can at best say of a taxon that it lacks.

    Args:
        taxonomy: The tree, n nodes.
        class_nodes: Nodes that carried training labels, ``(c,)``.

    Returns:
        int64 ``(n,)``.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Rosa"), ("Rosa", "R. canina"),
        ...                             ("Rosa", "R. gallica"), ("root", "Acer")])
        >>> [tree.names[node] for node in deepest_known(tree, np.array([3]))]
        ['root', 'root', 'Rosa', 'R. canina', 'Rosa']
    """
    spans = np.zeros(len(taxonomy), dtype=bool)
    spans[taxonomy.spanned_by(class_nodes)[1]] = True
    found = np.arange(len(taxonomy))
    for level in taxonomy.level_slices[1:]:
        found[level] = np.where(spans[level], found[level], found[taxonomy.parent[level]])
    return found


def unknown_nodes(
    table: ImageTable, taxonomy: Taxonomy, class_nodes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the true node of each photo of an unknown taxon: its deepest known ancestor.

    Args:
        table: Photos of taxa that are no classes; see `deepest_nodes` for what is told of them.
        taxonomy: The classifier's tree.
        class_nodes: Nodes that carried training labels, ``(c,)``.
    """
    return deepest_known(taxonomy, class_nodes)[deepest_nodes(table, taxonomy)]


def deepest_nodes(table: ImageTable, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """Return the deepest node that is told of each photo's taxon; 0, the root, where none is.

    A label may be a name, label or path of the tree. Of a path such as ``Rosaceae/Rosa/Rosa nova``
    the deepest part counts that is in the tree. Otherwise the finest column of the table counts
    that is called after a rank, such as ``genus``, and whose name one taxon of that rank has.
    Nothing is guessed from the form of a name.

    Args:
        table: Photos.
        taxonomy: The classifier's tree.

    Returns:
        Nodes ``(N,)``.

    Examples:
        >>> import pandas as pd
        >>> tree = Taxonomy.from_table(pd.DataFrame({"genus": ["Rosa"], "species": ["R. canina"]}))
        >>> labels = {"image": ["a", "b", "c"], "taxon": ["R. canina", "Rosa/R. nova", "R. nova"]}
        >>> deepest_nodes(ImageTable(pd.DataFrame(labels)), tree).tolist()
        [2, 1, 0]
        >>> genera = {"genus": ["Acer", "Acer", "Rosa"]}
        >>> deepest_nodes(ImageTable(pd.DataFrame(labels | genera)), tree).tolist()
        [2, 1, 1]
    """
    frame = table.frame
    of_label = _nodes_of_labels(sorted(set(frame["taxon"].dropna())), taxonomy)
    nodes = np.array([of_label.get(label, 0) for label in frame["taxon"]], dtype=np.int64)
    for rank in reversed(taxonomy.ranks):
        if rank in frame:
            of_name = _nodes_of_rank(taxonomy, rank)
            named = [of_name.get(_text(name), 0) for name in frame[rank]]
            nodes = np.where(nodes == 0, named, nodes)
    return nodes


def _nodes_of_labels(labels: Sequence[str], taxonomy: Taxonomy) -> dict[str, int]:
    found = {
        match.label: match.nodes[0]
        for match in match_labels(labels, taxonomy).matches
        if match.found
    }
    return {label: found.get(label) or _of_path(label, taxonomy) for label in labels}


def _of_path(label: str, taxonomy: Taxonomy) -> int:
    """Return the deepest node on the way of a path ``a/b/c``; 0 where it is no path."""
    *above, _ = label.split("/")
    for length in range(len(above), 0, -1):
        try:
            return taxonomy.node([clean_name(part) for part in above[:length]])
        except TaxonomyError:
            continue
    return 0


def _nodes_of_rank(taxonomy: Taxonomy, rank: str) -> dict[str, int]:
    """Return the taxa of a rank by name, without names that two of them have."""
    nodes: dict[str, list[int]] = {}
    for node in taxonomy.at_rank(rank).tolist():
        nodes.setdefault(taxonomy.names[node], []).append(node)
    return {name: several[0] for name, several in nodes.items() if len(several) == 1}


def _text(name: object) -> str:
    return clean_name(name) if isinstance(name, str) else ""


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
