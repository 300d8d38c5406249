"""Recipes: how a classifier is trained, as checked data."""

from taxonet.recipes.loading import dump_recipe, explain, load_recipe, preset_names
from taxonet.recipes.schema import (
    ModelRecipe,
    OptimiserRecipe,
    PartChoice,
    Recipe,
    ScheduleRecipe,
    Section,
    SelectionRecipe,
)

__all__ = [
    "ModelRecipe",
    "OptimiserRecipe",
    "PartChoice",
    "Recipe",
    "ScheduleRecipe",
    "Section",
    "SelectionRecipe",
    "dump_recipe",
    "explain",
    "load_recipe",
    "preset_names",
]
