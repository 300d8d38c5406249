"""Policies made with a bound that they keep on average over calibration sets."""

from typing import Any

from taxonet.inference.decision.inputs import check_share
from taxonet.inference.decision.policy import FoundT, Policy


class OnAverage(Policy[FoundT]):
    """What policies with one bound alpha have in common; what is bounded, each says itself.

    Args:
        alpha: The bound, in (0, 1).

    Raises:
        ConfigError: An alpha outside (0, 1).
    """

    def __init__(self, alpha: float = 0.05) -> None:
        super().__init__()
        self.alpha = check_share("alpha", alpha)

    def options(self) -> dict[str, Any]:
        """Return alpha."""
        return {"alpha": self.alpha}

    @property
    def promise(self) -> str:
        """What holds for images like the calibration images, in a few words."""
        return f"at most {100 * self.alpha:.3g} % of photos wrong on average"
