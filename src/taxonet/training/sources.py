"""What a run is told: a recipe, and photos with a taxonomy, given or named by the recipe."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from taxonet.data import benchmarks
from taxonet.data.sources import open_images
from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError
from taxonet.models import find_row
from taxonet.recipes import PartChoice, Recipe, changed_recipe, load_recipe_and_notes, preset_names
from taxonet.recipes.verbs import TrainConfig
from taxonet.registry import BENCHMARK_SETS
from taxonet.taxonomy import Taxonomy
from taxonet.training.data import flat_taxonomy, open_taxonomy
from taxonet.training.earlier import EarlierPhotos
from taxonet.training.views import with_input_of_weights

_DEFAULT_RECIPE = "quick"


@dataclass(frozen=True)
class Sources:
    """What a training run starts from."""

    recipe: Recipe
    images: ImageTable
    taxonomy: Taxonomy
    notes: tuple[str, ...] = ()
    """What a user should know of how the recipe came together."""
    earlier: EarlierPhotos | None = None
    """The photos of a classifier that the run goes on from; they are among the images."""


def open_sources(config: TrainConfig) -> Sources:
    """Read the recipe, the photos and the taxonomy of a run.

    Raises:
        ConfigError: A recipe that cannot be read or that names no data where it has to.
        DataError: Photos that are missing, or a benchmark set that is not as published.
    """
    found = _sources(config)
    return replace(found, recipe=with_input_of_weights(found.recipe))


def _sources(config: TrainConfig) -> Sources:
    if config.from_ is not None:
        return _going_on(config, config.from_)
    named = str(config.images)
    overrides = (*_backbone_overrides(config.backbone), *config.set)
    if named not in preset_names() or config.images.exists():
        if config.data_folder is not None:
            raise ConfigError(
                "--data-folder says where the benchmark set of a recipe lies, and photos are given "
                "here: leave it out, or name a recipe in the place of the photos."
            )
        recipe, notes = load_recipe_and_notes(config.recipe or _DEFAULT_RECIPE, overrides)
        images = open_images(config.images)
        return Sources(recipe, images, open_taxonomy(config, images), notes)
    if config.recipe is not None:
        raise ConfigError(
            f"{named!r} is a recipe, and --recipe names another. Give photos, or one recipe."
        )
    recipe, notes = load_recipe_and_notes(named, overrides)
    if recipe.data is None:
        raise ConfigError(
            f"The recipe {named!r} does not say what to train on. Give photos: "
            f"taxonet train PHOTOS --recipe {named}."
        )
    found = _read_set(recipe.data, config.data_folder)
    if config.taxonomy is not None:
        return Sources(recipe, found.images, open_taxonomy(config, found.images), notes)
    if found.taxonomy is None:
        return Sources(recipe, found.images, flat_taxonomy(found.images), notes)
    taxonomy = Taxonomy.from_table(found.taxonomy, ranks=found.ranks or None, label="label")
    return Sources(recipe, found.images, taxonomy, notes)


def _going_on(config: TrainConfig, classifier: Path) -> Sources:
    """Add photos to those of an earlier classifier."""
    earlier = EarlierPhotos.of(classifier)
    if config.recipe is None:
        recipe = changed_recipe(earlier.parts.recipe, config.set)
        notes: tuple[str, ...] = ()
    else:
        recipe, notes = load_recipe_and_notes(config.recipe, config.set)
    if recipe.features is None:
        raise ConfigError(
            "--from goes on with the features of earlier photos, and this recipe trains on photos: "
            "choose one that extends `quick`."
        )
    images = earlier.joined(open_images(config.images), seed=recipe.seed)
    return Sources(recipe, images, earlier.taxonomy_with(config), notes, earlier)


def _backbone_overrides(name: str | None) -> list[str]:
    """Return what a choice of backbone changes in a recipe; YAML reads JSON as it is."""
    if name is None:
        return []
    row = find_row(name)
    if row is None:
        return [f"model.backbone={json.dumps(name)}"]
    return [
        f"model.backbone={json.dumps(row.backbone)}",
        f"model.options={json.dumps(dict(row.options))}",
        "model.weights=pretrained",
    ]


def _read_set(choice: PartChoice, folder: Path | None) -> benchmarks.BenchmarkSet:
    folder = Path("benchmarks") / choice.name if folder is None else folder
    if not folder.is_dir():
        raise ConfigError(
            f"The recipe trains on {choice.name}, and {folder} is no folder. Say where the set "
            f"lies with --data-folder, or get it with `taxonet data fetch {choice.name}`."
        )
    options = BENCHMARK_SETS.check(choice.name, choice.options)
    found: benchmarks.BenchmarkSet = BENCHMARK_SETS.get(choice.name)(folder, **options)
    return found
