"""Where a plant stands and how it is photographed: region, season, light and camera.

Region A is the home region: meadows under a soft light and a good camera. Region B is another
country: sand and rock under a warm hard light, and a poorer camera.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from taxonet.data.flora.canvas import Canvas
from taxonet.data.flora.colours import Colour
from taxonet.data.flora.foliage import Season
from taxonet.data.flora.shapes import Points, blade, placed
from taxonet.data.flora.taxa import Habit

Region = Literal["A", "B"]
Pixels = NDArray[np.float32]

_GRASS = blade(points=6, width=0.07, widest=0.3, tip=1.3)[None]


@dataclass(frozen=True, eq=False)
class Camera:
    """What a camera does to a picture.

    Args:
        balance: Mean gains of red, green and blue.
        balance_spread: Standard deviation of each gain from photo to photo.
        contrast: Around middle grey.
        blur: Range of the blur radius, in sides of the picture.
        noise: Range of the noise's standard deviation, on the scale 0 to 255.
    """

    balance: tuple[float, float, float]
    balance_spread: float
    contrast: float
    blur: tuple[float, float]
    noise: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The colours behind a plant: each a pair between which noise mixes."""

    ground: Colour
    sky: Colour
    distance: Colour
    grass: Colour
    camera: Camera


def _pair(first: tuple[int, int, int], second: tuple[int, int, int]) -> Colour:
    return np.array([first, second], dtype=np.float32)


_SURROUNDINGS: dict[Region, Surroundings] = {
    "A": Surroundings(
        ground=_pair((70, 84, 44), (126, 140, 76)),
        sky=_pair((174, 206, 232), (232, 238, 240)),
        distance=_pair((74, 104, 70), (150, 176, 122)),
        grass=_pair((88, 118, 56), (150, 172, 92)),
        camera=Camera((1.0, 1.0, 1.0), 0.025, 1.0, (0.0, 0.006), (1.5, 4.0)),
    ),
    "B": Surroundings(
        ground=_pair((118, 104, 78), (192, 172, 134)),
        sky=_pair((206, 206, 204), (244, 236, 222)),
        distance=_pair((122, 116, 92), (176, 168, 142)),
        grass=_pair((128, 124, 72), (186, 172, 112)),
        camera=Camera((1.04, 0.99, 0.93), 0.03, 1.06, (0.003, 0.009), (3.0, 7.0)),
    ),
}
_SEASON_TINT: dict[Season, Colour] = {
    "spring": np.array([0.98, 1.05, 0.92], dtype=np.float32),
    "summer": np.array([1.0, 1.0, 1.0], dtype=np.float32),
    "autumn": np.array([1.10, 0.96, 0.82], dtype=np.float32),
}


def pose(habit: Habit, rng: np.random.Generator) -> Points:
    """Return how a photographer frames a plant, as the (3, 2) matrix of a canvas."""
    rosette = habit == "rosette"
    zoom = rng.uniform(0.86, 1.02) * (1.25 if rosette else 1.0)
    roll = rng.uniform(-np.pi, np.pi) if rosette else rng.normal(0.0, 0.10)
    mirror = rng.choice([-1.0, 1.0])
    cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
    axes = np.array([[mirror * cos, mirror * sin], [sin, -cos]])
    # The middle of the plant, about (0, 0.5), comes to lie near the middle of the picture.
    middle = np.array([0.5, 0.52]) + rng.normal(0.0, 0.035, 2)
    return np.vstack([axes, middle - (0.5 if rosette else 0.55) * axes[1]])


def draw_grass(
    canvas: Canvas,
    *,
    blades: int,
    region: Region,
    season: Season,
    lying: bool,
    rng: np.random.Generator,
) -> None:
    """Draw blades of grass around a plant: upright beside it, or lying on the ground."""
    if not blades:
        return
    angles = rng.uniform(0, 2 * np.pi, blades) if lying else rng.normal(np.pi / 2, 0.35, blades)
    low, high = (-0.2, 1.2) if lying else (-0.15, 0.05)
    stalks = placed(
        _GRASS,
        angles=angles,
        lengths=rng.uniform(0.25, 0.75, blades),
        origins=np.stack([rng.uniform(-0.7, 0.7, blades), rng.uniform(low, high, blades)], -1),
        narrowing=np.ones(blades),
    )[:, 0]
    first, second = _SURROUNDINGS[region].grass * _SEASON_TINT[season]
    colours = first + (second - first) * rng.random((blades, 1))
    canvas.blades(stalks, colours=colours, veins=0.0, shade=0.88)


def photograph(
    layer: Image.Image,
    *,
    from_above: bool,
    region: Region,
    season: Season,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Put a drawn plant in its surroundings and take the photo: (size, size, 3)."""
    size = layer.width
    around = _SURROUNDINGS[region]
    behind = _ground(around, size, rng) if from_above else _view(around, size, rng)
    behind *= _SEASON_TINT[season]
    plant = np.asarray(layer, dtype=np.float32)
    opaque = plant[..., 3:] / 255.0
    # On the ground a shadow lies close by; behind an upright plant there is mostly air.
    shadow = (0.5 if from_above else 0.15) * _shadow(layer, rng)
    picture = behind * (1.0 - shadow) * (1.0 - opaque) + plant[..., :3] * opaque
    picture *= _light(size, rng)
    return _taken(picture, around.camera, rng)


def _ground(around: Surroundings, size: int, rng: np.random.Generator) -> Pixels:
    """Return the ground from above."""
    coarse = _clouds(size, 4, rng)
    fine = _clouds(size, 22, rng)
    return _between(around.ground * rng.uniform(0.75, 1.05), 0.55 * coarse + 0.45 * fine)


def _view(around: Surroundings, size: int, rng: np.random.Generator) -> Pixels:
    """Return a view towards the horizon: sky, what stands far off, and the ground."""
    height = np.linspace(1.0, 0.0, size, dtype=np.float32)[:, None]
    blurred = _clouds(size, 6, rng)
    wavy = height + 0.16 * (_clouds(size, 5, rng) - 0.5)
    sky = _between(around.sky, 0.4 * blurred + 0.6 * (1.0 - height))
    distance = _between(around.distance * rng.uniform(0.85, 1.1), blurred)
    ground = _between(around.ground, 0.5 * blurred + 0.5 * _clouds(size, 18, rng))
    horizon = rng.uniform(0.12, 0.42)
    treetops = horizon + rng.uniform(0.05, 0.65)
    picture = distance + (sky - distance) * _step(wavy, treetops, 0.10)
    return np.asarray(ground + (picture - ground) * _step(wavy, horizon, 0.07))


def _shadow(layer: Image.Image, rng: np.random.Generator) -> Pixels:
    """Return the soft shadow that a plant casts to one side, (size, size, 1)."""
    size = layer.width
    soft = layer.getchannel("A").filter(ImageFilter.GaussianBlur(0.03 * size))
    right, down = rng.uniform(-0.06, 0.06, 2) * size
    moved = soft.transform(soft.size, Image.Transform.AFFINE, (1, 0, right, 0, 1, down))
    return np.asarray(moved, dtype=np.float32)[..., None] / np.float32(255.0)


def _light(size: int, rng: np.random.Generator) -> Pixels:
    """Return the exposure, a gradient of light across the picture, and a few dapples."""
    exposure = rng.uniform(0.92, 1.14)
    across = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    slope = rng.normal(0.0, 0.08, 2)
    dapples = 0.24 * (_clouds(size, 5, rng) - 0.5)
    light = exposure + slope[0] * across[:, None] + slope[1] * across[None, :] + dapples
    return np.asarray(light[..., None], dtype=np.float32)


def _taken(picture: Pixels, camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return what a camera makes of a picture."""
    size = len(picture)
    gains = np.array(camera.balance) + rng.normal(0.0, camera.balance_spread, 3)
    picture = (picture * gains.astype(np.float32) - 128.0) * camera.contrast + 128.0
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*camera.blur) * size))
    grain = rng.standard_normal((size, size, 1), dtype=np.float32)
    noisy = np.asarray(image, dtype=np.float32) + grain * np.float32(rng.uniform(*camera.noise))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _clouds(size: int, cells: int, rng: np.random.Generator) -> Pixels:
    """Return smooth noise, mostly between 0 and 1, with ``cells`` bumps along each side."""
    grid = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))


def _between(pair: Colour, share: Pixels) -> Pixels:
    return np.asarray(pair[0] + (pair[1] - pair[0]) * share[..., None], dtype=np.float32)


def _step(values: Pixels, at: float, width: float) -> Pixels:
    """Return 0 well below ``at`` and 1 well above it, with a soft edge; (size, size, 1)."""
    return np.asarray(np.clip((values - at) / width + 0.5, 0.0, 1.0)[..., None])
