"""The taxa of one taxonomy in another: the same, moved, renamed, divided, merged, or not there.

Nothing is guessed: what could be several taxa is reported as such, and what is not there comes
with similar names that a person may look at.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.taxonomy.matching import match_labels
from taxonet.taxonomy.names import fold_name, near_misses
from taxonet.taxonomy.synonyms import Synonyms
from taxonet.taxonomy.tree import Taxonomy

Fate = Literal["matched", "moved", "renamed", "split", "lumped", "ambiguous", "missing"]

_ONE_TAXON: frozenset[Fate] = frozenset(("matched", "moved", "renamed", "split"))
_SHOWN = 5  # lines of one kind in a summary; the frame has them all


@dataclass(frozen=True)
class Counterpart:
    """What a taxon of the other taxonomy is in this one.

    Args:
        node: The taxon's node in the other taxonomy.
        path: Its path there, as text.
        fate: ``matched``: a taxon of the same name, below the same taxa as far as both taxonomies
            say; ``moved``: of the same name, below another taxon; ``renamed``: of another name, by
            the synonyms; ``split``: one taxon here is this one and others there; ``lumped``:
            several taxa here are this one; ``ambiguous``: the name stands for several taxa, here
            or there, and their places do not tell which; ``missing``: none of these.
        nodes: The taxa here that it is or could be, ascending.
        paths: Their paths, as text.
        suggestions: Up to three similar names here, where missing.
    """

    node: int
    path: str
    fate: Fate
    nodes: tuple[int, ...]
    paths: tuple[str, ...]
    suggestions: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether it is exactly one taxon here."""
        return self.fate in _ONE_TAXON

    def __str__(self) -> str:
        if self.fate == "missing":
            near = ", ".join(map(repr, self.suggestions))
            return f"{self.path!r} is missing" + (f"; near: {near}" if near else "")
        return f"{self.path!r} is {self.fate}: {', '.join(map(repr, self.paths))}"


@dataclass(frozen=True)
class TaxonomyComparison:
    """What each taxon of another taxonomy is in this one.

    Args:
        taxonomy: This taxonomy.
        other: The other one.
        counterparts: One for each node of the other but its root, in its order.
    """

    taxonomy: Taxonomy
    other: Taxonomy
    counterparts: tuple[Counterpart, ...]

    @property
    def counts(self) -> dict[Fate, int]:
        """The number of taxa of each fate, all fates, in the order of `Counterpart`."""
        found = Counter(one.fate for one in self.counterparts)
        return {fate: found[fate] for fate in get_args(Fate)}

    def to_frame(self) -> pd.DataFrame:
        """Return a row for every word that may label a photo of the other taxonomy.

        These are its training labels, and the names of all other taxa (paths, where a name
        repeats). The columns ``label`` and ``path`` are those of ``--taxon-map`` of `taxonet
        evaluate`; ``path`` is empty where the label is not exactly one taxon here. The others are
        for the reader: ``fate``, ``rank`` and ``other_path`` of the taxon there, ``candidates``
        and ``suggestions`` (joined by " | ").
        """
        written = _written(self.taxonomy, self.counterparts)
        rows = []
        for label, node in _labels(self.other):
            one = self.counterparts[node - 1]
            rows.append(
                (
                    label,
                    written.get(one.nodes[0]) if one.found else None,
                    one.fate,
                    self.other.rank_name(node),
                    one.path,
                    None if one.found else " | ".join(one.paths) or None,
                    " | ".join(one.suggestions) or None,
                )
            )
        columns = ["label", "path", "fate", "rank", "other_path", "candidates", "suggestions"]
        return pd.DataFrame(rows, columns=columns, dtype=object)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {fate}" for fate, count in self.counts.items() if count)
        lines = [f"{len(self.counterparts):,} taxa of the other taxonomy: {counts}."]
        for fate in get_args(Fate)[1:]:
            some = [one for one in self.counterparts if one.fate == fate]
            lines += [f"- {one}" for one in some[:_SHOWN]]
            if len(some) > _SHOWN:
                lines.append(f"- and {len(some) - _SHOWN:,} more {fate}")
        return "\n".join(lines)


def compare_taxonomies(
    taxonomy: Taxonomy, other: Taxonomy, *, synonyms: Synonyms | None = None
) -> TaxonomyComparison:
    """Find for each taxon of another taxonomy what it is in this one.

    Names agree where `fold_name` gives the same for both, or where the synonyms lead both to one
    accepted name. Between taxonomies that have ranks in common, ranks must be the same too.

    Args:
        taxonomy: This taxonomy, such as a classifier's.
        other: The other one, such as that of another region's photos.
        synonyms: Which names are other names of which taxa.

    Raises:
        TaxonomyError: The synonyms lead round in a circle.

    Examples:
        >>> here = Taxonomy.from_edges([("Rosaceae", "Prunus"), ("Rosaceae", "Rosa")])
        >>> there = Taxonomy.from_edges([("Rosaceae", "Prunus"), ("Rosaceae", "Rsa")])
        >>> print(compare_taxonomies(here, there))
        2 taxa of the other taxonomy: 1 matched, 1 missing.
        - 'Rsa' is missing; near: 'Rosa'
    """
    pairing = _Pairing(taxonomy, other, synonyms or Synonyms())
    counterparts = [pairing.counterpart(node) for node in range(1, other.size)]
    shared = Counter(one.nodes[0] for one in counterparts if one.found)
    counterparts = [
        replace(one, fate="split") if one.found and shared[one.nodes[0]] > 1 else one
        for one in counterparts
    ]
    return TaxonomyComparison(taxonomy, other, _with_suggestions(taxonomy, other, counterparts))


class _Pairing:
    """Looks up taxa of one tree in another, by name, rank and place."""

    def __init__(self, here: Taxonomy, there: Taxonomy, synonyms: Synonyms) -> None:
        self._here, self._there, self._synonyms = here, there, synonyms
        self._ranks = [rank for rank in there.ranks if rank in here.ranks]
        self._above_here = self._ancestors(here)
        self._above_there = self._ancestors(there)
        self._homonyms = Counter(self._key(there, node) for node in range(1, there.size))
        self._by_name: dict[str, list[int]] = {}
        accepted = {name: synonyms.accepted(name) for name in (*here.names, *there.names)}
        self._accepted = accepted
        for node in range(1, here.size):
            for name in accepted[here.names[node]]:
                self._by_name.setdefault(name, []).append(node)

    def counterpart(self, node: int) -> Counterpart:
        """Return what a node there is here, as if it were the only one."""
        chosen: list[int] = []
        for nodes in self._candidates(node).values():
            group = nodes
            if len(nodes) > 1 or self._homonyms[self._key(self._there, node)] > 1:
                group = [one for one in nodes if self._at_same_place(one, node)]
                if len(group) != 1:
                    return self._made(node, "ambiguous", nodes)
            chosen += group
        if not chosen:
            return self._made(node, "missing", ())
        if len(chosen) > 1:
            return self._made(node, "lumped", chosen)
        if fold_name(self._here.names[chosen[0]]) != fold_name(self._there.names[node]):
            return self._made(node, "renamed", chosen)
        stays = self._at_same_place(chosen[0], node)
        return self._made(node, "matched" if stays else "moved", chosen)

    def _made(self, node: int, fate: Fate, nodes: Sequence[int]) -> Counterpart:
        nodes = tuple(sorted(nodes))
        paths = tuple(self._here.path_text(one) for one in nodes)
        return Counterpart(node, self._there.path_text(node), fate, nodes, paths)

    def _candidates(self, node: int) -> dict[str, list[int]]:
        """Return the nodes here that the names allow, by their own folded name."""
        rank = self._rank(self._there, node)
        names = self._accepted[self._there.names[node]]
        nodes = sorted({one for name in names for one in self._by_name.get(name, ())})
        groups: dict[str, list[int]] = {}
        for one in nodes:
            rank_here = self._rank(self._here, one)
            if rank is None or rank_here is None or rank == rank_here:
                groups.setdefault(fold_name(self._here.names[one]), []).append(one)
        return groups

    def _at_same_place(self, here: int, there: int) -> bool:
        """Say whether two taxa stand below the same ones, by all ranks that both trees know."""
        if not self._ranks:
            ours, theirs = self._here.path(here)[:-1], self._there.path(there)[:-1]
            return len(ours) == len(theirs) and all(map(self._agree, ours, theirs))
        ours, theirs = self._above_here[here], self._above_there[there]
        both = (ours >= 0) & (theirs >= 0)
        return all(
            self._agree(self._here.names[one], self._there.names[other])
            for one, other in zip(ours[both].tolist(), theirs[both].tolist(), strict=True)
        )

    def _agree(self, here: str, there: str) -> bool:
        return not self._accepted[here].isdisjoint(self._accepted[there])

    def _ancestors(self, tree: Taxonomy) -> NDArray[np.int64]:
        """Return the ancestor of each node at each shared rank, -1 for none, ``(n, r)``."""
        nodes = np.arange(tree.size)
        columns = [tree.ancestor_at_rank(nodes, rank) for rank in self._ranks]
        return np.stack(columns, axis=1) if columns else np.zeros((tree.size, 0), dtype=np.int64)

    def _rank(self, tree: Taxonomy, node: int) -> str | None:
        """Return the rank of a node; None in trees that have no rank in common, whatever it is."""
        index = tree.rank[node]
        return tree.ranks[index] if self._ranks and index >= 0 else None

    def _key(self, tree: Taxonomy, node: int) -> tuple[str, str | None]:
        return fold_name(tree.names[node]), self._rank(tree, node)


def _with_suggestions(
    taxonomy: Taxonomy, other: Taxonomy, counterparts: Sequence[Counterpart]
) -> tuple[Counterpart, ...]:
    missing: dict[str | None, list[str]] = {}
    for one in counterparts:
        if one.fate == "missing":
            missing.setdefault(other.rank_name(one.node), []).append(other.names[one.node])
    near = {}
    for rank, names in missing.items():
        nodes = taxonomy.at_rank(rank) if rank in taxonomy.ranks else range(1, taxonomy.size)
        near[rank] = near_misses(names, [taxonomy.names[int(node)] for node in nodes])
    return tuple(
        replace(one, suggestions=near[other.rank_name(one.node)][other.names[one.node]])
        if one.fate == "missing"
        else one
        for one in counterparts
    )


def _labels(tree: Taxonomy) -> list[tuple[str, int]]:
    """Return what may stand for a taxon in a table of photos, each once, and its node."""
    found = dict(tree.labels)
    for node in range(1, tree.size):
        name = tree.names[node]
        found.setdefault(name if len(tree.find(name)) == 1 else tree.path_text(node), node)
    return sorted(found.items(), key=lambda item: (item[1], item[0]))


def _written(taxonomy: Taxonomy, counterparts: Sequence[Counterpart]) -> dict[int, str]:
    """Return a text for each node that was found, by which the taxonomy finds it again.

    A path of one name does not, where that name stands for a label or for other taxa too.
    """
    texts = {one.paths[0]: one.nodes[0] for one in counterparts if one.found}
    matches = match_labels(texts, taxonomy).matches
    written = {node: label for label, node in taxonomy.labels.items()}
    return written | {
        match.nodes[0]: match.label for match in matches if match.nodes == (texts[match.label],)
    }
