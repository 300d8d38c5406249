"""What decision rules do on photos that they were not fitted on, over many divisions of the photos.

A name is wrong if it is neither the true node nor one above it, as the policies count it.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.inference.decision import (
    Climbing,
    InformationGain,
    LeafSets,
    MeanRiskControlled,
    Policy,
    RiskControlled,
    is_on_path,
)
from taxonet.metrics import node_coverage
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ALPHAS = (0.01, 0.05, 0.1)
DELTA = 0.1

#: How each rule is made for a bound on the share of wrong names.
RULES: dict[str, Callable[[float], Policy[Any]]] = {
    "RiskControlled": lambda alpha: RiskControlled(alpha, DELTA),
    "RiskControlled, names": lambda alpha: RiskControlled(alpha, DELTA, among="names"),
    "MeanRiskControlled": MeanRiskControlled,
    "Climbing": Climbing,
    "LeafSets": LeafSets,
    "InformationGain": InformationGain,
}


@dataclass(frozen=True)
class JudgedPhotos:
    """Node probabilities ``(N, n)`` and true nodes ``(N,)`` of photos, and their tree."""

    taxonomy: Taxonomy
    node_probs: torch.Tensor
    truth: IntArray
    unknown: int = 0
    """How many are of unknown taxa; their true node is the deepest known one above them."""

    @property
    def rules(self) -> list[str]:
        """Name the rules for such photos: an unknown taxon is no leaf that a set could hold."""
        return [rule for rule in RULES if not (self.unknown and rule == "LeafSets")]


class Outcome(NamedTuple):
    """What a rule did on some photos, all in [0, 1] but the depth; the root is never wrong."""

    coverage: float
    """Mean hierarchical coverage of the names, 1 - H(node) / H(root)."""
    named: float
    """Share of photos with a name below the root."""
    depth: float
    """Mean depth of the names, 0 for the root."""
    risk: float
    """Share of wrong names, among what the rule's promise is about."""


def draws(
    photos: JudgedPhotos, *, number: int, seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Fit every rule on one half of the photos and judge it on the other, many times.

    Returns:
        By rule and alpha the means of `Outcome` over the draws, ``risk_sd`` their spread in risk,
        ``over``, the share of draws whose test half has a risk over alpha, and ``silent``, the
        share in which nothing was named.
    """
    coverage = node_coverage(photos.taxonomy)
    outcomes: defaultdict[tuple[str, float], list[Outcome]] = defaultdict(list)
    for draw in range(number):
        order = generator("decision study", seed, draw).permutation(len(photos.truth))
        fitting, judging = np.split(order, [len(order) // 2])
        given, asked = photos.node_probs[fitting], photos.node_probs[judging]
        for rule in photos.rules:
            for alpha in ALPHAS:
                policy = RULES[rule](alpha).fit(given, photos.truth[fitting], photos.taxonomy)
                named = policy.decide(asked, photos.taxonomy)
                outcomes[rule, alpha].append(
                    outcome(
                        named,
                        photos.truth[judging],
                        taxonomy=photos.taxonomy,
                        coverage=coverage,
                        among_names=rule.endswith("names"),
                    )
                )
    return {
        rule: {str(alpha): _summary(outcomes[rule, alpha], alpha) for alpha in ALPHAS}
        for rule in photos.rules
    }


def outcome(
    named: IntArray,
    truth: IntArray,
    *,
    taxonomy: Taxonomy,
    coverage: FloatArray,
    among_names: bool,
) -> Outcome:
    """Judge the named nodes ``(B,)`` of photos; without a name among names the risk is 0."""
    is_named = named > 0
    wrong = ~is_on_path(taxonomy, named, truth)
    counted = max(int(is_named.sum()), 1) if among_names else len(named)
    return Outcome(
        coverage=float(coverage[named].mean()),
        named=float(is_named.mean()),
        depth=float(taxonomy.depth[named].mean()),
        risk=int(wrong.sum()) / counted,
    )


def _summary(outcomes: list[Outcome], alpha: float) -> dict[str, float]:
    columns = {
        key: np.array(values)
        for key, values in zip(Outcome._fields, zip(*outcomes, strict=True), strict=True)
    }
    risk = columns["risk"]
    return {
        **{key: float(values.mean()) for key, values in columns.items()},
        "risk_sd": float(risk.std()),
        "over": float((risk > alpha).mean()),
        "silent": float((columns["named"] == 0).mean()),
    }
