"""The report of an analysis: how embeddings, class means and class weights lie in space."""

from dataclasses import astuple

from taxonet.data.long_tail import SHOT_GROUPS
from taxonet.evaluation import Analysis, ClassFigure, Geometry
from taxonet.evaluation.geometry import EVERY, HEAD, SHRINKAGE
from taxonet.report.geometry_plots import (
    angles_by_shot_group,
    means_by_shot_group,
    norms_against_class_size,
    pair_means,
    separation_in_fitting,
)
from taxonet.report.projection import projection_section
from taxonet.report.structure import Cell, Column, Figure, ReportData, Section, Table

_GROUPS = (*SHOT_GROUPS, EVERY)
_MANY, _FEW = SHOT_GROUPS[0], SHOT_GROUPS[-1]
#: The pairs that the paper plots: all, and those of head and tail classes.
_PAIRS = ("all-all", f"{_MANY}-{_MANY}", f"{_MANY}-{_FEW}", f"{_FEW}-{_FEW}")
_OF_PAIRS = ("distance", "cosine")


def geometry_report(analysis: Analysis, *, title: str) -> ReportData:
    """Arrange an analysis as a report: a section a question, each with its table and figure."""
    sections = (
        _angle_section(analysis.geometry),
        _separability_section(analysis.geometry),
        _norm_section(analysis.geometry),
        _pair_section(analysis.geometry),
        _trail_section(analysis),
        _margin_section(analysis),
        None if analysis.projection is None else projection_section(analysis.projection),
    )
    return ReportData(
        title=title,
        facts=_facts(analysis),
        sections=tuple(section for section in sections if section is not None),
        notes=(*analysis.notes, *_NOTES),
    )


def geometry_tables(analysis: Analysis) -> list[Table]:
    """Return the tables of the report, for a terminal."""
    report = geometry_report(analysis, title="")
    return [table for section in report.sections for table in section.tables]


def _facts(analysis: Analysis) -> tuple[tuple[str, str], ...]:
    recipe, head = analysis.classifier.parts.recipe, analysis.classifier.network.head
    geometry = analysis.geometry
    sizes = ", ".join(f"{geometry.groups.count(group)} {group}-shot" for group in SHOT_GROUPS)
    return (
        ("Classifier", f"{recipe.loss.name}, {recipe.model.backbone}, seed {recipe.seed}"),
        ("Head", f"{type(head).__name__}, {head.embedding_size} features"),
        ("Classes", f"{len(geometry.taxa):,}: {sizes}"),
        *((f"Photos: {name}", f"{one.images:,}") for name, one in geometry.photos.items()),
        ("taxonet", str(analysis.figures["taxonet"])),
    )


def _angle_section(geometry: Geometry) -> Section | None:
    if not geometry.photos:
        return None
    columns = (
        Column("photos"),
        Column("group"),
        Column("images"),
        *(Column(name, "°", 1) for name in ("mean", "5 %", "25 %", "median", "75 %", "95 %")),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, photos in geometry.photos.items():
        for group in _GROUPS:
            spread = photos.angles[group]
            figures = (0, *[None] * 6) if spread is None else astuple(spread)
            rows.append((name, group, *figures))
    return Section(
        "How near is a photo to its class?",
        paragraphs=(
            "The angle between the embedding of a photo and the vector of its class in the head. "
            "Where photos of rare classes stand at larger angles than those of common ones, the "
            "rare classes are less compact (Difficulty-aware Balancing Margin Loss, Figure 4).",
        ),
        tables=(Table("Angles to the vector of the class.", columns, tuple(rows)),),
        figures=(
            Figure(
                angles_by_shot_group({n: one.angles for n, one in geometry.photos.items()}),
                "Angles to the vector of the class, by shot group: quartiles, and whiskers from "
                "5 % to 95 % of the photos.",
                "One box for each shot group and set of photos; the table has its numbers.",
            ),
        ),
    )


def _separability_section(geometry: Geometry) -> Section | None:
    found = {
        name: photos.separability
        for name, photos in geometry.photos.items()
        if photos.separability is not None
    }
    if not found:
        return None
    return Section(
        "How well are classes separated?",
        paragraphs=(
            "Fisher's criterion along the best direction of each pair of classes, as the mean over "
            "the other classes; larger is better separated (Difficulty-aware Balancing Margin "
            f"Loss, Table 6). The covariances are shrunk by {SHRINKAGE:g}, because with fewer "
            "photos than features the criterion as printed is infinite; so figures compare with "
            "others of the same shrinkage only. Classes of one photo have none, and classes of a "
            "few photos look better separated than they are.",
        ),
        tables=(_group_table("Fisher separability, mean over classes.", found),),
    )


def _norm_section(geometry: Geometry) -> Section:
    columns = (
        Column("vectors"),
        *(Column(group, decimals=3) for group in _GROUPS),
        Column("rank correlation", decimals=3),
    )
    rows = tuple(
        (kind, *_by_group(found.norms), found.rank_correlation)
        for kind, found in geometry.norms.items()
    )
    norms = {kind: found.norms.by_class for kind, found in geometry.norms.items()}
    return Section(
        "Do frequent classes have longer vectors?",
        paragraphs=(
            "A head that is trained on a long tail often gives common classes longer vectors, and "
            "with them higher scores (Learning Prototype Classifiers for Long-Tailed Recognition, "
            "Figure 2). The rank correlation is Spearman's, between norms and training images: 1 "
            "where every class with more images has a longer vector, near 0 where size does not "
            "matter. Norms play no part in the scores of a cosine head.",
        ),
        tables=(Table("Norms of the vectors of classes, mean over classes.", columns, rows),),
        figures=(
            Figure(
                norms_against_class_size(geometry.train_images, norms),
                "Norm of each class's vector against its training images.",
                "One point a class; the rank correlation in the table says whether they rise.",
            ),
        ),
    )


def _pair_section(geometry: Geometry) -> Section:
    columns = (
        Column("vectors"),
        Column("pairs"),
        Column("number"),
        Column("mean distance", decimals=3),
        Column("mean cosine", decimals=3),
    )
    shown = {
        kind: {name: found.by_name()[name] for name in _PAIRS}
        for kind, found in geometry.pairs.items()
    }
    rows = tuple(
        (kind, name, found.pairs, found.distance, found.cosine)
        for kind, pairs in shown.items()
        for name, found in pairs.items()
    )
    return Section(
        "How far apart are classes?",
        paragraphs=(
            f"Pairs of classes, where {_MANY} is a head class and {_FEW} a tail class (Learning "
            "Prototype Classifiers for Long-Tailed Recognition, Figure 3). Where tail classes "
            "are nearer to each other than head classes, they are easier to confuse.",
        ),
        tables=(Table("Distances and cosines between vectors of classes.", columns, rows),),
        figures=(
            Figure(
                pair_means(shown[HEAD]),
                "Mean distance and cosine between the vectors of the head.",
                "A bar for each kind of pair; the table has its numbers.",
            ),
        ),
    )


def _trail_section(analysis: Analysis) -> Section | None:
    if not analysis.trail:
        return None
    columns = (
        Column("batches"),
        *(Column(f"{what}, {name}", decimals=3) for what in _OF_PAIRS for name in _PAIRS),
    )
    rows = tuple(
        (
            point.batches,
            *(getattr(point.pairs[name], what) for what in _OF_PAIRS for name in _PAIRS),
        )
        for point in (analysis.trail[0], analysis.trail[-1])
    )
    return Section(
        "How did classes move in the second stage?",
        paragraphs=(
            "The same distances and cosines while the second stage was fitted. Prototypes start on "
            "class means and should come apart, those of rare classes least (Learning Prototype "
            "Classifiers for Long-Tailed Recognition, Figure 3).",
        ),
        tables=(Table("Before the first and after the last batch.", columns, rows),),
        figures=(
            Figure(
                separation_in_fitting(
                    [point.batches for point in analysis.trail],
                    [{name: point.pairs[name] for name in _PAIRS} for point in analysis.trail],
                ),
                "Mean distance and cosine between the vectors of classes, by batches done.",
                "A line for each kind of pair, in two panels; the table has its ends.",
            ),
        ),
    )


def _margin_section(analysis: Analysis) -> Section | None:
    found = {
        name: photos.margins
        for name, photos in analysis.geometry.photos.items()
        if photos.margins is not None
    }
    if not found:
        return None
    unit = analysis.figures["margin_unit"]
    return Section(
        "By how much does the true class win?",
        paragraphs=(
            f"The score of the true class less the best other score, in {unit}; the "
            "mean over the photos of a class, then over the classes of a shot group (Semantic "
            "Transfer from Head to Tail, Figure 4b). Below 0, a class is more often lost than won.",
        ),
        tables=(_group_table(f"Margins in {unit}, mean over classes.", found),),
        figures=(
            Figure(
                means_by_shot_group(
                    {name: one.by_group for name, one in found.items()}, ylabel=f"margin ({unit})"
                ),
                "Mean class margin by shot group.",
                "A bar for each shot group; the table has its numbers.",
            ),
        ),
    )


def _group_table(caption: str, figures: dict[str, ClassFigure]) -> Table:
    columns = (
        Column("photos"),
        *(Column(group, decimals=3) for group in _GROUPS),
        Column("classes"),
    )
    rows = tuple((name, *_by_group(found), found.classes) for name, found in figures.items())
    return Table(caption, columns, rows)


def _by_group(figure: ClassFigure) -> tuple[float | None, ...]:
    return tuple(figure.by_group[group] for group in _GROUPS)


_NOTES = (
    "Shot groups go by training photos: many is over 100, medium 20 to 100, few under 20.",
    "The vector of a class is its row of weights in a linear or cosine head (biases play no part), "
    "or its prototype; in a head over the tree, the row of its own node. Class means are of the "
    "training photos, embedded as prediction sees them.",
)
