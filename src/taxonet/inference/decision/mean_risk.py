"""Names that are wrong with a probability of at most alpha, on average over calibration sets."""

import numpy as np

from taxonet.inference.decision.grouped import Names, ThresholdPolicy, Thresholds
from taxonet.inference.decision.likely import LOWEST_THRESHOLD_PROB
from taxonet.inference.decision.mistakes import threshold_leaving
from taxonet.inference.decision.on_average import OnAverage
from taxonet.registry import POLICIES


@POLICIES.register("mean_risk_controlled")
class MeanRiskControlled(OnAverage[Thresholds], ThresholdPolicy):
    r"""Names the deepest node such that P(wrong) is at most alpha on average.

    .. math:: E[R(\hat t)] \le \alpha, \quad \hat t = \min \Big\{ t : \frac{n \hat R(t) + 1}{n + 1}
        \le \alpha \Big\}

    with the share of wrong names :math:`\hat R(t)` among n calibration images. The mean is over
    calibration sets and the new image: the risk of one calibration
    set's threshold may be over alpha, often for nearly half of the sets. `RiskControlled` bounds
    the share of such sets; it names less.

    The risk is over all photos, and the root is never wrong. With groups, each group keeps alpha
    by itself, given how many images of it there are.

    Args:
        alpha: Mean risk to stay below, in (0, 1).

    Raises:
        ConfigError: An alpha outside (0, 1).

    Reference:
        Angelopoulos, Bates, Fisch, Lei, Schuster, Conformal Risk Control, arXiv 2208.02814,
        Theorem 1, with losses of at most B = 1.

    Examples:
        >>> import torch
        >>> from taxonet.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Tilia")])
        >>> probs = torch.tensor([[1.0, 0.875, 0.125]] * 17 + [[1.0, 0.625, 0.375]] * 2)
        >>> policy = MeanRiskControlled(0.1).fit(probs, [1] * 17 + [2] * 2, tree)
        >>> policy.found.groups[0].threshold_prob  # (2 + 1) / 20 > 0.1
        0.625001
    """

    kind = "mean_risk_controlled"

    def _threshold(self, names: Names, *, n_groups: int) -> float | None:
        return threshold_leaving(
            names.wrong_prob,
            wrong=wrong_allowed(len(names.wrong_prob), self.alpha),
            lowest_prob=LOWEST_THRESHOLD_PROB,
        )

    def _reachable(self, images: int, *, n_groups: int) -> str:
        return (
            f"{images} images without a wrong name show a mean risk of at most "
            f"{100 / (images + 1):.3g} %, and {int(np.ceil(1 / self.alpha)) - 1} are needed for "
            f"{100 * self.alpha:.3g} %."
        )


def wrong_allowed(images: int, alpha: float) -> int:
    """Return the largest number of wrong names k with (k + 1) / (n + 1) <= alpha, -1 if none.

    It is n minus the rank of the split-conformal quantile, the ceiling of (n + 1)(1 - alpha).

    Examples:
        >>> wrong_allowed(19, 0.1), wrong_allowed(9, 0.1), wrong_allowed(8, 0.1)
        (1, 0, -1)
    """
    shares = np.arange(1, images + 1) / (images + 1)
    return int(np.count_nonzero(shares <= alpha)) - 1
