"""`taxonet list`."""

from typing import Annotated, Any, Literal

import typer

from taxonet.cli.screen import show

Kind = Literal["losses", "heads", "transforms", "recipes", "backbones", "novelty-scores"]


def run(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List the parts that a recipe can name, with their options."""
    from taxonet.report import terminal_table

    show(terminal_table(_table(kind)))


def _table(kind: Kind) -> Any:
    from taxonet.report import Column, Table

    if kind == "recipes":
        from taxonet.recipes import load_recipe, preset_names

        rows = [(name, _recipe_line(load_recipe(name))) for name in preset_names()]
        return Table("Recipes (--recipe).", (Column("name"), Column("parts")), tuple(rows))
    registry = _registry(kind)
    rows = [(name, _options_line(registry.options(name))) for name in registry.names()]
    caption = f"{kind.capitalize()}."
    if kind == "backbones":
        caption = (
            "Backbones of taxonet; every timm model name works as well, such as the default, "
            "resnet10t."
        )
    return Table(caption, (Column("name"), Column("options")), tuple(rows))


def _registry(kind: Kind) -> Any:
    from taxonet import registry

    # A part is on the list once its room has been imported.
    if kind == "losses":
        import taxonet.losses

        return registry.LOSSES
    if kind == "transforms":
        import taxonet.data.transforms

        return registry.TRANSFORMS
    if kind == "novelty-scores":
        import taxonet.inference.novelty  # noqa: F401

        return registry.NOVELTY_SCORES
    from taxonet.models import BACKBONES

    return BACKBONES if kind == "backbones" else registry.HEADS


def _options_line(options: Any) -> str:
    return ", ".join(f"{name}={field.default!r}" for name, field in options.model_fields.items())


def _recipe_line(recipe: Any) -> str:
    selection = "" if recipe.selection is None else f", selection {recipe.selection.keep}"
    return f"{recipe.loss.name} on {recipe.model.backbone}, {recipe.model.head} head{selection}"
