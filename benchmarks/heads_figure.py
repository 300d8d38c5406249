"""A picture of heads on stored features: macro recall of common and rare taxa, on Flowers-102.

python -m benchmarks.heads_figure docs/figures/heads.svg
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.heads import records
from taxonet.files import atomic_file

#: Rows of the table by the name that the picture gives them.
_SHOWN = {
    "logistic regression": "logistic regression",
    "linear CE": "cross entropy",
    "DBM-BS": "taxonet's default",
}
_GROUPS = {"many": "over 100 photos", "medium": "20 to 100", "few": "under 20"}
_COLOURS = ("#b8b8b8", "#7a9e9f", "#2f6b3c")


def draw(path: Path) -> None:
    """Draw bars of the mean over seeds with its standard deviation; equal records, equal bytes."""
    found = records("flowers102")
    with matplotlib.rc_context({"svg.hashsalt": "taxonet", "font.size": 9}):
        figure = Figure(figsize=(5.6, 2.6), layout="constrained")
        axes = figure.subplots()
        width = 0.8 / len(_SHOWN)
        for place, ((row, label), colour) in enumerate(zip(_SHOWN.items(), _COLOURS, strict=True)):
            runs = [one["test"]["shot_groups"] for one in found if one["row"] == row]
            values = 100 * np.array([[run[group] for group in _GROUPS] for run in runs])
            axes.bar(
                np.arange(len(_GROUPS)) + (place - 1) * width,
                values.mean(axis=0),
                width,
                yerr=values.std(axis=0, ddof=1),
                label=label,
                color=colour,
                error_kw={"linewidth": 0.8},
            )
        axes.set_xticks(range(len(_GROUPS)), [f"taxa with {name}" for name in _GROUPS.values()])
        axes.set(ylabel="recall of a taxon (%)", ylim=(0, 100))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, ncols=len(_SHOWN), loc="lower center", bbox_to_anchor=(0.5, 1.0))
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as new:
            figure.savefig(new, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path, help="SVG file to write")
    draw(parser.parse_args().path)


if __name__ == "__main__":
    main()
