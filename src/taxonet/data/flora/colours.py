"""Curated palettes: a trait in [0, 1] walks along one, so that every colour drawn is a plant's."""

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float64]

PETAL = np.array(
    [
        (252, 248, 238), (250, 232, 150), (248, 200, 50), (242, 146, 48), (224, 78, 56),
        (204, 40, 70), (234, 112, 152), (244, 176, 204), (200, 92, 184), (142, 84, 206),
        (84, 92, 208), (84, 148, 226), (176, 202, 246), (238, 240, 250),
    ],
    dtype=np.float64,
)  # fmt: skip
LEAF = np.array(
    [(150, 186, 62), (96, 160, 58), (52, 126, 58), (38, 100, 70), (84, 138, 114), (118, 148, 132)],
    dtype=np.float64,
)
EYE = np.array(
    [(250, 214, 70), (240, 160, 40), (150, 84, 40), (82, 50, 46), (120, 40, 92), (170, 190, 80)],
    dtype=np.float64,
)
STEM = np.array([(112, 150, 70), (80, 124, 62), (128, 84, 66), (120, 60, 80)], dtype=np.float64)
AUTUMN = np.array([(222, 176, 60), (206, 110, 48), (158, 60, 52)], dtype=np.float64)
WHITE = np.full(3, 255.0)


def along(palette: Colour, position: float) -> Colour:
    """Return the colour at a position from 0 (first) to 1 (last) of a palette.

    Examples:
        >>> along(np.array([[0.0, 0, 0], [10, 20, 40]]), 0.5).tolist()
        [5.0, 10.0, 20.0]
    """
    place = min(max(position, 0.0), 1.0) * (len(palette) - 1)
    left = min(int(place), len(palette) - 2)
    return mix(palette[left], palette[left + 1], place - left)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return ``first`` with a share of ``second`` in it."""
    return np.asarray(first + (second - first) * share)


def ink(colour: Colour, light: float = 1.0) -> tuple[int, ...]:
    """Return a colour as an image library takes it, made lighter or darker by a factor."""
    return inks(colour[None], light)[0]


def inks(colours: Colour, light: float = 1.0) -> list[tuple[int, ...]]:
    """Return colours (n, 3) as an image library takes them."""
    whole = np.clip(np.rint(colours * light), 0, 255).astype(np.uint8)
    return [tuple(one) for one in whole.tolist()]
