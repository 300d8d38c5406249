"""The confusion matrix of genera, as much of it as a page can show."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from taxonet.errors import DataError
from taxonet.metrics import ConfusionCounts
from taxonet.report.drawing import COLOURS, INK, draw_svg

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LABELLED_FROM_SHARE = 0.1


def genus_confusion(counts: ConfusionCounts, names: Sequence[str], *, most: int = 30) -> str:
    """Draw where the images of each genus went, for the genera that are confused most.

    A row is a true genus; its cells are shares of its test images, its last cell is what went
    to genera that are not shown. Confusions and right answers have different colours.

    Args:
        counts: Counts over genera.
        names: Name of each genus.
        most: Show at most this many genera: those in the most wrong pairs, as truth or as
            prediction. The figure's title says how many of all it shows.

    Raises:
        DataError: Not exactly one name per genus, or no test images.
    """
    if len(names) != counts.n_classes:
        raise DataError(f"Expected {counts.n_classes} names of genera, got {len(names)}.")
    shown = _most_confused_genera(counts, most)
    if shown.size == 0:
        raise DataError("There are no test images whose genera could be confused.")
    shares = _shares(counts, shown)
    labels = [names[genus] for genus in shown]
    tested = int(np.count_nonzero(counts.images))

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        _paint_cells(axes, shares)
        axes.set_xticks(
            np.arange(len(labels) + 1) + 0.5, [*labels, "others"], rotation=90, fontsize=8
        )
        axes.set_yticks(np.arange(len(labels)) + 0.5, labels, fontsize=8)
        axes.set(xlabel="predicted genus", ylabel="true genus")
        axes.set_title(
            f"{len(labels)} of {tested} tested genera, the most confused first "
            "(% of a row's images)"
        )

    return draw_svg(paint, height_in=2.2 + 0.21 * len(labels))


def _most_confused_genera(counts: ConfusionCounts, most: int) -> IntArray:
    """Return tested genera by falling number of wrong images as truth or as prediction."""
    pairs = counts.pairs()
    wrong = pairs.truth != pairs.predicted
    involved = np.zeros(counts.n_classes, dtype=np.int64)
    np.add.at(involved, pairs.truth[wrong], pairs.images[wrong])
    np.add.at(involved, pairs.predicted[wrong], pairs.images[wrong])
    tested = np.flatnonzero(counts.images)
    return tested[np.argsort(-involved[tested], kind="stable")][:most]


def _shares(counts: ConfusionCounts, shown: IntArray) -> FloatArray:
    """Return ``(m, m + 1)`` shares of the rows' images; the last column is all other genera."""
    position = np.full(counts.n_classes, -1)
    position[shown] = np.arange(len(shown))
    pairs = counts.pairs()
    row, column = position[pairs.truth], position[pairs.predicted]
    both = (row >= 0) & (column >= 0)
    matrix = np.zeros((len(shown), len(shown) + 1))
    matrix[row[both], column[both]] = pairs.images[both]
    matrix[:, -1] = counts.images[shown] - matrix.sum(axis=1)
    return matrix / counts.images[shown][:, None]


def _paint_cells(axes: Axes, shares: FloatArray) -> None:
    rows, columns = np.nonzero(shares)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    squares = np.stack([columns, rows], axis=1)[:, None, :] + corners  # (cells, 4, 2)
    # The root lifts small shares: one confusion in twenty has to be visible.
    strength = 0.9 * np.sqrt(shares[rows, columns])
    colours = [
        (COLOURS[0] if row == column else COLOURS[1], float(alpha))
        for row, column, alpha in zip(rows, columns, strength, strict=True)
    ]
    axes.add_collection(PolyCollection(list(squares), facecolors=colours, linewidths=0))
    for row, column in np.argwhere(shares >= _LABELLED_FROM_SHARE):
        text = f"{100 * shares[row, column]:.0f}"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7)
    axes.axvline(shares.shape[1] - 1, color=INK, linewidth=0.8)
    axes.set(xlim=(0, shares.shape[1]), ylim=(shares.shape[0], 0))
    axes.grid(visible=False)
