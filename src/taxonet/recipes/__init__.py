"""Recipes: how a classifier is trained, as checked data."""

from taxonet.recipes.loading import (
    dump_recipe,
    explain,
    load_recipe,
    preset_names,
    preset_summary,
    read_overrides,
)
from taxonet.recipes.schema import (
    ContrastRecipe,
    MixingRecipe,
    ModelRecipe,
    OptimiserRecipe,
    PartChoice,
    Recipe,
    ReweightingRecipe,
    ScheduleRecipe,
    SecondStageRecipe,
    Section,
    SelectionRecipe,
    TransferRecipe,
    WordsRecipe,
)

__all__ = [
    "ContrastRecipe",
    "MixingRecipe",
    "ModelRecipe",
    "OptimiserRecipe",
    "PartChoice",
    "Recipe",
    "ReweightingRecipe",
    "ScheduleRecipe",
    "SecondStageRecipe",
    "Section",
    "SelectionRecipe",
    "TransferRecipe",
    "WordsRecipe",
    "dump_recipe",
    "explain",
    "load_recipe",
    "preset_names",
    "preset_summary",
    "read_overrides",
]
