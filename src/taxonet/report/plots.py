"""The figures of a report: class sizes, recall, embedding norms, open set.

Every function returns an ``<svg>`` element as text (see `draw_svg`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.report.drawing import COLOURS, INK, colour_of, draw_svg, plain_axes, plain_counts

FloatArray = NDArray[np.float64]

_KNOWN, _UNKNOWN = COLOURS[0], COLOURS[1]
_STEPS_AT_MOST = 600  # more are narrower than a printed line
_POINTS_AT_MOST = 400  # more single classes than this blur, and bloat the page


def long_tail(class_counts: ArrayLike, groups: Sequence[str], *, order: Sequence[str]) -> str:
    """Draw training images per class, largest class first, coloured by shot group.

    Args:
        class_counts: Integers ``(c,)``, training images per class.
        groups: The shot group of each class, c names.
        order: All groups in the order of the legend, which gives each its colour.
    """
    counts, group_of = np.asarray(class_counts), np.asarray(groups, dtype=object)
    _check_lengths("class_counts", counts, "groups", group_of)
    by_size = np.argsort(-counts, kind="stable")
    counts, group_of = counts[by_size], group_of[by_size]
    edges = np.linspace(0, len(counts), min(len(counts), _STEPS_AT_MOST) + 1).astype(np.int64)

    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, xlabel="class, by size", ylabel="training images")
        for group, colour in colour_of(order).items():
            of_group = np.asarray(group_of == group)
            heights = np.where(of_group, counts, np.nan)[edges[:-1]]
            label = f"{group}: {of_group.sum():,} classes, {counts[of_group].sum():,} images"
            axes.stairs(heights, edges, fill=True, color=colour, label=label)
        axes.set_yscale("log", nonpositive="clip")
        plain_counts(axes.yaxis)
        axes.set_xlim(0, len(counts))
        axes.set_ylim(bottom=0.7)  # a class of one image still shows
        axes.legend(loc="upper right")

    return draw_svg(paint)


def recall_against_class_size(
    class_counts: ArrayLike, recalls_by_model: Mapping[str, ArrayLike]
) -> str:
    """Draw the mean recall of classes of similar size, a line for each model.

    Classes are binned by powers of two of their training images. With few classes and one
    model, single classes are drawn as faint points.

    Args:
        class_counts: Integers ``(c,)``, training images per class.
        recalls_by_model: Per model the recall of each class, floats ``(c,)``; NaN (no test
            images) is left out, as are classes without training images.
    """
    counts = np.asarray(class_counts)
    recalls = {name: np.asarray(r, dtype=np.float64) for name, r in recalls_by_model.items()}
    for name, recall in recalls.items():
        _check_lengths("class_counts", counts, f"the recalls of {name!r}", recall)

    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, xlabel="training images of the class", ylabel="recall")
        for (name, recall), colour in zip(recalls.items(), _cycled(len(recalls)), strict=True):
            shown = ~np.isnan(recall) & (counts > 0)
            if len(recalls) == 1 and shown.sum() <= _POINTS_AT_MOST:
                axes.plot(counts[shown], recall[shown], ".", color=colour, alpha=0.3)
            sizes, means = _means_by_size(counts[shown], recall[shown])
            axes.plot(sizes, means, "o-", color=colour, markersize=4, label=name)
        axes.set_xscale("log")
        plain_counts(axes.xaxis)
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend(loc="best")

    return draw_svg(paint)


def norms_by_shot_group(
    norms: ArrayLike, groups: Sequence[str], *, order: Sequence[str], extremes: int = 200
) -> str:
    """Draw embedding norms by shot group, and who has the lowest and the highest norms.

    Args:
        norms: Floats ``(N,)``, embedding norm of each image before normalisation.
        groups: The shot group of the true class of each image, N names.
        order: All groups in the order of the legend, which gives each its colour.
        extremes: How many images count as the lowest and as the highest; at most half of all.
    """
    values, group_of = np.asarray(norms, dtype=np.float64), np.asarray(groups, dtype=object)
    _check_lengths("norms", values, "groups", group_of)
    colours = colour_of(order)
    taken = min(extremes, len(values) // 2)
    rising = np.argsort(values, kind="stable")
    ends = {f"{taken} lowest": rising[:taken], f"{taken} highest": rising[len(values) - taken :]}
    ends["all"] = rising

    def paint(figure: Figure) -> None:
        distribution, shares = figure.subplots(2, 1, height_ratios=[2, 1])
        edges = np.histogram_bin_edges(values, bins=40)
        for group, colour in colours.items():
            of_group = np.asarray(group_of == group)
            if not of_group.any():
                continue
            density, _ = np.histogram(values[of_group], bins=edges, density=True)
            distribution.stairs(density, edges, color=colour, linewidth=1.6, label=group)
        distribution.set(xlabel="embedding norm", ylabel="density")
        distribution.legend(loc="upper right")
        _stack_shares(shares, {end: group_of[rows] for end, rows in ends.items()}, colours)
        shares.set_xlabel("share of shot groups among the images")

    return draw_svg(paint, height_in=4.6)


def open_set_histogram(known: ArrayLike, unknown: ArrayLike, *, threshold: float) -> str:
    """Draw the novelty scores of known and unknown images, and the threshold between them.

    Args:
        known: Floats ``(N,)``, scores of images of known taxa; higher is more novel.
        unknown: Floats ``(M,)``, scores of images of unknown taxa.
        threshold: Images up to this score are accepted as known.
    """
    sides = {
        "known taxa": (np.asarray(known, dtype=np.float64), _KNOWN),
        "unknown taxa": (np.asarray(unknown, dtype=np.float64), _UNKNOWN),
    }

    def paint(figure: Figure) -> None:
        axes = plain_axes(
            figure, xlabel="novelty score (higher is more novel)", ylabel="share of images"
        )
        edges = np.histogram_bin_edges(np.concatenate([s for s, _ in sides.values()]), bins=50)
        for label, (scores, colour) in sides.items():
            share = np.histogram(scores, bins=edges)[0] / max(len(scores), 1)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(share, edges, color=colour, label=f"{label}: {len(scores):,} images")
        axes.axvline(threshold, color=INK, linestyle="--", label=f"threshold {threshold:.4g}")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend(loc="best")

    return draw_svg(paint)


def _means_by_size(counts: NDArray[np.int64], recall: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the geometric mean size and the mean recall of each power-of-two bin."""
    bin_of = np.floor(np.log2(counts)).astype(np.int64)
    bins = np.unique(bin_of)
    sizes = [np.exp(np.log(counts[bin_of == b]).mean()) for b in bins]
    return np.array(sizes), np.array([recall[bin_of == b].mean() for b in bins])


def _stack_shares(
    axes: Axes, members: Mapping[str, NDArray[np.object_]], colours: Mapping[str, str]
) -> None:
    left = np.zeros(len(members))
    for group, colour in colours.items():
        share = np.array(
            [np.mean(names == group) if len(names) else 0 for names in members.values()]
        )
        axes.barh(list(members), share, left=left, color=colour, height=0.7)
        left += share
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(visible=False)


def _cycled(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _check_lengths(
    name: str, values: NDArray[np.generic], other_name: str, others: NDArray[np.generic]
) -> None:
    if values.ndim != 1 or values.shape != others.shape or values.size == 0:
        raise DataError(
            f"Expected {name} and {other_name} as two rows of one length of at least 1, got "
            f"{values.shape} and {others.shape}."
        )
