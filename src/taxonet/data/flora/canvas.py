"""A canvas in the plant's coordinates: y upwards, the plant about 1 high."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from taxonet.data.flora.colours import Colour, ink, inks
from taxonet.data.flora.shapes import Points

# Shapes have hard edges: they are drawn at this many pixels a side or more, then averaged.
_DRAWN_AT_LEAST = 192


class Canvas:
    """A transparent canvas for one plant.

    Args:
        size: Side of the finished picture in pixels.
        pose: (3, 2): rows are where (1, 0), (0, 1) and the shift go, in sides of the picture.
    """

    def __init__(self, size: int, pose: Points) -> None:
        self._oversampling = max(2, -(-_DRAWN_AT_LEAST // size))
        self._side = size * self._oversampling
        self._pose = pose * self._side
        self._scale = float(np.hypot(*self._pose[0]))
        self._image = Image.new("RGBA", (self._side, self._side))
        self._draw = ImageDraw.Draw(self._image)

    def finished(self) -> Image.Image:
        """Return the picture at its final size, its transparent edges smooth."""
        return self._image.reduce(self._oversampling)

    def blades(
        self, blades: Points, *, colours: Colour, veins: float, shade: float, pale: float = 0.0
    ) -> None:
        """Draw blades (n, 3, points, 2) in colours (n, 3), in that order.

        Args:
            blades: The blades, in plant coordinates.
            colours: The colour of the lit half of each.
            veins: Contrast of the side veins, 0 for none.
            shade: Brightness of the other half.
            pale: Width of a pale margin, 0 for none, up to 1.
        """
        pixels = self._pixels(blades)
        edges = np.concatenate([pixels[:, 0], pixels[:, 1, ::-1]], axis=1)
        halves = np.concatenate([pixels[:, 0], pixels[:, 2, ::-1]], axis=1)
        if pale > 0:
            inner = pixels[:, 2:] + (pixels[:, :2] - pixels[:, 2:]) * (1.0 - 0.5 * pale)
            halves = np.concatenate([inner[:, 0], pixels[:, 2, ::-1]], axis=1)
            cores = np.concatenate([inner[:, 0], inner[:, 1, ::-1]], axis=1)
        ribs = _veins(pixels) if veins > 0 else pixels[:, 2]
        lit, shaded, outlines = inks(colours), inks(colours, shade), inks(colours, 0.62)
        margins = inks(colours * 0.35 + 160)
        rib_inks = inks(colours * (1 - veins * 0.5) + 115 * veins)
        for i in range(len(blades)):
            if pale > 0:
                self._draw.polygon(_flat(edges[i]), fill=margins[i])
                self._draw.polygon(_flat(cores[i]), fill=shaded[i])
            else:
                self._draw.polygon(_flat(edges[i]), fill=shaded[i], outline=outlines[i])
            self._draw.polygon(_flat(halves[i]), fill=lit[i])
            self._draw.line(_flat(ribs[i]), fill=rib_inks[i], width=1)

    def line(self, points: Points, *, width: float, colour: Colour) -> None:
        """Draw a line through points (n, 2), with round joints."""
        pixels = max(1, round(width * self._scale))
        self._draw.line(_flat(self._pixels(points)), fill=ink(colour), width=pixels, joint="curve")

    def polygon(self, points: Points, *, colour: Colour) -> None:
        """Fill a polygon (n, 2)."""
        self._draw.polygon(_flat(self._pixels(points)), fill=ink(colour))

    def discs(self, centres: Points, *, radius: float, colours: Sequence[Colour]) -> None:
        """Draw discs at centres (n, 2), each over those before it."""
        reach = max(radius * self._scale, 0.7)
        fills = inks(np.asarray(colours))
        for (x, y), fill in zip(self._pixels(centres).tolist(), fills, strict=True):
            self._draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)

    def _pixels(self, points: Points) -> Points:
        return np.asarray(points @ self._pose[:2] + self._pose[2])


def _veins(pixels: Points) -> Points:
    """Return one path for each blade that runs up the midrib and out along every side vein."""
    steps = pixels.shape[2]
    path = []
    for start in range(steps // 5, steps - steps // 4, max(2, steps // 7)):
        end = min(start + steps // 6, steps - 1)
        rib = pixels[:, 2, start]
        for side in (0, 1):
            path += [rib, rib + (pixels[:, side, end] - rib) * 0.8, rib]
    return np.stack([pixels[:, 2, 0], *path, pixels[:, 2, -1]], axis=1)


def _flat(points: Points) -> list[float]:
    flat: list[float] = points.ravel().tolist()
    return flat
