"""One photo of the flora, from its row of the plan to pixels."""

import numpy as np
from numpy.typing import NDArray

from taxonet.data.flora.canvas import Canvas
from taxonet.data.flora.flowers import draw_flowers, draw_fruits
from taxonet.data.flora.foliage import Season, draw_foliage, grow
from taxonet.data.flora.plan import Flora
from taxonet.data.flora.scene import Region, draw_grass, photograph, pose
from taxonet.data.flora.taxa import Species
from taxonet.seeds import generator

_FLOWERING: dict[Season, float] = {"spring": 0.9, "summer": 0.85, "autumn": 0.5}


def draw(flora: Flora, row: int) -> NDArray[np.uint8]:
    """Return the photo in a row of a flora's plan, (image_size, image_size, 3), RGB.

    The pixels follow from the seed, the species, the plant, the photo, the region and the season
    alone: not from what was drawn before, and not from the other rows.

    Args:
        flora: The flora.
        row: Position in ``flora.plan``, from 0.

    Examples:
        >>> from taxonet.data.flora import FloraConfig, make_flora
        >>> draw(make_flora(FloraConfig(image_size=32)), 0).shape
        (32, 32, 3)
    """
    photo = flora.plan.iloc[row]
    return draw_photo(
        flora.species[photo["taxon"]],
        size=flora.config.image_size,
        seed=flora.config.seed,
        plant=int(photo["plant"]),
        photo=int(photo["photo"]),
        region=photo["region"],
        season=photo["season"],
    )


def draw_photo(
    species: Species,
    *,
    size: int,
    seed: int,
    plant: int,
    photo: int,
    region: Region,
    season: Season,
) -> NDArray[np.uint8]:
    """Return one photo of one plant of a species."""
    # One stream for the plant, which all its photos share, and one for the photo.
    growth = generator("flora plant", seed, species.name, plant)
    moment = generator("flora photo", seed, species.name, plant, photo, region, season)
    individual = species.morphology.plant(growth)
    lying = individual.forms.habit == "rosette"
    canvas = Canvas(size, pose(individual.forms.habit, moment))
    behind, before = int(moment.integers(3, 9)), int(moment.integers(0, 3))
    draw_grass(canvas, blades=behind, region=region, season=season, lying=lying, rng=moment)
    axes = grow(individual, growth)
    flowering = growth.random() < _FLOWERING[season]
    fruiting = not flowering and season == "autumn"
    barren = not (flowering or fruiting)
    draw_foliage(canvas, individual, axes, season=season, barren=barren, rng=growth)
    if flowering:
        draw_flowers(canvas, individual, axes.stems, growth)
    if fruiting:
        draw_fruits(canvas, individual, axes.stems, growth)
    draw_grass(canvas, blades=before, region=region, season=season, lying=lying, rng=moment)
    return photograph(canvas.finished(), from_above=lying, region=region, season=season, rng=moment)
