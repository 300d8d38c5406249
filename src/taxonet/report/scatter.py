"""Photos as points of a plane, coloured by their taxa."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from taxonet.errors import DataError
from taxonet.report.drawing import COLOURS, INK, draw_svg

#: More taxa than these could not be told apart.
TAXA_AT_MOST = 10

# Two shapes of each colour, so that all kinds of colour vision see ten taxa.
_SHAPES = ("o", "^")


def taxon_scatter(points: ArrayLike, taxa: Sequence[str | None]) -> str:
    """Draw a point a photo, in the colour of its taxon where that is among the most frequent.

    Args:
        points: Places, floats ``(N, 2)``.
        taxa: The taxon of each photo, N names; None for none.

    Raises:
        DataError: Not one taxon a point.
    """
    places = np.asarray(points, dtype=np.float64)
    if places.shape != (len(taxa), 2):
        raise DataError(
            f"Expected a point (x, y) for each of {len(taxa)} photos, got shape {places.shape}."
        )
    names = np.array([taxon or "" for taxon in taxa], dtype=object)
    shown = most_frequent(taxa)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        style: dict[str, Any] = {"markersize": 3.5, "markeredgewidth": 0}
        for number, taxon in enumerate(shown):
            own = places[names == taxon].T
            shape, colour = _SHAPES[number // len(COLOURS)], COLOURS[number % len(COLOURS)]
            label = f"{taxon} ({own.shape[1]:,})"
            axes.plot(*own, shape, color=colour, alpha=0.8, label=label, **style)
        others = places[~np.isin(names, shown)].T
        if others.size:
            label = f"others ({others.shape[1]:,})"
            axes.plot(*others, "o", color=INK, alpha=0.2, label=label, zorder=1, **style)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xticks=[], yticks=[])  # the numbers mean nothing
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))

    return draw_svg(paint)


def most_frequent(taxa: Sequence[str | None]) -> list[str]:
    """Return the names of the most frequent taxa, `TAXA_AT_MOST` of them; ties go by name.

    Examples:
        >>> most_frequent(["Acer", "Rosa", None, "Rosa", "Abies"])
        ['Rosa', 'Abies', 'Acer']
    """
    counts = Counter(taxon for taxon in taxa if taxon is not None)
    return sorted(counts, key=lambda taxon: (-counts[taxon], taxon))[:TAXA_AT_MOST]
