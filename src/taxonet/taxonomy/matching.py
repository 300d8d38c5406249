"""Which labels a taxonomy knows, and which names a reference list knows. Nothing is corrected."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.errors import TaxonomyError
from taxonet.taxonomy.names import clean_name, fold_name, near_misses
from taxonet.taxonomy.readers import rank_columns
from taxonet.taxonomy.tables import TableSource, read

if TYPE_CHECKING:
    from taxonet.taxonomy.tree import Taxonomy

How = Literal["label", "name", "path", "spelling", "ambiguous", "unmatched"]

_SHOWN = 10  # lines of one kind in a message; a frame has them all


@dataclass(frozen=True)
class LabelMatch:
    """What one label stands for.

    Args:
        label: The label as it was given.
        how: It is an entry of the label column, a name that one node has, a full path, another
            spelling (case, underscores, hybrid sign) of exactly one of these, an ``ambiguous``
            name, or ``unmatched``.
        nodes: The one node; several where ambiguous; none where unmatched.
        paths: The paths of these nodes, as text.
        suggestions: Up to three similar labels and names, where unmatched.
    """

    label: str
    how: How
    nodes: tuple[int, ...]
    paths: tuple[str, ...]
    suggestions: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the label stands for exactly one node."""
        return len(self.nodes) == 1

    def __str__(self) -> str:
        if self.how == "unmatched":
            return f"{self.label!r} matches nothing{_suggested(self.suggestions)}"
        if self.how == "ambiguous":
            return f"{self.label!r} could be {' or '.join(map(repr, self.paths))}"
        return f"{self.label!r} is {self.paths[0]!r} (by {self.how})"


@dataclass(frozen=True)
class UnknownName:
    """A name that the reference list does not have.

    Args:
        name: The name.
        where: ``label``, or the rank of the taxonomy's node (``node`` where it has none).
        suggestions: Up to three similar names of the reference.
    """

    name: str
    where: str
    suggestions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where} {self.name!r} is not in the reference{_suggested(self.suggestions)}"


@dataclass(frozen=True)
class NameReport:
    """How labels match a taxonomy, and its names a reference.

    Args:
        matches: One for each distinct label, in the order of first appearance.
        unknown_names: Names that the reference does not have; None without a reference.
    """

    matches: tuple[LabelMatch, ...]
    unknown_names: tuple[UnknownName, ...] | None = None

    @property
    def problems(self) -> tuple[LabelMatch, ...]:
        """The labels that do not stand for exactly one node."""
        return tuple(match for match in self.matches if not match.found)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a label: label, how, path (several joined by " | "), suggestions."""
        rows = [
            (match.label, match.how, " | ".join(match.paths), " | ".join(match.suggestions))
            for match in self.matches
        ]
        return pd.DataFrame(rows, columns=["label", "how", "path", "suggestions"])

    def __str__(self) -> str:
        found = len(self.matches) - len(self.problems)
        lines = [f"{found} of {len(self.matches)} labels stand for one taxon."]
        lines += _first(self.problems)
        if self.unknown_names is not None:
            lines.append(f"{len(self.unknown_names)} names are not in the reference.")
            lines += _first(self.unknown_names)
        return "\n".join(lines)


def match_labels(
    labels: Iterable[str], taxonomy: "Taxonomy", reference: TableSource | None = None
) -> NameReport:
    """Report what each label stands for, and which names a reference list does not know.

    Args:
        labels: Training labels, such as folder names; repeats count once.
        taxonomy: Where they are looked up, as :meth:`Taxonomy.resolve` does.
        reference: A list of accepted names: a table with rank columns (species, genus, ...). Each
            name of the taxonomy is looked up in the column of its rank (in all columns where it
            has none; not at all where the list lacks its rank), and each unmatched label in all.

    Examples:
        >>> from taxonet.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_edges([("Cornales", "Philadelphus"), ("Cornales", "Deutzia")])
        >>> print(match_labels(["deutzia", "Phildelphus"], tree))
        1 of 2 labels stand for one taxon.
        - 'Phildelphus' matches nothing; near: 'Philadelphus'
    """
    matches = _match(dict.fromkeys(labels), taxonomy)
    if reference is None:
        return NameReport(matches)
    unmatched = [match.label for match in matches if match.how == "unmatched"]
    return NameReport(matches, _unknown_names(unmatched, taxonomy, reference))


def resolve_labels(labels: Sequence[str], taxonomy: "Taxonomy") -> NDArray[np.int64]:
    """Return the node of each label; see :meth:`Taxonomy.resolve`."""
    report = match_labels(labels, taxonomy)
    if report.problems:
        raise TaxonomyError(
            f"{len(report.problems)} of {len(report.matches)} labels do not stand for one taxon:\n"
            + "\n".join(_first(report.problems))
            + "\nCorrect them, or map them with a label column in the taxonomy's table."
        )
    node = {match.label: match.nodes[0] for match in report.matches}
    return np.array([node[label] for label in labels], dtype=np.int64)


def _match(labels: Iterable[str], taxonomy: "Taxonomy") -> tuple[LabelMatch, ...]:
    exact = {label: _exact(clean_name(label), taxonomy) for label in labels}
    rest = [label for label, (_, nodes) in exact.items() if not nodes]
    if rest:
        spellings = _spellings(rest, taxonomy)
        for label in rest:
            nodes = spellings[fold_name(label)]
            exact[label] = ("spelling" if nodes else "unmatched"), tuple(sorted(nodes))
    unmatched = [label for label, (_, nodes) in exact.items() if not nodes]
    suggestions = near_misses(unmatched, [*taxonomy.labels, *taxonomy.names])
    return tuple(
        LabelMatch(
            label=label,
            how="ambiguous" if len(nodes) > 1 else how,
            nodes=nodes,
            paths=tuple(taxonomy.path_text(node) for node in nodes),
            suggestions=suggestions.get(label, ()),
        )
        for label, (how, nodes) in exact.items()
    )


def _exact(label: str, taxonomy: "Taxonomy") -> tuple[How, tuple[int, ...]]:
    if label in taxonomy.labels:
        return "label", (taxonomy.labels[label],)
    if nodes := taxonomy.find(label):
        return "name", nodes
    if "/" in label:
        try:
            return "path", (taxonomy.node(label.split("/")),)
        except TaxonomyError:
            pass
    return "unmatched", ()


def _spellings(labels: Iterable[str], taxonomy: "Taxonomy") -> dict[str, set[int]]:
    """Find the nodes whose name or label equals one of the labels in folded form."""
    nodes: dict[str, set[int]] = {fold_name(label): set() for label in labels}
    for name, node in chain(zip(taxonomy.names, count(), strict=False), taxonomy.labels.items()):
        if (folded := fold_name(name)) in nodes:
            nodes[folded].add(node)
    return nodes


def _unknown_names(
    labels: Sequence[str], taxonomy: "Taxonomy", reference: TableSource
) -> tuple[UnknownName, ...]:
    listed = _read_names(reference)
    everything = {fold: name for names in listed.values() for fold, name in names.items()}
    asked: dict[str, dict[str, None]] = {"label": dict.fromkeys(labels)}
    for name, rank in zip(taxonomy.names[1:], taxonomy.rank[1:].tolist(), strict=True):
        where = taxonomy.ranks[rank] if rank >= 0 else "node"
        asked.setdefault(where, {})[name] = None
    unknown: list[UnknownName] = []
    for where, names in asked.items():
        if where in taxonomy.ranks and where not in listed:
            continue
        known = listed.get(where, everything)
        missing = [name for name in names if fold_name(name) not in known]
        near = near_misses(missing, known.values())
        unknown += [UnknownName(name, where, near[name]) for name in missing]
    return tuple(unknown)


def _read_names(reference: TableSource) -> Mapping[str, dict[str, str]]:
    """Read the names of each rank, by their folded form."""
    table = read(reference, has_header=lambda _: True)
    listed = {}
    for rank, column in rank_columns(table, None).items():
        vocabulary: dict[str, int] = {}
        table.encode(column, vocabulary)
        listed[rank] = {fold_name(name): name for name in vocabulary}
    return listed


def _suggested(suggestions: Sequence[str]) -> str:
    return f"; near: {', '.join(map(repr, suggestions))}" if suggestions else ""


def _first(lines: Sequence[object]) -> list[str]:
    shown = [f"- {line}" for line in lines[:_SHOWN]]
    return [*shown, f"- and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else shown
