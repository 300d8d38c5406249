"""Which images a flora has: counts, splits, plants, seasons. Nothing is drawn here."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from taxonet.data.flora.config import FloraConfig
from taxonet.data.flora.foliage import Season
from taxonet.data.flora.scene import Region
from taxonet.data.flora.taxa import Species, grow_tree
from taxonet.seeds import generator

_SEASONS: tuple[Season, ...] = ("spring", "summer", "autumn")
_SEASON_SHARES = (0.4, 0.4, 0.2)
_MOST_PHOTOS_OF_A_PLANT = 3


@dataclass(frozen=True, eq=False)
class Flora:
    """A procedural flora: who grows there, and which photos are taken.

    Args:
        config: What it was made from.
        taxonomy: One row for each known species, columns family, genus, species.
        plan: One row for each image. ``image`` is its path below the flora's folder; ``taxon``
            the species; ``split`` is train, val, calibration or test (unknown species are there
            to test on); ``region`` is A or B; ``season`` spring, summer or autumn; ``group`` the
            individual plant, which never straddles splits; ``plant`` and ``photo`` number the
            plant within its species and the photo of it; ``novelty`` is known, known genus or
            unknown genus.
        species: All species by name, unknown ones too.
    """

    config: FloraConfig
    taxonomy: pd.DataFrame
    plan: pd.DataFrame
    species: dict[str, Species]


def make_flora(config: FloraConfig | None = None) -> Flora:
    """Return the flora of a config: its taxonomy and the plan of its images.

    Examples:
        >>> flora = make_flora(FloraConfig(species=6, genera=3, families=2))
        >>> list(flora.taxonomy.columns), len(flora.taxonomy)
        (['family', 'genus', 'species'], 6)
        >>> int((flora.plan["split"] == "train").sum())
        363
    """
    config = config or FloraConfig()
    species = grow_tree(config)
    known = [one for one in species if one.novelty == "known"]
    taxonomy = pd.DataFrame(
        {
            "family": [one.family for one in known],
            "genus": [one.genus for one in known],
            "species": [one.name for one in known],
        }
    )
    # Rarity is drawn by lot, so that no family or genus is common as a whole.
    order = generator("flora rarity", config.seed).permutation(len(known))
    counts = dict(zip((known[i].name for i in order), config.train_counts(), strict=True))
    rows = [row for one in species for row in _photos_of(one, counts.get(one.name, 0), config)]
    return Flora(config, taxonomy, pd.DataFrame(rows), {one.name: one for one in species})


def _photos_of(
    species: Species, train_images: int, config: FloraConfig
) -> Iterator[dict[str, object]]:
    """Yield the rows of one species, plant by plant."""
    wanted: list[tuple[str, Region, int]] = [
        ("train", "A", train_images),
        ("val", "A", config.val_images),
        ("calibration", "A", config.calibration_images),
        ("test", "A", config.test_images),
        ("test", "B", config.region_images),
    ]
    if species.novelty != "known":
        wanted = [("test", "A", config.unknown_images)]
    folder = species.name.replace(" ", "_")
    plant, number = 0, 0
    for split, region, images in wanted:
        # The key keeps a split's plants as they are when another split's size changes.
        rng = generator("flora plants", config.seed, species.name, split, region)
        for photos in _plants(images, rng):
            season = _SEASONS[rng.choice(len(_SEASONS), p=_SEASON_SHARES)]
            for photo in range(photos):
                yield {
                    "image": f"images/{folder}/{number:04d}.jpg",
                    "taxon": species.name,
                    "split": split,
                    "region": region,
                    "season": season,
                    "group": f"{folder}-{plant:04d}",
                    "plant": plant,
                    "photo": photo,
                    "novelty": species.novelty,
                }
                number += 1
            plant += 1


def _plants(images: int, rng: np.random.Generator) -> Iterator[int]:
    """Yield the number of photos of each plant, 1 to 3, until there are enough."""
    left = images
    while left > 0:
        photos = min(left, int(rng.integers(1, _MOST_PHOTOS_OF_A_PLANT + 1)))
        yield photos
        left -= photos
