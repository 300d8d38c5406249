"""Flowers and fruits of one plant, at the tips of its stems."""

from collections.abc import Callable

import numpy as np

from taxonet.data.flora.canvas import Canvas
from taxonet.data.flora.colours import EYE, PETAL, WHITE, along, mix
from taxonet.data.flora.foliage import stem_colour
from taxonet.data.flora.shapes import Points, petal, placed
from taxonet.data.flora.taxa import FlowerForm, Morphology

_Drawer = Callable[[Canvas, Morphology, Points, np.random.Generator], None]


def draw_flowers(
    canvas: Canvas, plant: Morphology, stems: list[Points], rng: np.random.Generator
) -> None:
    """Draw the flowers of an individual at the tips of its stems."""
    for stem in stems:
        _DRAWERS[plant.forms.flower](canvas, plant, stem, rng)


def draw_fruits(
    canvas: Canvas, plant: Morphology, stems: list[Points], rng: np.random.Generator
) -> None:
    """Draw a cluster of berries at the tip of each stem."""
    ripe = mix(along(PETAL, plant["petal_colour"]), np.array([110.0, 30.0, 40.0]), 0.65)
    radius = 0.16 * plant["flower_size"] * (0.8 + 0.6 * plant["eye_colour"])
    for stem in stems:
        berries = stem[-1] + rng.normal(0.0, 0.035, (3 + round(3 * plant["flower_number"]), 2))
        for berry in berries:
            canvas.discs(
                berry + np.array([[0.0, 0.0], [-0.3 * radius, 0.3 * radius]]),
                radius=radius,
                colours=[ripe * 0.8, ripe],
            )


def _draw_star(canvas: Canvas, plant: Morphology, stem: Points, rng: np.random.Generator) -> None:
    petals = 4 + round(3 * plant["petal_number"])
    _draw_round(canvas, plant, stem[-1], petals=petals, radius=plant["flower_size"], rng=rng)


def _draw_daisy(canvas: Canvas, plant: Morphology, stem: Points, rng: np.random.Generator) -> None:
    petals = 8 + round(9 * plant["petal_number"])
    _draw_round(canvas, plant, stem[-1], petals=petals, radius=plant["flower_size"] * 1.05, rng=rng)


def _draw_round(
    canvas: Canvas,
    plant: Morphology,
    centre: Points,
    *,
    petals: int,
    radius: float,
    rng: np.random.Generator,
) -> None:
    """Draw petals around an eye, the whole flower tilted away from the viewer."""
    turns = rng.uniform(0.0, 2.0 * np.pi) + np.linspace(0.0, 2.0 * np.pi, petals, endpoint=False)
    turns += rng.normal(0.0, 0.04, petals)
    ring = placed(
        petal(plant)[None],
        angles=turns,
        lengths=np.full(petals, radius),
        origins=np.zeros((petals, 2)),
        narrowing=np.ones(petals),
    )[:, 0]
    lean = rng.uniform(-0.6, 0.6)
    across = np.array([np.cos(lean), np.sin(lean)])
    flat = rng.uniform(0.0, 0.4)  # share of the height that the tilt takes

    def tilted(points: Points) -> Points:
        return np.asarray(centre + points - flat * (points @ across)[..., None] * across)

    colour = along(PETAL, plant["petal_colour"]) * rng.normal(1.0, 0.03)
    light = 1.0 - 0.10 * rng.random((petals, 1))
    canvas.blades(tilted(ring), colours=colour * light, veins=0.0, shade=0.90)
    eye = along(EYE, plant["eye_colour"])
    if plant["throat"] > 0:
        inner = mix(colour, mix(eye, WHITE, 0.25), 0.35 + 0.6 * plant["throat"])
        canvas.blades(
            tilted(ring * 0.55), colours=np.tile(inner, (petals, 1)), veins=0.0, shade=0.92
        )
    reach = plant["eye_size"] * radius * (1.15 if plant.forms.flower == "daisy" else 0.75)
    canvas.discs(centre[None], radius=reach, colours=[eye * 0.72])
    canvas.discs(centre + np.array([[-0.1, 0.15]]) * reach, radius=reach * 0.8, colours=[eye])
    seeds = tilted(rng.uniform(-0.6, 0.6, (5, 2)) * reach)
    canvas.discs(seeds, radius=reach * 0.12, colours=[mix(eye, WHITE, 0.5)] * 5)


def _draw_bells(canvas: Canvas, plant: Morphology, stem: Points, rng: np.random.Generator) -> None:
    """Draw bells that nod from the end of a stem, on alternating sides."""
    number = 2 + round(3 * plant["flower_number"])
    size = plant["flower_size"]
    colour = along(PETAL, plant["petal_colour"])
    mouth = mix(colour * 0.55, along(EYE, plant["eye_colour"]), 0.3)
    wide = 0.55 + 0.5 * plant["petal_width"]
    for i in range(number):
        back, side = i / max(number - 1, 1), (-1.0) ** i
        root = stem[-1] + np.array([0.0, -0.32 * back]) * min(1.0, 3 * size / 0.3)
        top = root + np.array([side * 0.45 * size, 0.06 * size])
        canvas.line(
            np.stack([root, top + np.array([0.0, 0.1 * size]), top]),
            width=0.008,
            colour=stem_colour(plant),
        )
        swing = rng.normal(0.0, 0.12) + side * 0.25
        canvas.polygon(_turned(_bell(plant, wide) * size, swing, top), colour=colour)
        half = _bell(plant, wide) * size
        half[:, 0] = np.maximum(half[:, 0], 0.0)
        canvas.polygon(_turned(half, swing, top), colour=colour * 0.86)
        rim = np.stack([np.linspace(-0.3, 0.3, 5) * wide, np.full(5, -0.84)], axis=-1) * size
        canvas.line(_turned(rim, swing, top), width=0.012, colour=mouth)


def _bell(plant: Morphology, wide: float) -> Points:
    """Return the outline of a hanging bell of height 1 with a lobed rim."""
    down = np.linspace(0.0, 1.0, 9)
    half = wide * (0.16 + 0.34 * np.sin(np.pi / 2 * np.minimum(down * 1.7, 1.0)))
    half = half + 0.14 * wide * down ** (6 - 4 * plant["petal_widest"])
    lobes = 3 + round(2 * plant["petal_number"])
    s = np.linspace(1.0, -1.0, 4 * lobes + 1)
    dips = -0.92 - 0.16 * np.abs(np.sin(s * np.pi * lobes / 2))
    right = np.stack([half, -0.92 * down], axis=-1)
    rim = np.stack([s * half[-1], dips], axis=-1)
    left = np.stack([-half, -0.92 * down], axis=-1)[::-1]
    return np.concatenate([right, rim, left])


def _draw_spike(canvas: Canvas, plant: Morphology, stem: Points, rng: np.random.Generator) -> None:
    """Draw a dense spike of florets, the youngest at its tip."""
    florets = 12 + round(8 * plant["flower_number"])
    up = np.linspace(0.0, 1.0, florets)
    length = 0.24 + 1.2 * plant["flower_size"]
    sway = rng.normal(0.0, 0.03)
    base = stem[-1] - [0.0, 0.6 * length]
    axis = base + np.stack([sway * up**2, length * up], axis=-1)
    canvas.line(axis, width=0.012, colour=stem_colour(plant))
    side = np.where(np.arange(florets) % 2 == 0, 1.0, -1.0) * rng.uniform(0.5, 1.15, florets)
    size = plant["flower_size"] * (0.78 - 0.42 * up)
    colour = along(PETAL, plant["petal_colour"])
    blades = placed(
        petal(plant)[None],
        angles=np.pi / 2 - side,
        lengths=size,
        origins=axis,
        narrowing=np.full(florets, 1.25),
    )[:, 0]
    shades = rng.uniform(0.84, 1.04, (florets, 1)) * (1.0 - 0.14 * up[:, None])
    canvas.blades(blades, colours=colour * shades, veins=0.0, shade=0.86)
    eyes = axis + 0.45 * size[:, None] * np.stack([np.sin(side), np.cos(side)], axis=-1)
    eye = along(EYE, plant["eye_colour"])
    canvas.discs(eyes, radius=0.07 * plant["flower_size"], colours=[eye] * florets)


def _draw_umbel(canvas: Canvas, plant: Morphology, stem: Points, rng: np.random.Generator) -> None:
    """Draw rays that spread from the tip of a stem, each with a cluster of small flowers."""
    rays = 7 + round(5 * plant["petal_number"])
    spread = np.linspace(-1.15, 1.15, rays) + rng.normal(0.0, 0.05, rays)
    reach = 0.10 + plant["flower_size"]
    lengths = reach * rng.uniform(0.82, 1.08, rays)
    tips = stem[-1] + np.stack([np.sin(spread) * 1.1, 0.75 * np.cos(spread)], -1) * lengths[:, None]
    for tip in tips:
        canvas.line(np.stack([stem[-1], tip]), width=0.006, colour=stem_colour(plant))
    colour = along(PETAL, plant["petal_colour"])
    eye = along(EYE, plant["eye_colour"])
    radius = plant["flower_size"] * (0.13 + 0.12 * plant["petal_width"])
    for tip in tips:
        florets = tip + rng.normal(0.0, 1.1 * radius, (4, 2))
        light = rng.uniform(0.84, 1.0, 4)
        canvas.discs(florets, radius=radius, colours=[colour * part for part in light])
        canvas.discs(florets, radius=radius * plant["eye_size"], colours=[eye] * 4)


def _draw_lipped(canvas: Canvas, plant: Morphology, stem: Points, rng: np.random.Generator) -> None:
    """Draw flowers with a hood, two wings and a lip, along the end of a stem."""
    number = 2 + round(3 * plant["flower_number"])
    colour = along(PETAL, plant["petal_colour"])
    eye = along(EYE, plant["eye_colour"])
    lip = mix(colour, mix(eye, WHITE, 0.3), max(plant["throat"], 0.0) * 0.8)
    size = plant["flower_size"] * 0.88
    for i in range(number):
        side = (-1.0) ** i
        centre = stem[-1] + [side * 0.42 * size, -0.24 * i / number * 2.2 * size / 0.13]
        lean = rng.normal(0.0, 0.12) - side * 0.2
        blades = placed(
            petal(plant)[None],
            angles=np.array([2.05, 1.1, np.pi + 0.35, -0.35, -np.pi / 2]) + lean,
            lengths=size * np.array([0.9, 0.9, 0.75, 0.75, 0.6 + plant["eye_size"]]),
            origins=np.tile(centre, (5, 1)),
            narrowing=np.array([1.0, 1.0, 0.8, 0.8, 1.45]),
        )[:, 0]
        colours = np.stack([colour, colour * 0.96, colour * 0.9, colour * 0.88, lip])
        canvas.blades(blades, colours=colours, veins=0.0, shade=0.90)
        canvas.discs(centre[None], radius=0.14 * size, colours=[eye])


def _turned(points: Points, angle: float, origin: Points) -> Points:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]) + origin)


_DRAWERS: dict[FlowerForm, _Drawer] = {
    "star": _draw_star,
    "daisy": _draw_daisy,
    "bell": _draw_bells,
    "spike": _draw_spike,
    "umbel": _draw_umbel,
    "lipped": _draw_lipped,
}
