"""What is compared: the tables of docs/results.md, row by row."""

from dataclasses import dataclass, field

from benchmarks import datasets
from benchmarks.datasets import Prepare


@dataclass(frozen=True)
class Row:
    """One method: a recipe and what is changed in it."""

    name: str
    recipe: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSpec:
    """Rows that differ in method only: data, backbone, schedule and length are the same."""

    name: str
    prepare: Prepare
    common: tuple[str, ...]
    rows: tuple[Row, ...]
    levels: tuple[str, ...]
    """Levels to print macro recall of, fine to coarse."""
    seeds: tuple[int, ...] = (0, 1, 2)
    caption: str = field(default="")


_TAIL_OF_FLOWERS = "selection.tail_shots=20"
_NO_REGULARISATION = "loss.regularisation=0"

_P0_ROWS = (
    Row("CE", "cross_entropy"),
    Row("AM-Softmax (A, C)", "am_softmax"),
    Row("TaxoNet B, C", "taxonet", ("selection=null", _NO_REGULARISATION)),
    Row(
        "TaxoNet B, D",
        "taxonet",
        ("selection.keep=random", _TAIL_OF_FLOWERS, _NO_REGULARISATION),
    ),
    Row("TaxoNet B, E", "taxonet", (_TAIL_OF_FLOWERS, _NO_REGULARISATION)),
    Row("TaxoNet B, E, F", "taxonet", (_TAIL_OF_FLOWERS,)),
    Row("TaxoNet B, E, F, p = 0.5", "taxonet", (_TAIL_OF_FLOWERS, "selection.probability=0.5")),
)

_FLOWERS_COMMON = (
    "model.backbone=resnet10",
    "epochs=12",
    "batch_size=32",
    "optimiser.learning_rate=0.05",
)

TABLES = {
    table.name: table
    for table in (
        TableSpec(
            name="flora",
            prepare=datasets.flora,
            common=("epochs=6",),
            rows=(Row("CE", "cross_entropy"), Row("TaxoNet", "taxonet")),
            levels=("species", "genus", "family"),
            caption="The procedural flora, as `make demo` trains on it.",
        ),
        TableSpec(
            name="flowers102",
            prepare=datasets.flowers102,
            common=_FLOWERS_COMMON,
            rows=_P0_ROWS,
            levels=("class", "species", "genus", "family", "order"),
            caption="Flowers-102 cut to an exponential tail (IF 50), from scratch at 64 pixels.",
        ),
        TableSpec(
            name="flowers102-ablations",
            prepare=datasets.flowers102,
            common=_FLOWERS_COMMON,
            rows=(
                Row("normalise = max", "taxonet", (_TAIL_OF_FLOWERS, "loss.normalise=max")),
                Row("lambda = 0.1", "taxonet", (_TAIL_OF_FLOWERS, "loss.regularisation=0.1")),
                Row("lambda = 10", "taxonet", (_TAIL_OF_FLOWERS, "loss.regularisation=10")),
                Row("m0 = 0.35", "taxonet", (_TAIL_OF_FLOWERS, "loss.base_margin_cos=0.35")),
                Row("24 epochs", "taxonet", (_TAIL_OF_FLOWERS, "epochs=24")),
                Row("CE, 24 epochs", "cross_entropy", ("epochs=24",)),
            ),
            levels=("class", "species", "genus", "family", "order"),
            seeds=(0,),
            caption="What TaxoNet's parts do there: one thing changed in row B, E, F.",
        ),
        TableSpec(
            name="leaves",
            prepare=datasets.leaves,
            common=("epochs=40", "batch_size=32", "optimiser.learning_rate=0.05", "model.fit=pad"),
            rows=(
                Row("CE", "cross_entropy"),
                Row("TaxoNet", "taxonet"),
            ),
            levels=("species", "genus", "family"),
            seeds=(0, 1, 2, 3, 4),
            caption="Leaf scans of 99 species, 5 training images each; a split for each seed.",
        ),
    )
}
