"""The verb `zero-shot`: a classifier from the names of taxa, without a training photo."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from taxonet.classifier import (
    Calibration,
    ClassifierParts,
    Preprocessing,
    TaxonClassifier,
    resize_spec,
)
from taxonet.classifier.reading import reading_of
from taxonet.errors import DataError
from taxonet.files import require_free
from taxonet.models import (
    LevelCosineHead,
    Network,
    Normalisation,
    Towers,
    load_towers,
    weights_origin,
)
from taxonet.models.clip_architecture import PREFIX, Architecture, architecture_of
from taxonet.models.level_head import LARGEST_SCALE
from taxonet.recipes import ModelRecipe, PartChoice, Recipe, WordsRecipe
from taxonet.recipes.verbs import ZeroShotConfig
from taxonet.taxonomy import Taxonomy
from taxonet.training.taxon_names import TaxonNames


@dataclass(frozen=True)
class ZeroShotResult:
    """What was made."""

    classifier: Path
    taxa: int
    """Taxa that it can name: the leaves of the taxonomy."""
    notes: tuple[str, ...]
    """What a user should know of the names."""


def zero_shot(config: ZeroShotConfig, *, show_progress: bool = False) -> ZeroShotResult:
    """Write a classifier that compares photos with the names of taxa, by a CLIP model.

    Its classes are the leaves of the taxonomy. A photo's score of a taxon is the cosine between
    both embeddings times the model's scale; probabilities are their softmax over the leaves, or
    inside each level (``levels: all``). The text tower is not kept: the embeddings of the names
    are. There is no threshold yet: `taxonet calibrate` sets one with labelled photos.

    Raises:
        ConfigError: An unknown model, a folder that is taken, or templates that read the same for
            all taxa.
        CheckpointError: Weights that could not be fetched or read.
        DataError: A taxonomy with a single taxon, or a file of common names that cannot be read or
            has none of these taxa.
    """
    require_free(config.out)
    assert config.taxonomy is not None  # the config has seen to it
    assert config.model is not None
    taxonomy = Taxonomy.from_file(
        config.taxonomy, ranks=config.ranks or None, label=config.label_column
    )
    if len(taxonomy.leaves) < 2:
        raise DataError(
            f"{config.taxonomy} has a single taxon to name; telling taxa apart needs two."
        )
    name = config.model if config.model.startswith(PREFIX) else PREFIX + config.model
    recipe = _recipe(config, name, architecture_of(name))
    towers = load_towers(name, weights=config.weights)
    parts, notes = _parts(recipe, taxonomy, towers, cache=config.text_cache, shown=show_progress)
    TaxonClassifier(parts, device="cpu").save(config.out)
    return ZeroShotResult(config.out, len(parts.class_nodes), notes)


def _recipe(config: ZeroShotConfig, name: str, architecture: Architecture) -> Recipe:
    """Return the recipe of such a classifier, from which its training could go on."""
    levels = {} if config.levels == "all" else {"levels": [-1]}
    return Recipe(
        model=ModelRecipe(
            backbone=name,
            weights=config.weights,
            head="level_cosine",
            image_size=architecture.input_size[0],
            fit=config.fit,
        ),
        loss=PartChoice(name="image_text", **levels),
        words=WordsRecipe(
            templates=config.templates,
            names=config.names,
            common_names=None if config.common_names is None else str(config.common_names),
        ),
    )


def _parts(
    recipe: Recipe, taxonomy: Taxonomy, towers: Towers, *, cache: Path | None, shown: bool
) -> tuple[ClassifierParts, tuple[str, ...]]:
    """Return what the classifier is made of, and what a user should know of the names."""
    class_nodes = np.asarray(taxonomy.leaves, dtype=np.int64)
    counts = np.zeros(len(class_nodes), dtype=np.int64)
    reading = reading_of(recipe, taxonomy, class_nodes, counts)
    head = LevelCosineHead(
        towers.image.embedding_size, reading.columns, **reading.head_options(recipe.model.head)
    )
    assert recipe.words is not None
    names = TaxonNames.of(towers.text, reading.tree, recipe.words)
    head.vectors = names.vectors(cache=cache, shown=shown)
    head.set_scales(min(towers.text.logit_scale, LARGEST_SCALE))
    mean, std = towers.image.architecture.colours
    resize = resize_spec(recipe.model)
    parts = ClassifierParts(
        network=Network(towers.image, head, normalisation=Normalisation(mean, std)).eval(),
        taxonomy=taxonomy,
        class_nodes=class_nodes,
        class_counts=counts,
        preprocessing=Preprocessing(
            image_size=resize.size,
            fit=resize.fit,
            interpolation=resize.interpolation,
            crop_share=resize.crop_share,
            mean=mean,
            std=std,
        ),
        calibration=Calibration(),
        recipe=recipe,
        weights_origin=weights_origin(recipe.model.backbone, recipe.model.weights),
    )
    return parts, names.notes
