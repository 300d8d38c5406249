"""From a model's words to taxa: strict, and with a reason wherever there is none."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from taxonet.benchmark.chat.names import FoundName, RankNames
from taxonet.benchmark.chat.questions import Reply, shortened
from taxonet.taxonomy import Synonyms, Taxonomy, clean_name, fold_name

Outcome = Literal[
    "named", "abstained", "not in taxonomy", "unparsable", "refused", "no reply", "unreadable"
]
OUTCOMES: tuple[Outcome, ...] = (
    "named",
    "abstained",
    "not in taxonomy",
    "unparsable",
    "refused",
    "no reply",
    "unreadable",
)
"""How asking about a photo can end; all but the first are no name, and count as wrong."""

_LONGEST_REPLY = 30_000  # characters; what looks like JSON takes a time that grows with the square
_OBJECT_BEGINS = re.compile(r'\{\s*["}]')
_NO_NAME = {"", "?", "-", "unknown", "unidentified", "indeterminate", "none", "null", "n/a"}
_NO_SPECIES = re.compile(r"\S+ (?:sp|spp|species)\.?", re.IGNORECASE)
_NO_GENUS_WRITTEN = re.compile(r"[a-z][a-z-]+")
_NOTHING = FoundName(None)


class _Answer(BaseModel):
    """The object that a model is asked for; both keys have to be there."""

    model_config = ConfigDict(strict=True)

    genus: str | None
    species: str | None


class _UnparsableError(Exception):
    """A reply from which no answer can be read; the message says why."""


@dataclass(frozen=True)
class Naming:
    """What a reply names.

    Args:
        outcome: How it ended.
        genus: Node of the genus; None where none is named.
        species: Node of the species; None where none is named.
        reason: What is wrong with the reply, or with the name of one of the two.
    """

    outcome: Outcome
    genus: int | None = None
    species: int | None = None
    reason: str | None = None


class ReplyReader:
    """Reads what replies name.

    Args:
        taxonomy: A tree with the ranks genus and species.
        synonyms: Other names of its taxa.

    Raises:
        TaxonomyError: The tree lacks one of the ranks.

    Examples:
        >>> import pandas as pd
        >>> rows = {"genus": ["Acer", "Rosa"], "species": ["Acer rubrum", "Rosa canina"]}
        >>> tree = Taxonomy.from_table(pd.DataFrame(rows))
        >>> reader = ReplyReader(tree)
        >>> found = reader.read(Reply('{"genus": "Acer", "species": "Acer rubrum L."}'))
        >>> found.outcome, tree.names[found.species]
        ('named', 'Acer rubrum')
        >>> reader.read(Reply("It is a maple.")).reason
        'the reply holds no JSON object'
    """

    def __init__(self, taxonomy: Taxonomy, synonyms: Synonyms | None = None) -> None:
        synonyms = synonyms or Synonyms()
        self._taxonomy = taxonomy
        self._genera = RankNames(taxonomy, "genus", synonyms)
        self._species = RankNames(taxonomy, "species", synonyms)
        self._genus_of = taxonomy.ancestor_at_rank(np.arange(len(taxonomy)), "genus")

    def read(self, reply: Reply) -> Naming:
        """Return what a reply names."""
        if reply.refusal is not None:
            return Naming("refused", reason=reply.refusal)
        try:
            answer = _answer_in(reply.text)
        except _UnparsableError as error:
            cut = "; it was cut off at the largest number of tokens" if reply.cut_off else ""
            return Naming("unparsable", reason=f"{error}{cut}")
        genus_text, species_text = _genus_text(answer), _species_text(answer)
        genus = self._genera.find(genus_text) if genus_text else _NOTHING
        species = self._species.find(species_text) if species_text else _NOTHING
        return self._together(genus, species, genus_text, species_text)

    def _together(
        self, genus: FoundName, species: FoundName, genus_text: str, species_text: str
    ) -> Naming:
        if species.node is not None:
            node = int(self._genus_of[species.node])
            agree = node == genus.node or not genus_text
            # A synonym may have moved the species to another genus than it is written under.
            if not agree and _first_word(species_text) != _first_word(genus_text):
                of_species = self._taxonomy.names[node] if node >= 0 else "no genus"
                return Naming(
                    "unparsable",
                    reason=f"the genus is {shortened(genus_text)!r}, but the species "
                    f"{shortened(species_text)!r} is of {of_species!r}",
                )
            return Naming("named", node if node >= 0 else None, species.node)
        reason = "; ".join(filter(None, (genus.reason, species.reason))) or None
        if genus.node is not None:
            return Naming("named", genus.node, reason=reason)
        return Naming("not in taxonomy" if reason else "abstained", reason=reason)


def _answer_in(text: str) -> _Answer:
    """Return the one answer that a text holds; the same answer twice is one."""
    if len(text) > _LONGEST_REPLY:
        raise _UnparsableError(f"the reply has {len(text):,} characters")
    answers, fault = [], "the reply holds no JSON object"
    for found in _objects_in(text):
        try:
            answer = _Answer.model_validate(found)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            fault = f"the JSON object in the reply has no text or null as {place!r}"
        else:
            if answer not in answers:
                answers.append(answer)
    if len(answers) > 1:
        raise _UnparsableError(f"the reply holds {len(answers)} different answers")
    if not answers:
        raise _UnparsableError(fault)
    return answers[0]


def _objects_in(text: str) -> Iterator[Any]:
    """Yield the outermost JSON objects of a text, whatever stands around them."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats)
    opening = _OBJECT_BEGINS.search(text)
    while opening is not None:
        try:
            found, end = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            end = opening.start() + 1
        else:
            yield found
        opening = _OBJECT_BEGINS.search(text, end)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")  # which of them is meant?
    return dict(pairs)


def _genus_text(answer: _Answer) -> str:
    text = clean_name(answer.genus or "")
    return "" if text.casefold() in _NO_NAME else text


def _species_text(answer: _Answer) -> str:
    """Return the species as a full name; models often give the epithet alone."""
    text = clean_name(answer.species or "")
    if text.casefold() in _NO_NAME or _NO_SPECIES.fullmatch(text):
        return ""
    genus = _genus_text(answer)
    return f"{genus} {text}" if genus and _NO_GENUS_WRITTEN.fullmatch(text) else text


def _first_word(name: str) -> str:
    return fold_name(name).partition(" ")[0]
