"""What taxonet raises: every message says what was expected, what came, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class TaxonetError(ValueError):
    """The kind of every error that taxonet raises about its input."""


class ConfigError(TaxonetError):
    """An option, recipe or combination of parts that cannot work."""


class TaxonomyError(TaxonetError):
    """A taxonomy table, edge list or name that does not form one tree."""


class DataError(TaxonetError):
    """Images, labels or splits that cannot be used as they are."""


class CheckpointError(TaxonetError):
    """A classifier folder or training checkpoint that is incomplete or of another make."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """End an error message with the nearest known word, or with nothing.

    Examples:
        >>> did_you_mean("dual_margn", ["cross_entropy", "dual_margin"])
        " Did you mean 'dual_margin'?"
        >>> did_you_mean("xyz", ["cross_entropy"])
        ''
    """
    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {matches[0]!r}?" if matches else ""
