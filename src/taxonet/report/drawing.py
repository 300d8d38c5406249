"""The sheet that every figure is drawn on: size, colours, and SVG that fits into a page.

Figures are made without pyplot, so that drawing needs no display and leaves no global figures.
Everything neutral (text, axes, grid) is drawn in one ink that becomes ``currentColor``, so a
figure follows the light or dark scheme of the page; data colours read well on both.
"""

import warnings
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

WIDTH_IN = 6.6
INK = "#010203"  # stands for currentColor until the SVG is written
# Okabe and Ito's palette in an order that keeps neighbours apart for every kind of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

_STYLE: dict[Any, Any] = {  # matplotlib's own type for the keys is newer than our oldest version
    "svg.hashsalt": "taxonet",  # else ids are random
    "svg.fonttype": "none",  # text stays text: small files, searchable, any script
    "text.parse_math": False,  # a "$" in a name is a dollar sign, not mathematics
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
}


def draw_svg(paint: Callable[[Figure], None], *, height_in: float = 3.4) -> str:
    """Return what ``paint`` draws as an ``<svg>`` element for use inside a page.

    Equal input gives equal bytes: no date, and ids that depend on the content alone.

    Args:
        paint: Draws on the empty figure.
        height_in: Height in inches; the width is that of a page.
    """
    buffer = StringIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The reader's browser draws the letters, also those that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        paint(figure)
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]  # the XML prologue has no place inside a page
    return svg.replace(INK, "currentColor")


def plain_axes(figure: Figure, *, xlabel: str, ylabel: str) -> Axes:
    """Add the one set of axes of a simple figure."""
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return axes


def plain_counts(axis: Axis) -> None:
    """Label a logarithmic axis 1, 10, 100, 1,000 rather than with powers."""
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def colour_of(order: Sequence[str]) -> dict[str, str]:
    """Give each group a colour by its place, so that figures with one order agree.

    Examples:
        >>> colour_of(["head", "tail"])
        {'head': '#0072b2', 'tail': '#d55e00'}
    """
    return {group: COLOURS[i % len(COLOURS)] for i, group in enumerate(order)}
