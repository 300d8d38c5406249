"""Outlines of leaves and petals in their own coordinates: base at (0, 0), tip at (1, 0).

A blade is an array (3, points, 2): its upper side, its lower side and its midrib, each from base
to tip. Stacks of blades, (blades, 3, points, 2), are bent, turned and placed all at once.
"""

import numpy as np
from numpy.typing import NDArray

from taxonet.data.flora.taxa import Morphology

Points = NDArray[np.float64]

LEAF_POINTS = 26
PETAL_POINTS = 11


def blade(
    *,
    points: int,
    width: float,
    widest: float,
    tip: float = 1.0,
    heart: float = 0.0,
    notch: float = 0.0,
    teeth_depth: float = 0.0,
    teeth_number: float = 5.0,
) -> Points:
    r"""Return one blade, whose half-width along its length is a scaled beta density.

    $$w(t) \propto t^{a} (1 - t)^{b}, \quad a / (a + b) = \text{widest}, \quad b \propto
    \text{tip}$$

    Args:
        points: Points along each side.
        width: Greatest width over the length.
        widest: Where the greatest width lies, from 0 at the base to 1 at the tip.
        tip: Exponent at the tip: below 1 blunt, above 1 drawn out.
        heart: How far the base reaches back beside the stalk, 0 to 1.
        notch: How deep the tip is cut in, 0 to 1.
        teeth_depth: Depth of the teeth over the half-width; 0 or less is an entire margin.
        teeth_number: Teeth on each side.
    """
    t = (1.0 - np.cos(np.linspace(0.0, np.pi, points))) / 2.0
    b = 0.9 * tip
    a = b * widest / (1.0 - widest)
    half = (t / widest) ** a * ((1.0 - t) / (1.0 - widest)) ** b * width / 2.0
    if teeth_depth > 0:
        half = half * (1.0 - teeth_depth * ((t * teeth_number) % 1.0))
    along = t - 0.16 * heart * np.sin(np.pi * np.minimum(t / 0.45, 1.0))
    along = along - 0.3 * notch * t**10
    return np.stack(
        [
            np.stack([along, half], axis=-1),
            np.stack([along, -half], axis=-1),
            np.stack([t * (1.0 - 0.3 * notch), np.zeros(points)], axis=-1),
        ]
    )


def leaf(plant: Morphology) -> Points:
    """Return the blades of one leaf of a plant, (blades, 3, points, 2), lower blades first."""
    form = plant.forms.leaf
    grassy = plant.forms.habit == "tuft"
    one = blade(
        points=LEAF_POINTS if form == "simple" else LEAF_POINTS // 2,
        width=plant["leaf_width"] * (0.32 if grassy else 1.0),
        widest=plant["leaf_widest"],
        tip=plant["leaf_tip"],
        heart=0.0 if grassy else plant["leaf_base"],
        teeth_depth=0.0 if grassy else plant["teeth_depth"],
        teeth_number=plant["teeth_number"] * (1.0 if form == "simple" else 0.6),
    )
    if form == "simple":
        return one[None]
    if form == "pinnate":
        return _pinnate(one, pairs=2 + round(2 * plant["leaflets"]))
    if form == "trifoliate":
        return _fan(one, angles=np.array([-1.15, 1.15, 0.0]), scale=0.62)
    blades = 5 if plant["leaflets"] < 0.5 else 7
    fan = np.linspace(-1.9, 1.9, blades)
    return _fan(one, angles=fan[np.argsort(-np.abs(fan), kind="stable")], scale=0.72)


def petal(plant: Morphology) -> Points:
    """Return one petal of a plant, (3, points, 2)."""
    narrow = 0.5 if plant.forms.flower == "daisy" else 1.0
    return blade(
        points=PETAL_POINTS,
        width=plant["petal_width"] * narrow,
        widest=plant["petal_widest"],
        tip=0.7,
        notch=max(plant["petal_notch"], 0.0),
    )


def placed(
    blades: Points, *, angles: Points, lengths: Points, origins: Points, narrowing: Points
) -> Points:
    """Return copies of blades, turned, scaled and moved.

    Args:
        blades: (b, 3, points, 2).
        angles: (n,) in radians, anticlockwise from the x axis.
        lengths: (n,).
        origins: (n, 2).
        narrowing: (n,), the sideways scale: how a blade looks that is turned about its length.

    Returns:
        (n, b, 3, points, 2).
    """
    cos, sin = np.cos(angles) * lengths, np.sin(angles) * lengths
    turn = np.stack(
        [np.stack([cos, sin], -1), np.stack([-sin * narrowing, cos * narrowing], -1)], -2
    )  # (n, 2, 2), rows: where the blade's x and y axes go
    copies = np.einsum("bspx,nxy->nbspy", blades, turn)
    return np.asarray(copies + origins[:, None, None, None, :])


def _pinnate(one: Points, *, pairs: int) -> Points:
    """Return leaflets in pairs along a stalk, and one at its end."""
    at = np.repeat(np.linspace(0.28, 0.72, pairs), 2)
    side = np.tile([1.0, -1.0], pairs)
    scale = 0.36
    return placed(
        one[None],
        angles=np.append(side * 1.0, 0.0),
        lengths=np.append(np.full(2 * pairs, scale), 0.40),
        origins=np.stack([np.append(at, 0.66), np.zeros(2 * pairs + 1)], axis=-1),
        narrowing=np.ones(2 * pairs + 1),
    )[:, 0]


def _fan(one: Points, *, angles: Points, scale: float) -> Points:
    """Return leaflets that spread from one point, a stalk's length from the base."""
    stalk = 1.0 - scale
    return placed(
        one[None],
        angles=angles,
        lengths=scale * (1.0 - 0.18 * np.abs(angles)),
        origins=np.tile([stalk, 0.0], (len(angles), 1)),
        narrowing=np.ones(len(angles)),
    )[:, 0]
