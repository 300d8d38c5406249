"""`taxonet list`."""

from importlib import import_module
from typing import Annotated, Any, Literal

import typer

from taxonet.cli.screen import show

Kind = Literal[
    "losses",
    "expert-losses",
    "contrastive-losses",
    "hierarchical-losses",
    "heads",
    "adapters",
    "transforms",
    "samplers",
    "second-stages",
    "recipes",
    "backbones",
    "novelty-scores",
    "fitted-novelty-scores",
    "rollups",
    "policies",
    "benchmark-sets",
]

#: The room whose import puts the parts of a kind on the list, and the name of the list.
_REGISTRIES = {
    "losses": ("losses", "LOSSES"),
    "expert-losses": ("losses", "EXPERT_LOSSES"),
    "contrastive-losses": ("losses.hierarchical", "CONTRASTIVE_LOSSES"),
    "hierarchical-losses": ("losses.hierarchical", "HIERARCHICAL_LOSSES"),
    "heads": ("models", "HEADS"),
    "adapters": ("models.adapters", "ADAPTERS"),
    "transforms": ("data.transforms", "TRANSFORMS"),
    "samplers": ("data", "SAMPLERS"),
    "second-stages": ("training.second_stage", "SECOND_STAGES"),
    "novelty-scores": ("inference.novelty", "NOVELTY_SCORES"),
    "fitted-novelty-scores": ("inference.novelty", "FITTED_NOVELTY_SCORES"),
    "rollups": ("inference.rollup_choice", "ROLLUPS"),
    "policies": ("inference.decision", "POLICIES"),
    "benchmark-sets": ("data.benchmarks", "BENCHMARK_SETS"),
}


def run(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List the parts that a recipe can name, with their options."""
    from taxonet.report import terminal_table

    if kind == "backbones":
        show(terminal_table(_recommended()))
    show(terminal_table(_table(kind)))


def _table(kind: Kind) -> Any:
    from taxonet.report import Column, Table

    if kind == "recipes":
        from taxonet.recipes import preset_names, preset_summary

        rows = [(name, preset_summary(name)) for name in preset_names()]
        return Table("Recipes (--recipe).", (Column("name"), Column("what it is")), tuple(rows))
    registry = _registry(kind)
    rows = [(name, _options_line(registry.options(name))) for name in registry.names()]
    caption = f"{kind.capitalize()}."
    if kind == "backbones":
        caption = (
            "Backbones of taxonet (model.backbone); every timm model name works as well, such as "
            "the default, resnet10t, and clip: with a CLIP model."
        )
    return Table(caption, (Column("name"), Column("options")), tuple(rows))


def _recommended() -> Any:
    from taxonet.models import BACKBONE_TABLE
    from taxonet.report import Column, Table

    rows = [
        (
            row.name,
            f"{row.parameters_millions:.1f}",
            str(row.input_pixels),
            str(row.embedding_size),
            row.licence,
            "yes" if row.needs_download else "no",
            row.note,
        )
        for row in BACKBONE_TABLE
    ]
    headings = ("name", "M", "px", "d", "licence", "download", "note")
    caption = (
        "Backbones with published weights (--backbone). M: millions of parameters; px: side of the "
        "images; d: size of the embeddings."
    )
    return Table(caption, tuple(Column(heading) for heading in headings), tuple(rows))


def _registry(kind: Kind) -> Any:
    if kind == "backbones":
        from taxonet.models import BACKBONES

        return BACKBONES
    room, name = _REGISTRIES[kind]
    import_module(f"taxonet.{room}")
    return getattr(import_module("taxonet.registry"), name)


def _options_line(options: Any) -> str:
    return ", ".join(
        f"{name} (required)" if field.is_required() else f"{name}={field.default!r}"
        for name, field in options.model_fields.items()
    )
