"""Whether stated probabilities are honest, at every rank, for common and for rare taxa."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from taxonet.data.long_tail import SHOT_GROUPS
from taxonet.evaluation import Evaluation, shown_levels
from taxonet.metrics import ReliabilityCurve
from taxonet.report.drawing import INK, colour_of, draw_svg
from taxonet.report.structure import Cell, Column, Figure, Section, Table
from taxonet.report.summary import percent

_PANELS_IN_A_ROW = 3
_ROW_HEIGHT_IN = 2.3
_POINT_OF_ALL = 500  # square points, the area of a point that stands for all images


def calibration_section(evaluations: Mapping[str, Evaluation]) -> Section:
    """Return the section on stated probabilities; the figure is of the first evaluation."""
    name, subject = next(iter(evaluations.items()))
    levels = shown_levels(subject.test)
    return Section(
        "What its probabilities are worth",
        paragraphs=(
            "The most probable taxon of a rank is right as often as its probability says, if the "
            "probability is honest. The expected calibration error (ECE) is the mean gap between "
            "the two. Shot groups are those of the taxon that is named, by its training photos.",
        ),
        tables=(_table(evaluations),),
        figures=(
            Figure(
                reliability(
                    {level: counts.reliability_by_group() for level, counts in levels.items()},
                    order=SHOT_GROUPS,
                ),
                f"How often {name} is right, by the probability that it states.",
                "A panel for each rank with a line for each shot group; on the diagonal, stated "
                "probabilities are honest, and below it they promise too much.",
            ),
        ),
    )


def reliability(
    levels: Mapping[str, Mapping[str, ReliabilityCurve]], *, order: Sequence[str]
) -> str:
    """Draw found accuracy over stated probability, a panel for each level, a line for each group.

    The area of a point is the share of the panel's images in its bin.

    Args:
        levels: Curves by level, then by group; at least one level.
        order: All groups in the order of the legend, which gives each its colour.
    """
    rows = -(-len(levels) // _PANELS_IN_A_ROW)

    def paint(drawing: Drawing) -> None:
        panels = drawing.subplots(
            rows, min(len(levels), _PANELS_IN_A_ROW), squeeze=False, sharey=True
        )
        for axes, (level, curves) in zip(panels.flat, levels.items(), strict=False):
            _paint_level(axes, curves, order)
            axes.set(title=level, xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 0.5, 1))
        for axes in panels.flat[len(levels) :]:
            axes.set_visible(False)
        drawing.supxlabel("stated probability", fontsize="medium")
        drawing.supylabel("share that is right", fontsize="medium")
        panels.flat[0].legend(loc="upper left", fontsize="small")

    return draw_svg(paint, height_in=0.6 + _ROW_HEIGHT_IN * rows)


def _paint_level(axes: Axes, curves: Mapping[str, ReliabilityCurve], order: Sequence[str]) -> None:
    axes.plot([0, 1], [0, 1], "--", color=INK, alpha=0.5, label="honest")
    images = sum(int(curve.images.sum()) for curve in curves.values())
    for group, colour in colour_of(order).items():
        curve = curves.get(group)
        if curve is None or not curve.images.any():
            continue
        filled = curve.images > 0
        stated, found = curve.mean_prob[filled], curve.accuracy[filled]
        axes.plot(stated, found, color=colour, linewidth=1, label=group)
        size = _POINT_OF_ALL * curve.images[filled] / images
        axes.scatter(stated, found, s=size, color=colour, alpha=0.7, linewidths=0)


def _table(evaluations: Mapping[str, Evaluation]) -> Table:
    columns = (
        Column("classifier"),
        Column("rank"),
        Column("ECE", "%", 1),
        *(Column(f"{group}-shot", "%", 1) for group in SHOT_GROUPS),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, one in evaluations.items():
        for rank in shown_levels(one.test):
            found = one.metrics["test"]["calibration"][rank]
            groups = (percent(found["shot_groups"][group]) for group in SHOT_GROUPS)
            rows.append((name, rank, percent(found["ece"]), *groups))
    return Table("Expected calibration error on the test photos.", columns, tuple(rows))
