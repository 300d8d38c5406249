"""The figures of an analysis: angles, norms, distances, margins.

Every function returns an ``<svg>`` element as text (see `draw_svg`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from taxonet.data.long_tail import SHOT_GROUPS
from taxonet.errors import DataError
from taxonet.evaluation import AngleSpread
from taxonet.metrics import PairMeans
from taxonet.report.drawing import COLOURS, INK, colour_of, draw_svg, plain_axes, plain_counts

_BOX_WIDTH = 0.6


def angles_by_shot_group(photos: Mapping[str, Mapping[str, AngleSpread | None]]) -> str:
    """Draw a box for each shot group and set of photos; whiskers go from 5 % to 95 %.

    Args:
        photos: Per set of photos the spread of each group; groups without photos are left out.
    """
    colours = colour_of(SHOT_GROUPS)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(photos), sharey=True, squeeze=False)[0]
        for axes, (name, spreads) in zip(panels, photos.items(), strict=True):
            for place, (group, spread) in enumerate(spreads.items()):
                if spread is None:
                    continue
                colour = colours.get(group, INK)
                box = {
                    "whislo": spread.p05_deg,
                    "q1": spread.q1_deg,
                    "med": spread.median_deg,
                    "q3": spread.q3_deg,
                    "whishi": spread.p95_deg,
                }
                lines = {"color": colour, "linewidth": 1.4}
                axes.bxp(
                    [box],
                    positions=[place],
                    widths=_BOX_WIDTH,
                    showfliers=False,
                    boxprops=lines,
                    medianprops=lines,
                    whiskerprops=lines,
                    capprops=lines,
                    manage_ticks=False,
                )
            axes.set_xticks(range(len(spreads)), list(spreads))
            axes.set_title(name)
            axes.grid(visible=False, axis="x")
        panels[0].set_ylabel("angle to the class's vector (°)")

    return draw_svg(paint)


def norms_against_class_size(
    train_images: Sequence[int], norms: Mapping[str, Sequence[float | None]]
) -> str:
    """Draw the norm of each class's vector against its training images, a panel a kind of vector.

    Args:
        train_images: Training images of each class, c of them.
        norms: Per kind of vector the norm of each class, None for a class without one.

    Raises:
        DataError: Not one norm a class.
    """
    sizes = np.asarray(train_images)
    values = {kind: np.array(found, dtype=np.float64) for kind, found in norms.items()}
    for kind, found in values.items():
        if found.shape != sizes.shape:
            raise DataError(
                f"Expected a norm of each of {len(sizes)} classes, got {len(found)} of {kind!r}."
            )

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(values), squeeze=False)[0]
        for axes, colour, (kind, found) in zip(panels, COLOURS, values.items(), strict=False):
            shown = ~np.isnan(found) & (sizes > 0)
            axes.plot(sizes[shown], found[shown], ".", color=colour, alpha=0.5)
            axes.set_xscale("log")
            plain_counts(axes.xaxis)
            axes.set(title=kind, xlabel="training images of the class", ylabel="norm")
            axes.set_ylim(bottom=0)

    return draw_svg(paint)


def pair_means(pairs: Mapping[str, PairMeans]) -> str:
    """Draw mean distance and mean cosine of each kind of pair, two panels of bars."""

    def paint(figure: Figure) -> None:
        panels = dict(zip(("distance", "cosine"), figure.subplots(1, 2), strict=True))
        for what, axes in panels.items():
            heights = [_height(getattr(found, what)) for found in pairs.values()]
            axes.bar(range(len(pairs)), heights, color=COLOURS[0], width=0.65)
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.set_xticks(range(len(pairs)), list(pairs), rotation=20)
            axes.set_ylabel(f"mean {what}")
            axes.grid(visible=False, axis="x")

    return draw_svg(paint)


def separation_in_fitting(batches: Sequence[int], pairs: Sequence[Mapping[str, PairMeans]]) -> str:
    """Draw mean distance and mean cosine of each kind of pair against the batches done.

    Args:
        batches: Batches done at each look.
        pairs: The pairs at each look, of the same kinds every time.
    """

    def paint(figure: Figure) -> None:
        panels = dict(zip(("distance", "cosine"), figure.subplots(1, 2), strict=True))
        for what, axes in panels.items():
            for colour, name in zip(COLOURS, pairs[0], strict=False):
                means = [getattr(look[name], what) for look in pairs]
                if None not in means:
                    axes.plot(batches, means, color=colour, label=name)
            axes.set(xlabel="batches", ylabel=f"mean {what}")
        panels["cosine"].legend(loc="best")

    return draw_svg(paint)


def means_by_shot_group(means: Mapping[str, Mapping[str, float | None]], *, ylabel: str) -> str:
    """Draw a bar for each shot group, side by side for each set of photos.

    Args:
        means: Per set of photos the mean of each group; None draws no bar.
        ylabel: What is drawn, and its unit.
    """
    groups = list(dict.fromkeys(group for found in means.values() for group in found))
    width = 0.8 / len(means)

    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, xlabel="", ylabel=ylabel)
        for number, (name, found) in enumerate(means.items()):
            places = np.arange(len(groups)) + (number - (len(means) - 1) / 2) * width
            heights = [_height(found.get(group)) for group in groups]
            axes.bar(places, heights, width=width, color=COLOURS[number % len(COLOURS)], label=name)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xticks(range(len(groups)), groups)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="best")

    return draw_svg(paint)


def _height(value: float | None) -> float:
    return 0.0 if value is None else value
