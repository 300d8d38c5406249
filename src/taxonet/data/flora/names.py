"""Latin binomials put together from syllables; a likeness to a real taxon is an accident."""

import numpy as np

_SOFT = ("b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t", "v", "z")
_ONSETS = (*_SOFT, "", "br", "cl", "dr", "fl", "gr", "pr", "qu", "sc", "st", "th", "tr")
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("r", "r", "l", "l", "n", "n", "s", "m", "t", "v", "d", "nd", "lt", "rr", "mp", "lv", "rn")
# A genus ending fixes the gender, with which an adjectival epithet agrees.
_GENUS_ENDINGS = {"a": "f", "ia": "f", "ella": "f", "is": "f", "us": "m", "um": "n", "ium": "n"}
_EPITHET_ENDINGS = (
    {"f": "ensis", "m": "ensis", "n": "ense"},
    {"f": "ana", "m": "anus", "n": "anum"},
    {"f": "ica", "m": "icus", "n": "icum"},
    {"f": "osa", "m": "osus", "n": "osum"},
    {"f": "ata", "m": "atus", "n": "atum"},
    {"f": "ina", "m": "inus", "n": "inum"},
)


def genus_name(rng: np.random.Generator, taken: set[str]) -> str:
    """Return a capitalised genus name that is not in ``taken``, and add it there."""
    endings = tuple(_GENUS_ENDINGS)
    while True:
        name = (_stem(rng) + endings[rng.integers(len(endings))]).capitalize()
        # Two genera of one stem would give two families the same name.
        if _without_ending(name) not in taken:
            taken.add(_without_ending(name))
            return name


def species_name(rng: np.random.Generator, genus: str, taken: set[str]) -> str:
    """Return a binomial of ``genus`` that is not in ``taken``, and add it there.

    The epithet agrees with the gender of the genus.
    """
    gender = _GENUS_ENDINGS[genus.removeprefix(_without_ending(genus))]
    while True:
        ending = _EPITHET_ENDINGS[rng.integers(len(_EPITHET_ENDINGS))]
        name = f"{genus} {_stem(rng)}{ending[gender]}"
        if name not in taken:
            taken.add(name)
            return name


def family_name(type_genus: str) -> str:
    """Return the family name that a type genus gives.

    Examples:
        >>> family_name("Velmoria")
        'Velmoraceae'
    """
    return _without_ending(type_genus) + "aceae"


def _without_ending(genus: str) -> str:
    longest_first = sorted(_GENUS_ENDINGS, key=len, reverse=True)
    return genus.removesuffix(next(e for e in longest_first if genus.endswith(e)))


def _stem(rng: np.random.Generator) -> str:
    """Join two or three open syllables and a consonant."""
    stem = _pick(rng, _ONSETS) + _pick(rng, _VOWELS)
    for _ in range(rng.choice([1, 2], p=[0.8, 0.2])):
        stem += _pick(rng, _SOFT) + _pick(rng, _VOWELS)
    return stem + _pick(rng, _CODAS)


def _pick(rng: np.random.Generator, parts: tuple[str, ...]) -> str:
    return parts[rng.integers(len(parts))]
