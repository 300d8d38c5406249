"""A picture of risk over coverage: a panel a classifier, a line a rule."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from numpy.typing import NDArray

from taxonet.files import atomic_file

_WIDTH, _HEIGHT = 3.4, 3.0


def draw_curves(
    records: Mapping[str, Mapping[str, Any]], coverage: NDArray[Any], path: Path
) -> None:
    """Draw the curves of classifiers, risks in percent at each coverage, as SVG.

    The same records give the same bytes.
    """
    with matplotlib.rc_context({"svg.hashsalt": "taxonet", "font.size": 8}):
        figure = Figure(figsize=(_WIDTH * max(len(records), 1), _HEIGHT), layout="constrained")
        panels = figure.subplots(1, max(len(records), 1), sharey=True, squeeze=False)[0]
        for panel, (name, curves) in zip(panels, records.items(), strict=False):
            panel.set_title(name, fontsize=8)
            panel.set_xlabel("coverage (%)")
            panel.grid(alpha=0.3)
            for rule, curve in curves.items():
                known = [risk for risk in curve["risk"] if risk is not None]
                panel.plot(100 * coverage[: len(known)], [100 * risk for risk in known], label=rule)
        panels[0].set_ylabel("wrong names (% of photos)")
        panels[0].legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as new:
            figure.savefig(new, format="svg", metadata={"Date": None})
