"""Names that are wrong with a probability of at most alpha, said with confidence 1 - delta."""

from typing import Any, Literal

import numpy as np
from scipy.special import bdtr

from taxonet.errors import ConfigError
from taxonet.inference.decision.grouped import Names, ThresholdPolicy
from taxonet.inference.decision.inputs import check_share
from taxonet.inference.decision.likely import LOWEST_THRESHOLD_PROB, FloatArray, IntArray
from taxonet.inference.decision.mistakes import threshold_leaving
from taxonet.registry import POLICIES

Among = Literal["photos", "names"]

# Thresholds tried where they are tried at once: each one costs certainty, so they are few.
_GRID = np.arange(50, 101) / 100


@POLICIES.register("risk_controlled")
class RiskControlled(ThresholdPolicy):
    r"""Names the deepest node such that P(wrong) is at most alpha, with confidence 1 - delta.

    .. math:: P(R(\hat t) > \alpha) \le \delta, \quad R(t) = P(\text{the name at } t
        \text{ is neither the truth nor an ancestor of it})

    The outer probability is over the calibration images, which were drawn independently from
    where the new ones come from. The root is never wrong, so the risk is over all photos, named
    or not: a classifier that names a tenth of them may be wrong on a part alpha of all. With
    ``among="names"`` it is over the photos that get a name, P(wrong given named).

    *How.* Learn then Test: the hypothesis of a threshold is that its risk exceeds alpha, and
    thresholds with rejected hypotheses are safe. The loss is 0 or 1, so that the number of wrong
    names is binomial and ``P(Bin(n, alpha) <= wrong)`` is an exact p-value; the Hoeffding-Bentkus
    bound is for losses in between, and is never smaller. Over all photos the thresholds of 6
    decimals are tested from 1 downwards, each at delta, until one is not rejected (fixed-sequence
    testing). Wrong names only grow on the way, so that this ends at the largest number of them
    that is still rejected. Among names neither risk nor sequence is monotone, and at the
    strictest thresholds nothing is named; so 0.50, 0.51, ..., 1.00 are tested at once, each at
    delta / 51 (Bonferroni), given the number of names there, and the smallest rejected is taken.

    With groups, each of G groups gets a threshold at delta / G, so that all of them keep
    P(wrong given the group) <= alpha at once with confidence 1 - delta, and all photos too.

    Args:
        alpha: Risk to stay below, in (0, 1).
        delta: Probability that the calibration images mislead, in (0, 1).
        among: ``photos``, or ``names`` for the photos named below the root.

    Raises:
        ConfigError: An option out of range.

    Reference:
        Angelopoulos, Bates, Candès, Jordan, Lei, Learn then Test, arXiv 2110.01052, Theorem 1
        and its fixed-sequence testing.

    Examples:
        >>> import torch
        >>> from taxonet.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Tilia")])
        >>> probs = torch.tensor([[1.0, 0.875, 0.125]] * 98 + [[1.0, 0.625, 0.375]] * 20)
        >>> truth = [1] * 98 + [2] * 20
        >>> policy = RiskControlled(0.05, 0.05).fit(probs, truth, tree)
        >>> policy.found.groups[0].threshold_prob  # at 0.625 and below, 20 of 118 are wrong
        0.625001
        >>> policy.decide(torch.tensor([[1.0, 0.75, 0.25], [1.0, 0.4, 0.6]]), tree).tolist()
        [1, 0]
        >>> few = RiskControlled(0.05, 0.05).fit(probs[:40], truth[:40], tree)
        >>> few.decide(probs[:2], tree).tolist()
        [0, 0]
        >>> few.notes[0].split(". ")[0]
        'no threshold keeps the promise, so every answer is the root'
        >>> few.notes[0].split(". ")[1]
        '40 images without a wrong name show a risk of at most 7.22 %, and 59 are needed for 5 %.'
    """

    kind = "risk_controlled"

    def __init__(
        self, alpha: float = 0.05, delta: float = 0.05, *, among: Among = "photos"
    ) -> None:
        super().__init__()
        self.alpha, self.delta = check_share("alpha", alpha), check_share("delta", delta)
        if among not in ("photos", "names"):
            raise ConfigError(f"Expected among 'photos' or 'names', got {among!r}.")
        self.among = among

    def options(self) -> dict[str, Any]:
        """Return alpha, delta and among."""
        return {"alpha": self.alpha, "delta": self.delta, "among": self.among}

    @property
    def is_about_names(self) -> bool:
        """Whether the risk is among names."""
        return self.among == "names"

    @property
    def promise(self) -> str:
        """What holds for images like the calibration images, in a few words."""
        return (
            f"at most {100 * self.alpha:.3g} % of {self.among} wrong, with confidence "
            f"{100 * (1 - self.delta):.3g} %"
        )

    def _threshold(self, names: Names, *, n_groups: int) -> float | None:
        level = self._level(n_groups)
        if self.among == "photos":
            images = len(names.wrong_prob)
            p_values = bdtr(np.arange(images + 1.0), images, self.alpha)  # ascending
            safe = int(np.count_nonzero(p_values <= level))
            return threshold_leaving(
                names.wrong_prob, wrong=safe - 1, lowest_prob=LOWEST_THRESHOLD_PROB
            )
        p_values = bdtr(
            _reaching(names.wrong_prob).astype(float), _reaching(names.named_prob), self.alpha
        )
        rejected = _GRID[p_values <= level]
        return float(rejected[0]) if rejected.size else None

    def _reachable(self, images: int, *, n_groups: int) -> str:
        level = self._level(n_groups)
        needed = int(np.ceil(np.log(level) / np.log1p(-self.alpha)))
        what = "images" if self.among == "photos" else "named images"
        return (
            f"{images} {what} without a wrong name show a risk of at most "
            f"{100 * smallest_alpha(images, level):.3g} %, and {needed} are needed for "
            f"{100 * self.alpha:.3g} %."
        )

    def _level(self, n_groups: int) -> float:
        at_once = 1 if self.among == "photos" else len(_GRID)
        return self.delta / (n_groups * at_once)


def smallest_alpha(images: int, delta: float) -> float:
    """Return the smallest risk that images without a wrong name can show: 1 - delta ** (1 / n).

    Args:
        images: Number of calibration images, at least 1.
        delta: One minus the confidence, in (0, 1).

    Examples:
        >>> round(smallest_alpha(40, 0.05), 3), round(smallest_alpha(1000, 0.05), 4)
        (0.072, 0.003)
    """
    return float(-np.expm1(np.log(delta) / images))


def _reaching(highest_prob: FloatArray) -> IntArray:
    """Count the images that reach each threshold of the grid."""
    below: IntArray = np.searchsorted(np.sort(highest_prob), _GRID)
    return len(highest_prob) - below
