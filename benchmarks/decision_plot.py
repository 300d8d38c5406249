"""A picture of risk over coverage: a panel a classifier, a line a rule."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from numpy.typing import NDArray

from taxonet.files import atomic_file

_WIDTH, _HEIGHT, _BESIDE = 3.4, 2.8, 2


def draw_curves(
    records: Mapping[str, Mapping[str, Any]], coverage: NDArray[Any], path: Path
) -> None:
    """Draw the curves of classifiers, risks in percent at each coverage, as SVG.

    The same records give the same bytes.
    """
    with matplotlib.rc_context({"svg.hashsalt": "taxonet", "font.size": 8}):
        rows = -(-len(records) // _BESIDE)
        figure = Figure(figsize=(_WIDTH * _BESIDE, _HEIGHT * rows), layout="constrained")
        panels = figure.subplots(rows, _BESIDE, sharex=True, sharey=True, squeeze=False).flat
        for panel, (name, curves) in zip(panels, records.items(), strict=False):
            panel.set_title(name, fontsize=8)
            panel.set(xlabel="coverage (%)", ylabel="wrong names (% of photos)")
            panel.label_outer()
            panel.grid(alpha=0.3)
            for rule, curve in curves.items():
                known = [risk for risk in curve["risk"] if risk is not None]
                # Lines that coincide should both be seen: the first is dashed, on top.
                style = {"zorder": 3, "linestyle": "--"} if rule == next(iter(curves)) else {}
                percent = [100 * risk for risk in known]
                panel.plot(100 * coverage[: len(known)], percent, label=rule, **style)
        figure.axes[0].legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as new:
            figure.savefig(new, format="svg", metadata={"Date": None})
