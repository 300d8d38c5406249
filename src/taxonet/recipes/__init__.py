"""Recipes: how a classifier is trained, as checked data."""

from taxonet.recipes.loading import (
    changed_recipe,
    dump_recipe,
    explain,
    load_recipe,
    load_recipe_and_notes,
    preset_names,
    preset_summary,
    read_overrides,
)
from taxonet.recipes.model import ModelRecipe
from taxonet.recipes.schema import (
    ContrastRecipe,
    FeaturesRecipe,
    MixingRecipe,
    OptimiserRecipe,
    ProbeRecipe,
    Recipe,
    ReweightingRecipe,
    ScheduleRecipe,
    SecondStageRecipe,
    SelectionRecipe,
    TransferRecipe,
    WordsRecipe,
)
from taxonet.recipes.sections import PartChoice, Section

__all__ = [
    "ContrastRecipe",
    "FeaturesRecipe",
    "MixingRecipe",
    "ModelRecipe",
    "OptimiserRecipe",
    "PartChoice",
    "ProbeRecipe",
    "Recipe",
    "ReweightingRecipe",
    "ScheduleRecipe",
    "SecondStageRecipe",
    "Section",
    "SelectionRecipe",
    "TransferRecipe",
    "WordsRecipe",
    "changed_recipe",
    "dump_recipe",
    "explain",
    "load_recipe",
    "load_recipe_and_notes",
    "preset_names",
    "preset_summary",
    "read_overrides",
]
