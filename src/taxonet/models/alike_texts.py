"""Texts that a text tower cannot tell apart."""

from collections.abc import Sequence
from hashlib import blake2b

from taxonet.models.clip import TextTower

_AT_ONCE = 1024


def alike_texts(tower: TextTower, texts: Sequence[tuple[str, ...]]) -> list[tuple[int, int]]:
    """Return the groups of texts whose tokens are those of an earlier one.

    They have one text, or differ where the tower does not look: behind the end of its places.

    Args:
        tower: The text tower.
        texts: Groups of as many texts each, at least one.

    Returns:
        For each such group its place and that of the first like it, in the order of the texts.
    """
    first: dict[bytes, int] = {}
    found = []
    groups_at_once = max(1, _AT_ONCE // len(texts[0])) if texts else 1
    for start in range(0, len(texts), groups_at_once):
        groups = texts[start : start + groups_at_once]
        tokens = tower.tokenize([text for group in groups for text in group])
        for place, row in enumerate(tokens.view(len(groups), -1), start):
            same = first.setdefault(blake2b(row.numpy().tobytes(), digest_size=16).digest(), place)
            if same != place:
                found.append((place, same))
    return found
