"""What is compared: the tables from scratch, row by row."""

from dataclasses import dataclass, field

from benchmarks import datasets, word_towers
from benchmarks.datasets import Prepare


@dataclass(frozen=True)
class Row:
    """One method: a recipe and what is changed in it, or a second stage on another row's result."""

    name: str
    recipe: str = ""
    changes: tuple[str, ...] = ()
    on: str = ""
    """The row whose classifier gets a new head; ``recipe`` then names the second stage."""
    zero_shot: bool = False
    """Whether it is made of names alone, with the model and words of the recipe."""
    published: tuple[float, ...] = ()
    """Printed top-1 accuracy of the method in percent, then of many, medium and few shots."""


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
    source: str = ""
    """Where the published figures stand."""
    caption: str = field(default="")
    rollups: tuple[str, ...] = ()
    """Rollups to print a line of each for, with hierarchical figures; none prints recalls."""


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

_LEAVES_COMMON = (
    "epochs=40",
    "batch_size=32",
    "optimiser.learning_rate=0.05",
    "model.fit=pad",
)

_TRANSFER = ("transfer.tail_shots=20", "transfer.covariance=lowrank")

#: Losses first, one seed of all; what else a recipe can do after them.
_METHOD_ROWS = (
    Row("CE", "method/ce"),
    Row("BS", "method/bs"),
    Row("DBM-BS", "method/dbm-bs"),
    Row("DBM-CE", "method/dbm-ce"),
    Row("LDAM", "method/ldam"),
    Row("class-balanced", "method/cb"),
    Row("focal", "method/focal"),
    Row("LA, tau = 0.5", "method/la", ("loss.tau=0.5",)),
    Row("SphereFace", "method/sphereface"),
    Row("ArcFace", "method/arcface"),
    Row("CosFace", "method/cosface"),
    Row("dual margin, max", "method/dual-margin", ("loss.normalise=max",)),
    Row("CE-DRW", "method/ce-drw"),
    Row("LDAM-DRW", "method/ldam-drw"),
    Row("DBM-DRW", "method/dbm-drw"),
    Row("CE + NCM", "ncm", on="CE"),
    Row("CE + PC", "prototype", ("tau=0", "channel_temperature=false"), on="CE"),
    Row("CE + PC + CDT + LA", "prototype", on="CE"),
    Row("CE + cRT", "crt", on="CE"),
    Row("CE + tau-norm", "tau_norm", on="CE"),
    Row("CE + LWS", "lws", on="CE"),
    Row("CE + MaxNorm", "max_norm", on="CE"),
    Row("DBM-BS + PC + CDT + LA", "prototype", on="DBM-BS"),
    Row(
        "DBM-BS, norm-guided",
        "method/dbm-norm-guided",
        (_TAIL_OF_FLOWERS, "selection.probability=0.5"),
    ),
    Row("DBM-BS + cRT", "crt", on="DBM-BS"),
    Row("DBM-BS, progressive sampling", "method/dbm-bs", ("sampler=progressive",)),
    Row(
        "DBM-DRW, norm-guided",
        "method/dbm-drw",
        ("selection={keep: lowest_norm, probability: 0.5, tail_shots: 20}",),
    ),
    Row("SMART", "method/smart", _TRANSFER),
    Row("BS, SMART", "method/bs-smart", _TRANSFER),
    Row("SMART, nearest relatives", "method/smart-relatives", _TRANSFER),
    Row("class-balanced sampling", "method/class-balanced-sampling"),
    Row("square-root sampling", "method/square-root-sampling"),
    Row("progressive sampling", "method/progressive-sampling"),
    Row("mixup", "method/mixup"),
    Row("CutMix", "method/cutmix"),
    Row("CMO", "method/cmo"),
    Row("BS, CMO", "method/bs-cmo"),
    Row("BCL", "method/bcl"),
    Row("DBM-BCL", "method/dbm-bcl"),
    Row("RIDE", "method/ride"),
    Row("NCL", "method/ncl"),
)

#: Heads of the diffusion paper's Table 4, and what nobody has: a margin loss inside each level.
_HIERARCHY_ROWS = (
    Row("CE", "method/ce"),
    Row("level-wise CE", "method/levelwise-ce"),
    Row("PS softmax", "method/ps-softmax"),
    Row("descendant softmax", "method/descendant-softmax"),
    Row("soft-max-margin", "method/soft-max-margin"),
    Row("Deep RTC", "method/deep-rtc"),
    Row("conditional softmax", "method/conditional-softmax"),
    Row("conditional sigmoid", "method/conditional-sigmoid"),
    Row("multilabel focal", "method/multilabel-focal"),
    Row("level-wise dual margin", "method/levelwise-dual-margin"),
    Row("HXE", "method/hxe"),
)
_ROLLUPS = (
    "own",
    "bottom_up",
    "top_down",
    "greedy_descent",
    "level_top_down",
    "diffusion",
    "learned_diffusion",
)

_WORDS_ROLLUPS = (
    "own",
    "bottom_up",
    "top_down",
    "level_top_down",
    "diffusion",
    "learned_diffusion",
)
#: These rows read no names.
_NO_WORDS = ("words=null",)
_MASKED = ("loss.duplicates=masked",)

#: Tables 3, 10 and 11 of Hierarchical Classification via Diffusion on Manifolds.
_WORDS_ROWS = (
    Row("Zero shot", "hmcf/mcf", zero_shot=True),
    Row("CE, fixed backbone", "hmcf/linear-probe", ("optimiser.learning_rate=1.0e-2",)),
    Row("CE L3", "hmcf/ce", _NO_WORDS),
    Row("CE L1-3", "hmcf/ce-all-levels", _NO_WORDS),
    Row("MCF", "hmcf/mcf"),
    Row("HMCF L23", "hmcf/hmcf-last-two"),
    Row("HMCF L1-3", "hmcf/hmcf"),
    Row("HMCF L1-3, masked", "hmcf/hmcf", _MASKED),
    Row("HMCF L1-3, negatives", "hmcf/hmcf", ("loss.duplicates=negatives",)),
    Row("SupCon L3", "hmcf/supcon", _NO_WORDS),
    Row("SupCon L1-3", "hmcf/supcon-all-levels", _NO_WORDS),
)

_DBM = "dbm/cifar100-lt/"
_WD = "CE, high weight decay"

#: Printed in Table 2 of DBM (200 epochs, AutoAugment, Cutout) and Tables 1, 3 and 4 of the
#: prototype classifiers' paper (200 epochs).
_CIFAR100_ROWS = (
    Row("CE", f"{_DBM}ce", published=(44.60, 73.03, 45.37, 10.53)),
    Row("BS", f"{_DBM}bs", published=(49.35, 65.77, 50.14, 29.27)),
    Row("DBM-BS", f"{_DBM}dbm-bs", published=(51.30, 67.29, 50.80, 33.23)),
    Row("DBM-CE", f"{_DBM}dbm-ce", published=(46.53, 73.89, 46.17, 15.03)),
    Row("DBM-DRW", f"{_DBM}dbm-drw", published=(49.41, 63.23, 52.66, 29.50)),
    Row("LDAM", f"{_DBM}ldam", published=(45.25, 75.31, 44.00, 11.63)),
    Row(
        _WD,
        f"{_DBM}ce",
        ("optimiser.weight_decay=5e-3", "optimiser.learning_rate=0.02"),
        published=(46.12, 76.12, 46.13, 11.34),
    ),
    Row("+ NCM", "ncm", on=_WD, published=(48.67, 76.54, 50.40, 14.13)),
    Row(
        "+ PC",
        "prototype",
        ("tau=0", "channel_temperature=false"),
        on=_WD,
        published=(52.56, 74.00, 55.17, 24.50),
    ),
    Row("+ PC + CDT + LA", "prototype", on=_WD, published=(53.41, 70.17, 55.89, 33.93)),
    Row("+ cRT", "crt", on=_WD, published=(50.1,)),
    Row("+ tau-norm", "tau_norm", on=_WD),
)

_SMART = "smart/cifar10-lt/"

#: Printed in Table 1 of SMART (200 epochs); CE and BS alone are not printed there.
_CIFAR10_ROWS = (
    Row("CE", f"{_SMART}ce"),
    Row("SMART", f"{_SMART}smart", published=(84.0,)),
    Row("BS", f"{_SMART}bsce"),
    Row("BS, SMART", f"{_SMART}bsce-smart", published=(84.5,)),
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
            caption="The procedural flora at 64 pixels, from scratch.",
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
            name="flowers102-methods",
            prepare=datasets.flowers102,
            common=_FLOWERS_COMMON,
            rows=_METHOD_ROWS,
            levels=("class", "species", "genus", "family", "order"),
            caption="The same photos, backbone and schedule; every method with its defaults.",
        ),
        TableSpec(
            name="flowers102-hierarchy",
            prepare=datasets.flowers102,
            common=_FLOWERS_COMMON,
            rows=_HIERARCHY_ROWS,
            levels=("class", "species", "genus", "family", "order"),
            rollups=_ROLLUPS,
            caption="The same photos, backbone and schedule; losses over the tree, and rollups.",
        ),
        TableSpec(
            name="flora-words",
            prepare=word_towers.flora_with_towers,
            common=(*word_towers.SMALL, "epochs=6"),
            rows=_WORDS_ROWS,
            levels=("species", "genus", "family"),
            rollups=_WORDS_ROLLUPS,
            caption="A drawn flora, towers that learned other genera of its families.",
        ),
        TableSpec(
            name="cifar100-lt",
            prepare=datasets.cifar100_lt,
            common=("epochs=10", "augment=shift_flip", "schedule.warmup_epochs=1"),
            rows=_CIFAR100_ROWS,
            levels=("taxon",),
            seeds=(0,),
            source="published, 200 epochs",
            caption="CIFAR-100-LT, IF 100, ResNet-32, 10 of the papers' 200 epochs.",
        ),
        TableSpec(
            name="cifar10-lt",
            prepare=datasets.cifar10_lt,
            common=(
                "epochs=10",
                "schedule={name: steps, milestones: [8, 9], factor: 0.1, warmup_epochs: 0.25}",
            ),
            rows=_CIFAR10_ROWS,
            levels=("taxon",),
            seeds=(0,),
            source="published, 200 epochs",
            caption="CIFAR-10-LT, IF 100, ResNet-32, 10 of the paper's 200 epochs (a fraction of "
            "1/20), on images re-encoded as JPEG, so not the exact pixels.",
        ),
        TableSpec(
            name="leaves",
            prepare=datasets.leaves,
            common=_LEAVES_COMMON,
            rows=(
                Row("CE", "cross_entropy"),
                Row("TaxoNet", "taxonet"),
            ),
            levels=("species", "genus", "family"),
            seeds=(0, 1, 2, 3, 4),
            caption="Leaf scans of 99 species, 5 training images each; a split for each seed.",
        ),
        TableSpec(
            name="leaves-hierarchy",
            prepare=datasets.leaves,
            common=_LEAVES_COMMON,
            rows=_HIERARCHY_ROWS,
            levels=("species", "genus", "family"),
            rollups=_ROLLUPS,
            caption="The same scans; losses over the tree, and rollups.",
        ),
    )
}
