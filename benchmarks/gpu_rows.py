"""What the long-tail run trains: rows of published tables by the recipes that reproduce them."""

from dataclasses import dataclass

from taxonet.errors import ConfigError
from taxonet.recipes import Recipe, load_recipe

_DBM, _PC, _SMART = "dbm/cifar100-lt/", "pc/cifar100-lt/", "smart/cifar100-lt/"


@dataclass(frozen=True)
class Row:
    """A network to train, and second stages to fit on it once it is trained."""

    name: str
    recipe: str
    stages: tuple[tuple[str, str], ...] = ()
    """Names of the rows that are this one with a new head, and the recipes that say which."""


#: The most telling first.
ROWS = {
    row.name: row
    for row in (
        Row("CE", f"{_DBM}ce"),
        Row("BS", f"{_DBM}bs"),
        Row("DBM-CE", f"{_DBM}dbm-ce"),
        Row("DBM-BS", f"{_DBM}dbm-bs"),
        Row("LDAM-DRW", f"{_DBM}ldam-drw"),
        Row("DBM-DRW", f"{_DBM}dbm-drw"),
        Row(
            "CE, high weight decay",
            f"{_PC}softmax",
            (
                ("+ NCM", f"{_PC}ncm"),
                ("+ PC", f"{_PC}pc"),
                ("+ PC + CDT + LA", f"{_PC}pc-cdt-la"),
                ("+ cRT", f"{_PC}crt"),
                ("+ tau-norm", "method/tau-norm"),
            ),
        ),
        Row("SMART", f"{_SMART}smart"),
        Row("BSCE + SMART", f"{_SMART}bsce-smart"),
    )
}


def recipe_of(row: Row, *, seed: int, epochs: int | None = None) -> Recipe:
    """Return a row's recipe with that seed, its schedule squeezed into other epochs if asked.

    Warm-up and the steps of the rate keep their places in the whole.

    Raises:
        ConfigError: The recipe asks for what this run does not do.

    Examples:
        >>> short = recipe_of(ROWS["SMART"], seed=0, epochs=20)
        >>> short.epochs, short.schedule.warmup_epochs, short.schedule.milestones
        (20, 0.5, (16.0, 18.0))
    """
    recipe = load_recipe(row.recipe, [f"seed={seed}"])
    _check(recipe, row)
    if epochs is None:
        return recipe
    share, schedule = epochs / recipe.epochs, recipe.schedule
    squeezed = schedule.model_copy(
        update={
            "warmup_epochs": schedule.warmup_epochs * share,
            "milestones": tuple(epoch * share for epoch in schedule.milestones),
        }
    )
    return recipe.model_copy(update={"epochs": epochs, "schedule": squeezed})


def _check(recipe: Recipe, row: Row) -> None:
    """Refuse what the steps of this run would pass over in silence."""
    unlike = {
        "selection": recipe.selection is not None,
        "mixing": recipe.mixing is not None,
        "contrast": recipe.contrast is not None,
        "sampler": recipe.sampler.name != "instance_balanced",
        "model.experts": recipe.model.experts > 1,
        "accumulate": recipe.accumulate > 1,
        "optimiser": recipe.optimiser.name != "sgd" or recipe.optimiser.clip_norm is not None,
        "augment": recipe.augment.name not in ("shift_flip", "auto_augment_cutout")
        or bool(recipe.augment.options),
    }
    wrong = [key for key, given in unlike.items() if given]
    if wrong:
        raise ConfigError(
            f"The row {row.name!r} cannot be trained here: its recipe {row.recipe!r} sets "
            f"{', '.join(wrong)} to what only `taxonet train` does."
        )
