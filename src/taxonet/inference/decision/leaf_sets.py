"""Sets of leaves that hold the true one with a probability of at least 1 - alpha."""

from math import inf
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from taxonet.inference.decision.covers import BoolArray, covering_node
from taxonet.inference.decision.inputs import prob_blocks
from taxonet.inference.decision.learnt import LearntPolicy
from taxonet.inference.decision.likely import PROB_DECIMALS, FloatArray, IntArray
from taxonet.inference.decision.mean_risk import wrong_allowed
from taxonet.inference.decision.on_average import OnAverage
from taxonet.inference.decision.policy import Found, Images
from taxonet.registry import POLICIES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import max_up


class LeafSetsFound(Found):
    """The bound on what may be more probable than a leaf of the set.

    Attributes:
        images: Number of calibration images.
        mass_above: At least 0, a probability; None where only the set of all leaves is safe.
    """

    images: Images
    mass_above: Annotated[float, Field(ge=0)] | None


@POLICIES.register("leaf_sets")
class LeafSets(OnAverage[LeafSetsFound], LearntPolicy[LeafSetsFound]):
    r"""Gives sets of leaves that hold the true one with a probability of at least 1 - alpha.

    .. math:: S(x) = \{ v : m(x, v) \le \hat q \}, \quad m(x, v) = \sum_{u : P(u) > P(v)} P(u)

    with :math:`\hat q` the :math:`\lceil (n + 1)(1 - \alpha) \rceil`-th smallest m of the true
    leaves of n calibration images (split conformal prediction). This is the cumulative score of
    adaptive prediction sets without randomisation, up to but not including the leaf itself: so
    the most probable leaf is always in, no set is empty, and where that leaf is right often
    enough the sets are single leaves. The other common score, 1 - P(v) (LAC), makes sets that are
    smaller on average by leaving hard images with none, and these have no node to name.

    The promise is over calibration sets and a new image of the same kind. A true node above the
    leaves (a coarse label, an unknown taxon) counts as held where a leaf below it is. `decide`
    names the deepest node on or above the whole set, which is right wherever the set holds the
    true leaf; a true node above the leaves it may pass.

    Args:
        alpha: Share of sets that may miss, in (0, 1).

    Raises:
        ConfigError: An alpha outside (0, 1).

    Reference:
        Romano, Sesia, Candès, Classification with Valid and Adaptive Coverage, arXiv 2006.02544;
        Sadinle, Lei, Wasserman, Least Ambiguous Set-Valued Classifiers, arXiv 1609.00451 (LAC).

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Quercus"),
        ...                             ("Quercus", "Q. alba"), ("Quercus", "Q. rubra")])
        >>> probs = torch.tensor([[1.0, 0.125, 0.875, 0.625, 0.25]] * 9)
        >>> policy = LeafSets(0.2).fit(probs, [3] * 6 + [4] * 2 + [1], tree)
        >>> policy.found.mass_above  # the 8th smallest of 6 times 0, 2 times 0.625, 0.875
        0.625
        >>> policy.sets(probs[:1], tree)  # Acer, Q. alba, Q. rubra
        array([[False,  True,  True]])
        >>> tree.names[policy.decide(probs, tree)[0]]
        'Quercus'
    """

    kind = "leaf_sets"
    _found_model = LeafSetsFound

    @property
    def promise(self) -> str:
        """What holds for images like the calibration images, in a few words."""
        return f"at most {100 * self.alpha:.3g} % of photos of known taxa wrong on average"

    def _learn(
        self, node_probs: torch.Tensor, truth: IntArray, taxonomy: Taxonomy
    ) -> LeafSetsFound:
        images = len(truth)
        masses, done = [], 0
        for probs in prob_blocks(node_probs, taxonomy):
            masses.append(_mass_above_truth(probs, truth[done : done + len(probs)], taxonomy))
            done += len(probs)
        missing = wrong_allowed(images, self.alpha)
        bound = np.sort(np.concatenate(masses))[images - 1 - missing] if missing >= 0 else None
        return LeafSetsFound(taxonomy=taxonomy.digest, images=images, mass_above=bound)

    def sets(self, node_probs: torch.Tensor, taxonomy: Taxonomy) -> BoolArray:
        """Return the set of each image, bool ``(B, c)`` in the order of ``taxonomy.leaves``.

        Raises:
            DataError: Another taxonomy, or no node probabilities.
            ConfigError: The policy is not fitted.
        """
        bound = self._found_for(taxonomy).mass_above
        return np.concatenate(
            [
                _held(probs[:, taxonomy.leaves], inf if bound is None else bound)
                for probs in prob_blocks(node_probs, taxonomy)
            ]
        )

    def decide(self, node_probs: torch.Tensor, taxonomy: Taxonomy) -> IntArray:
        """Return the deepest node above each set, int64 ``(B,)``; 0 names nothing.

        Raises:
            DataError: Another taxonomy, or no node probabilities.
            ConfigError: The policy is not fitted.
        """
        return covering_node(taxonomy, self.sets(node_probs, taxonomy))


def _held(leaf_probs: FloatArray, bound: float) -> BoolArray:
    """Say which leaves have no more than the bound above them, ``(B, c)`` both."""
    falling = -np.sort(-leaf_probs, axis=1)
    above = np.zeros_like(falling)  # nothing is above the first, so one is held
    np.cumsum(falling[:, :-1], axis=1, out=above[:, 1:])
    held = np.count_nonzero(np.round(above, PROB_DECIMALS) <= bound, axis=1)
    least = falling[np.arange(len(held)), held - 1]  # held with all its equals
    return np.asarray(leaf_probs >= least[:, None])


def _mass_above_truth(probs: FloatArray, truth: IntArray, taxonomy: Taxonomy) -> FloatArray:
    """Return the probability above the best leaf on or below the true node, ``(B,)``."""
    leaf_probs = probs[:, taxonomy.leaves]
    only_leaves = np.full(probs.shape, -inf)
    only_leaves[:, taxonomy.leaves] = leaf_probs
    highest = max_up(taxonomy, torch.from_numpy(only_leaves)).numpy()
    best = highest[np.arange(len(probs)), truth]
    mass = leaf_probs.sum(axis=1, where=leaf_probs > best[:, None])
    return np.asarray(np.round(mass, PROB_DECIMALS), dtype=np.float64)
