"""The green parts of one plant: where its stems and leaves stand, and how they are drawn."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from taxonet.data.flora.canvas import Canvas
from taxonet.data.flora.colours import AUTUMN, LEAF, STEM, Colour, along, mix
from taxonet.data.flora.shapes import Points, leaf, placed
from taxonet.data.flora.taxa import Morphology

Season = Literal["spring", "summer", "autumn"]

_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True, eq=False)
class Axes:
    """The stems of a plant and what stands on them.

    Args:
        stems: Paths (points, 2), each from its base to its tip; flowers stand at the tips.
        origins: (n, 2), where the n leaves are attached.
        angles: (n,), their directions in radians.
        lengths: (n,), their lengths.
        narrowing: (n,), how far each is turned about its length.
        droop: How far leaves sink towards their tips, over their length.
    """

    stems: list[Points]
    origins: Points
    angles: Points
    lengths: Points
    narrowing: Points
    droop: float


def grow(plant: Morphology, rng: np.random.Generator) -> Axes:
    """Return the stems and leaves of an individual."""
    return {"shoot": _shoot, "rosette": _rosette, "tuft": _tuft}[plant.forms.habit](plant, rng)


def stem_colour(plant: Morphology) -> Colour:
    """Return the colour of stems and flower stalks."""
    return along(STEM, plant["stem_colour"])


def draw_foliage(
    canvas: Canvas,
    plant: Morphology,
    axes: Axes,
    *,
    season: Season,
    barren: bool,
    rng: np.random.Generator,
) -> None:
    """Draw the stems and leaves of an individual.

    Args:
        canvas: Where to draw.
        plant: The individual.
        axes: Its stems and leaves.
        season: Colours the leaves.
        barren: Whether it bears neither flowers nor fruits; then it has no stems but leafy ones.
        rng: Draws the colours of the leaves.
    """
    stalk = stem_colour(plant)
    if plant.forms.habit == "shoot" or not barren:
        for stem in axes.stems:
            canvas.line(stem, width=plant["stem_width"], colour=stalk)
    blades = leaf(plant)
    leaves = placed(
        blades,
        angles=axes.angles,
        lengths=axes.lengths,
        origins=axes.origins,
        narrowing=axes.narrowing,
    )
    sinking = axes.lengths[:, None, None, None] * axes.droop
    leaves[..., 1] -= sinking * np.clip(blades[..., 0], 0.0, 1.0) ** 2
    colours = _leaf_colours(plant, len(leaves), season=season, rng=rng)
    if len(blades) > 1:
        _draw_stalks(canvas, axes, ends=leaves[:, -1, 2, 0], colour=stalk)
    canvas.blades(
        leaves.reshape(-1, *leaves.shape[2:]),
        colours=np.repeat(colours, len(blades), axis=0),
        veins=plant["vein_contrast"],
        shade=0.80,
        pale=max(plant["pale_margin"], 0.0),
    )


def _draw_stalks(canvas: Canvas, axes: Axes, *, ends: Points, colour: Colour) -> None:
    for start, end in zip(axes.origins, ends, strict=True):
        canvas.line(np.stack([start, end]), width=0.010, colour=colour)


def _leaf_colours(
    plant: Morphology, leaves: int, *, season: Season, rng: np.random.Generator
) -> Colour:
    """Return the colours of leaves (n, 3): the later leaf lies further up and is lighter."""
    colour = along(LEAF, plant["leaf_colour"])
    if season == "spring":
        colour = mix(colour, LEAF[0] * 1.15, rng.uniform(0.1, 0.3))
    light = np.linspace(0.82, 1.1, leaves) * rng.normal(1.0, 0.06, leaves)
    colours = colour * light[:, None]
    if season == "autumn":
        turned = rng.beta(0.9, 1.6, (leaves, 1))
        colours += (along(AUTUMN, rng.random()) - colours) * turned
    return np.asarray(colours)


def _shoot(plant: Morphology, rng: np.random.Generator) -> Axes:
    stems, parts = [], []
    number = int(rng.choice([1, 2, 3], p=[0.45, 0.35, 0.2]))
    leans = rng.permutation(np.linspace(-0.26, 0.26, number) if number > 1 else np.zeros(1))
    for lean in leans + rng.normal(0.0, 0.06, number):
        height = rng.uniform(0.66, 0.92) * (1.0 - 0.5 * abs(lean))
        sway = rng.normal(0.0, 0.035)
        s = np.linspace(0.0, 1.0, 12)
        stem = np.stack([lean * s**1.3 + sway * np.sin(np.pi * s * 1.5), height * s], axis=-1)
        stems.append(stem)
        parts.append(_leaves_on(plant, stem, rng))
    origins, angles, lengths, narrowing = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    # Leaves of one plant stay as large as the picture can show them beside each other.
    lengths = lengths * (1.0 if number == 1 else 0.82)
    return Axes(stems, origins, angles, lengths, narrowing, plant["leaf_droop"])


def _leaves_on(
    plant: Morphology, stem: Points, rng: np.random.Generator
) -> tuple[Points, Points, Points, Points]:
    """Return origins, angles, lengths and narrowing of the leaves along a stem."""
    at_node = plant.forms.leaves_at_node
    nodes = 3 + round(3 * plant["leaf_number"] + rng.uniform(-0.6, 0.6)) + (at_node == 1) * 2
    s = np.linspace(0.10, 0.80, nodes)
    place = s * (len(stem) - 1)
    origins = np.stack([np.interp(place, np.arange(len(stem)), stem[:, i]) for i in (0, 1)], -1)
    sides = {1: [1.0], 2: [1.0, -1.0], 3: [1.0, -1.0, 0.15]}[at_node]
    side = np.tile(sides, (nodes, 1))
    side[1::2] *= -1.0
    opening = plant["leaf_angle"] * (1.15 - 0.35 * s)
    angles = np.pi / 2 - side * opening[:, None] + rng.normal(0.0, 0.12, side.shape)
    taper = 0.62 + 0.38 * np.sin(np.pi * (0.2 + 0.75 * s))
    lengths = plant["leaf_length"] * taper[:, None] * rng.uniform(0.85, 1.1, side.shape)
    narrowing = rng.uniform(0.65, 1.0, side.shape)
    return (
        np.repeat(origins, len(sides), axis=0),
        angles.ravel(),
        lengths.ravel(),
        narrowing.ravel(),
    )


def _rosette(plant: Morphology, rng: np.random.Generator) -> Axes:
    """Leaves around a centre, seen from above; the inner ones are younger and lie on top."""
    number = 7 + round(7 * plant["leaf_number"] + rng.uniform(-1, 1))
    age = np.linspace(1.0, 0.45, number)
    turns = rng.uniform(0.0, 2.0 * np.pi) + _GOLDEN_ANGLE * np.arange(number)
    centre = np.array([0.0, 0.5])
    stalks = [
        np.stack([centre, centre + rng.normal(0.0, 0.13, 2)])
        for _ in range(1 + round(3 * plant["flower_number"]))
    ]
    return Axes(
        stems=stalks,
        origins=centre + 0.03 * np.stack([np.cos(turns), np.sin(turns)], axis=-1),
        angles=turns + rng.normal(0.0, 0.1, number),
        lengths=plant["leaf_length"] * 1.15 * age * rng.uniform(0.9, 1.08, number),
        narrowing=rng.uniform(0.75, 1.0, number),
        droop=0.0,
    )


def _tuft(plant: Morphology, rng: np.random.Generator) -> Axes:
    """Grassy leaves that arch from one point, and bare stems between them."""
    number = 8 + round(8 * plant["leaf_number"] + rng.uniform(-1, 1))
    lean = rng.permutation(np.linspace(-1.0, 1.0, number)) + rng.normal(0.0, 0.08, number)
    stems = []
    for top in rng.uniform(-0.22, 0.22, 1 + round(2 * plant["flower_number"])):
        s = np.linspace(0.0, 1.0, 8)
        height = rng.uniform(0.72, 0.98)
        stems.append(np.stack([top * s**1.6, height * s], axis=-1))
    return Axes(
        stems=stems,
        origins=np.stack([0.05 * lean, np.zeros(number)], axis=-1),
        angles=np.pi / 2 - lean * plant["leaf_angle"] * 0.75,
        lengths=plant["leaf_length"] * 2.0 * rng.uniform(0.75, 1.05, number),
        narrowing=rng.uniform(0.7, 1.0, number),
        droop=plant["leaf_droop"] * 0.9 + 0.1,
    )
