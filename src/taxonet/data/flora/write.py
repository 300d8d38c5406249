"""A flora as a folder on disk, written so that an interrupted run can be taken up again."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pandas as pd
from PIL import Image

from taxonet.data.flora.config import FloraConfig
from taxonet.data.flora.drawing import draw
from taxonet.data.flora.plan import Flora, make_flora
from taxonet.data.table import UNKNOWN_SPLIT
from taxonet.errors import DataError
from taxonet.files import atomic_file, read_json, write_json, write_text

# Raised whenever the same config gives other pixels, so that no folder mixes two drawings.
DRAWING_VERSION = 1
JPEG_QUALITY = 90

_COLUMNS = ["image", "taxon", "split", "region", "season", "group"]


def write_flora(
    folder: Path | str,
    config: FloraConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Flora:
    """Write a flora as a folder of JPEG photos and tables, and return it.

    The folder gets ``flora.json`` (the config), ``images/<Genus_epithet>/<nnnn>.jpg``,
    ``taxonomy.csv`` (family, genus, species of the known species), ``images.csv`` (region A,
    splits train, val, calibration and test), ``region.csv`` (the same species in region B, split
    test), ``unknown.csv`` (unknown species in region A, split unknown, with their family, genus
    and whether that genus is known) and ``README.md``. The unknown species are not in
    ``taxonomy.csv``, since nobody can put a taxon into a tree who does not know of it.

    Every file is whole or absent, photos that exist are kept, and the tables come last: a folder
    with a ``README.md`` is complete, and running the same call again completes any other.

    Args:
        folder: Where to write; it is made if need be.
        config: What to make; the default flora if not given.
        progress: Called after every photo with the photos done so far and all photos.

    Raises:
        DataError: The folder holds a flora of another config, or other files.
    """
    config = config or FloraConfig()
    folder = Path(folder)
    _claim(folder, config)
    flora = make_flora(config)
    images = flora.plan["image"].tolist()
    for row, image in enumerate(images):
        path = folder / image
        if not (path.exists() and path.stat().st_size):
            with atomic_file(path, durable=False) as temporary:
                temporary.write_bytes(jpeg(flora, row))
        if progress is not None:
            progress(row + 1, len(images))
    for name, table in _tables(flora).items():
        write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "README.md", _readme(flora))
    return flora


def jpeg(flora: Flora, row: int) -> bytes:
    """Return the photo in a row of a flora's plan as the bytes of its file."""
    encoded = BytesIO()
    # Full chroma: at 64 pixels a flower is a few pixels wide.
    photo = Image.fromarray(draw(flora, row))
    photo.save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return encoded.getvalue()


def _claim(folder: Path, config: FloraConfig) -> None:
    """Mark a folder as this flora's, unless it is something else already."""
    label = {"drawing_version": DRAWING_VERSION, "config": config.model_dump()}
    path = folder / "flora.json"
    if path.exists():
        found = read_json(path)
        if found != label:
            raise DataError(
                f"{path} describes another flora ({found}) than the one asked for ({label}). "
                "Choose another folder, or delete this one."
            )
    elif folder.exists() and any(folder.iterdir()):
        raise DataError(
            f"{folder} is not empty and has no flora.json. Choose an empty or a new folder."
        )
    else:
        write_json(path, label)


def _tables(flora: Flora) -> dict[str, pd.DataFrame]:
    """Return the tables of the folder by file name."""
    plan = _with_unknown_split(flora.plan)
    known = plan["novelty"] == "known"
    unknown = plan[~known]
    lineage = pd.DataFrame(
        {
            "family": [flora.species[name].family for name in unknown["taxon"]],
            "genus": [flora.species[name].genus for name in unknown["taxon"]],
            "novelty": unknown["novelty"].to_numpy(),
        },
        index=unknown.index,
    )
    return {
        "taxonomy.csv": flora.taxonomy,
        "images.csv": plan.loc[known & (plan["region"] == "A"), _COLUMNS],
        "region.csv": plan.loc[known & (plan["region"] == "B"), _COLUMNS],
        "unknown.csv": unknown[_COLUMNS].join(lineage),
    }


def _with_unknown_split(plan: pd.DataFrame) -> pd.DataFrame:
    """Name the split of unknown species as `evaluate --unknown` takes it.

    In the plan it is ``test``, a key of how their plants are drawn.
    """
    return plan.assign(split=plan["split"].where(plan["novelty"] == "known", UNKNOWN_SPLIT))


def _readme(flora: Flora) -> str:
    """Return a description of the folder for people."""
    options = "\n".join(
        f"| {name} | {value} | {FloraConfig.model_fields[name].description} |"
        for name, value in flora.config.model_dump().items()
    )
    plan = _with_unknown_split(flora.plan)
    counts = "\n".join(
        f"| {split} | {region} | {len(rows)} | {rows['taxon'].nunique()} |"
        for (split, region), rows in plan.groupby(["split", "region"], sort=False)
    )
    return _README.format(options=options, counts=counts)


_README = """\
# A procedural flora

Drawn plants with an invented taxonomy, made by `taxonet`. No photo was taken and no plant
exists; a likeness of a name to a real taxon is an accident.

| split | region | photos | species |
|---|---|---|---|
{counts}

- `taxonomy.csv`: family, genus and species of the known species.
- `images.csv`: photos of the known species in region A. `group` is one plant, of which there are
  one to three photos; no plant is in two splits. The training counts have a long tail, the other
  splits are balanced.
- `region.csv`: the same species in region B (another landscape, light and camera), to test only.
- `unknown.csv`: species that are not among the known ones and not in `taxonomy.csv`. `novelty`
  says whether their genus has known species (`known genus`) or none (`unknown genus`).
- `flora.json`: the options below, by which `taxonet` takes up an interrupted run.

| option | value | meaning |
|---|---|---|
{options}
"""
