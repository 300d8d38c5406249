"""A picture of what `make demo` names: photos of another region and of unknown plants.

    python -m benchmarks.demo_picture runs/demo docs/figures/demo.jpg

Shows the first photos of each rule by which they were named, so that nobody chooses.
"""

import argparse
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from taxonet.files import atomic_file

_COLUMNS, _ROWS = 6, 2
_RULES = ("leaf", "rolled up", "unknown")


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the photos of the picture: equally many of each rule, of as many taxa as there are.

    Examples:
        >>> rule = ["leaf"] * 5 + ["unknown"] * 5 + ["rolled up to genus"] * 5
        >>> rows = pd.DataFrame({"image": [f"{row}/a.jpg" for row in range(15)], "rule": rule})
        >>> shown(rows)["rule"].tolist()[3:6]
        ['leaf', 'rolled up to genus', 'rolled up to genus']
    """
    folder = rows["image"].map(lambda name: Path(name).parent.name)
    different = rows[~(folder + rows["rule"]).duplicated()]
    of_each = _COLUMNS * _ROWS // len(_RULES)
    return pd.concat(
        [different[different["rule"].str.startswith(rule)].head(of_each) for rule in _RULES]
    )


def draw(run: Path, path: Path) -> None:
    """Draw photos with the names that they were given, and the true one beneath."""
    rows = shown(pd.read_csv(run / "predictions.csv"))
    with matplotlib.rc_context({"font.size": 7}):
        figure = Figure(figsize=(1.5 * _COLUMNS, 1.95 * _ROWS), layout="constrained")
        for axes, (_, row) in zip(
            figure.subplots(_ROWS, _COLUMNS).flat, rows.iterrows(), strict=False
        ):
            axes.imshow(Image.open(row["image"]))
            axes.axis("off")
            is_unknown = row["rule"] == "unknown"
            said = "unknown" if is_unknown else f"{row['scientificName']}\n{row['taxonRank']}"
            chance = "" if is_unknown else f", {row['probability']:.0%}"
            truth = Path(row["image"]).parent.name.replace("_", " ")
            axes.set_title(
                f"{said}{chance}", fontsize=7, color="#8a2d2d" if is_unknown else "black"
            )
            axes.text(0.5, -0.06, f"is {truth}", ha="center", va="top", transform=axes.transAxes)
        with atomic_file(path) as new:
            figure.savefig(new, format="jpeg", dpi=110, pil_kwargs={"quality": 82})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="folder of the demonstration")
    parser.add_argument("path", type=Path, help="JPEG file to write")
    options = parser.parse_args()
    draw(options.run, options.path)


if __name__ == "__main__":
    main()
