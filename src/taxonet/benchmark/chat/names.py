"""Names as a chat model writes them, found among the taxa of one rank. Nothing is corrected."""

import re
from dataclasses import dataclass

from taxonet.benchmark.chat.questions import shortened
from taxonet.taxonomy import Synonyms, Taxonomy, clean_name, fold_name, near_misses

_MOST_WORDS = 8  # of a name; "Quercus × hispanica" has three
_AROUND = "(),.;[]"
# Small words that stand in authors' names: "Mill. ex Link f.", "(L.) van der Berg".
_JOINING = frozenset({"&", "and", "et", "ex", "in"})
_PARTICLES = _JOINING | frozenset(
    {"al", "auct", "bis", "da", "de", "den", "der", "des", "di", "du", "f", "fil", "hort", "la"}
    | {"le", "nom", "non", "sensu", "ter", "van", "von"}
)
_BELOW_SPECIES = re.compile(r"\b(?:subsp|ssp|var|f|forma)\.? (?!ex\b|et\b|in\b)[a-z][a-z-]+\b")


@dataclass(frozen=True)
class FoundName:
    """What a name stands for.

    Args:
        node: Its node; None where there is none, or no telling which.
        reason: Why there is none.
    """

    node: int | None
    reason: str | None = None


class RankNames:
    """The taxa of a rank by name.

    A name is found in any spelling that `fold_name` makes equal, under an accepted name of the
    synonyms, and with authors or a taxon below the species after it. A near miss is not found;
    it is named in the reason.

    Args:
        taxonomy: The tree.
        rank: One of its ranks.
        synonyms: Other names of taxa.

    Examples:
        >>> import pandas as pd
        >>> tree = Taxonomy.from_table(pd.DataFrame({"species": ["Quercus alba", "Acer rubrum"]}))
        >>> names = RankNames(tree, "species", Synonyms())
        >>> tree.names[names.find("quercus alba L.").node]
        'Quercus alba'
        >>> names.find("Quercus albo").reason
        "the species 'Quercus albo' is not in the taxonomy (near: 'Quercus alba')"
    """

    def __init__(self, taxonomy: Taxonomy, rank: str, synonyms: Synonyms) -> None:
        self._taxonomy, self._rank, self._synonyms = taxonomy, rank, synonyms
        self._nodes: dict[str, list[int]] = {}
        for node in taxonomy.at_rank(rank).tolist():
            self._nodes.setdefault(fold_name(taxonomy.names[node]), []).append(node)

    def find(self, text: str) -> FoundName:
        """Return the taxon that a text names."""
        words = clean_name(text).split()
        for length in range(min(len(words), _MOST_WORDS), 0, -1):
            if not self._is_no_part_of_the_name(words[length:]):
                continue
            nodes = self._of_name(" ".join(words[:length]))
            if len(nodes) == 1:
                return FoundName(nodes[0])
            if nodes:
                paths = " or ".join(repr(self._taxonomy.path_text(node)) for node in nodes)
                return FoundName(None, f"the {self._rank} {shortened(text)!r} could be {paths}")
        return FoundName(None, self._unknown(text))

    def _of_name(self, name: str) -> list[int]:
        accepted = sorted(self._synonyms.accepted(name))
        found = {node for other in accepted for node in self._nodes.get(other, ())}
        # An accepted name that the tree lacks says nothing against the name itself.
        return sorted(found) or self._nodes.get(fold_name(name), [])

    def _is_no_part_of_the_name(self, words: list[str]) -> bool:
        # "Rosa L., Rubus L." are two genera: what the tree knows as a taxon is no author.
        others = any(self._taxonomy.find(word.strip(_AROUND)) for word in words)
        return not others and is_after_a_name(" ".join(words))

    def _unknown(self, text: str) -> str:
        known = (self._taxonomy.names[node] for nodes in self._nodes.values() for node in nodes)
        near = near_misses([text], known)[text]
        hint = f" (near: {', '.join(map(repr, near))})" if near else ""
        return f"the {self._rank} {shortened(text)!r} is not in the taxonomy{hint}"


def is_after_a_name(rest: str) -> bool:
    """Say whether what follows a name is its authors, a year, or a taxon below it.

    Examples:
        >>> [is_after_a_name(rest) for rest in ("(L.) Mill. ex DC., 1768", "var. alba Lam.")]
        [True, True]
        >>> [is_after_a_name(rest) for rest in ("or Rosa", "and Rosa", "× macrocarpa", "?")]
        [False, False, False, False]
    """
    words = _BELOW_SPECIES.sub(" ", rest).split()
    return all(map(_is_of_an_author, words)) and (not words or words[0] not in _JOINING)


def _is_of_an_author(word: str) -> bool:
    bare = word.strip(_AROUND)
    if not bare:
        return False
    return (
        bare[0].isupper()
        or bare in _PARTICLES
        or bare.startswith(("d'", "d’"))
        or (bare.isdecimal() and len(bare) == 4)
    )
