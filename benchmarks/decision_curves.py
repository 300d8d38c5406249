"""Risk over coverage of every rule that one number makes vaguer or bolder.

A curve begins with the root for all photos. It ends with a leaf for all where a rule can be that
bold: one that names nothing below one half cannot, nor can the information gain, for which a genus
may be worth more than a leaf however little errors weigh.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.decision_rules import JudgedPhotos
from taxonet.inference.decision import (
    Climbing,
    InformationGain,
    LeafSets,
    Policy,
    deepest_reaching,
    is_on_path,
    likely_nodes,
)
from taxonet.metrics import node_coverage

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_STEPS = 201
_MULTIPLIERS = np.append(np.geomspace(1e5, 1e-3, _STEPS), 0.0)


@dataclass(frozen=True)
class RuleCurve:
    """Mean coverage and share of wrong names ``(s,)``, from the vaguest setting to the boldest."""

    coverage: FloatArray
    risk: FloatArray

    @property
    def end(self) -> float:
        """Return the largest coverage that the rule reaches."""
        return float(self.coverage.max())

    def risk_at(self, coverage: float) -> float | None:
        """Return the risk at a coverage, between settings on a line; None beyond the end.

        Examples:
            >>> curve = RuleCurve(np.array([0.0, 0.5, 0.75]), np.array([0.0, 0.0, 0.1]))
            >>> curve.risk_at(0.625), curve.risk_at(0.8)
            (0.05, None)
        """
        if coverage > self.end:
            return None
        return float(np.interp(coverage, self.coverage, self.risk))

    def area(self, *, up_to: float = 1.0) -> float | None:
        """Return the area below the curve up to a coverage; None where it ends before.

        Examples:
            >>> curve = RuleCurve(np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.0, 0.25]))
            >>> curve.area(), curve.area(up_to=0.75)
            (0.0625, 0.015625)
        """
        last = self.risk_at(up_to)
        if last is None:
            return None
        before = self.coverage < up_to
        coverage = np.append(self.coverage[before], up_to)
        return float(np.trapezoid(np.append(self.risk[before], last), coverage))


def curves(photos: JudgedPhotos) -> dict[str, RuleCurve]:
    """Return the curve of each rule on all photos."""
    rules: dict[str, Callable[[JudgedPhotos], Iterator[IntArray]]] = {
        "Threshold of at least 0.5": _by_threshold,
        "Climbing": _by_climbing,
        "InformationGain": _by_multiplier,
    }
    if not photos.unknown:
        rules["LeafSets"] = _by_mass
    return {name: _curve(photos, names(photos)) for name, names in rules.items()}


def _curve(photos: JudgedPhotos, settings: Iterator[IntArray]) -> RuleCurve:
    told = node_coverage(photos.taxonomy)
    points = {(0.0, 0.0)}
    for named in settings:
        wrong = ~is_on_path(photos.taxonomy, named, photos.truth)
        points.add((float(told[named].mean()), float(wrong.mean())))
    coverage, risk = np.array(sorted(points)).T
    return RuleCurve(coverage, risk)


def _by_threshold(photos: JudgedPhotos) -> Iterator[IntArray]:
    likely = likely_nodes(photos.node_probs)
    for threshold in np.linspace(1.0, 0.5, _STEPS):
        yield deepest_reaching(photos.taxonomy, likely, threshold_prob=float(threshold))


def _by_climbing(photos: JudgedPhotos) -> Iterator[IntArray]:
    for threshold in np.linspace(1.0, 0.0, _STEPS):
        yield _decided(photos, Climbing, {"alpha": 0.5}, {"threshold_prob": float(threshold)})


def _by_mass(photos: JudgedPhotos) -> Iterator[IntArray]:
    for mass in np.linspace(1.0, 0.0, _STEPS):
        yield _decided(photos, LeafSets, {"alpha": 0.5}, {"mass_above": float(mass)})


def _by_multiplier(photos: JudgedPhotos) -> Iterator[IntArray]:
    for multiplier in _MULTIPLIERS:
        yield _decided(photos, InformationGain, {"eps": 0.5}, {"multiplier": float(multiplier)})


def _decided(
    photos: JudgedPhotos,
    policy: type[Policy[Any]],
    options: dict[str, float],
    found: dict[str, float],
) -> IntArray:
    """Return the names of a policy as if it had found a number."""
    stored = {"taxonomy": photos.taxonomy.digest, "images": 1} | found
    made: Policy[Any] = policy.from_dict({"policy": policy.kind, **options, "found": stored})
    return made.decide(photos.node_probs, photos.taxonomy)
