"""The section of an analysis that shows photos as points, and whether near ones are relatives."""

from taxonet.evaluation import Projection
from taxonet.report.scatter import TAXA_AT_MOST, taxon_scatter
from taxonet.report.structure import Column, Figure, Section, Table


def projection_section(projection: Projection) -> Section:
    """Arrange a projection: a row of the table and a figure for each rank.

    A rank with one taxon alone has no figure: there is nothing to tell apart.
    """
    shown, in_all = len(projection.images), projection.photos_in_all
    which = f"all {shown:,}" if shown == in_all else f"{shown:,} of {in_all:,}, drawn at random,"
    return Section(
        "Is the space arranged along the tree?",
        paragraphs=(
            f"Photos as points, {which} of the photos '{projection.photos}': near points have "
            "embeddings of like direction (t-SNE, perplexity "
            f"{projection.perplexity:.3g}; Hierarchical Classification via Diffusion on "
            "Manifolds, Figure 4). Which points are near means something; how far apart groups "
            "lie, and how large they are, does not.",
            "The table looks at the embeddings themselves, not at the plane: how many of the "
            f"{projection.neighbours} nearest neighbours of a photo (by cosine, among the photos "
            "shown) have its taxon, how many would if neighbours were drawn at random, and how "
            "many could at best, as a taxon may have too few photos. Photos of one plant count "
            "too.",
        ),
        tables=(_agreement_table(projection),),
        figures=tuple(
            _figure(projection, rank)
            for rank, found in projection.agreement.items()
            if found.taxa > 1
        ),
    )


def _agreement_table(projection: Projection) -> Table:
    columns = (
        Column("rank"),
        Column("photos"),
        Column("taxa"),
        Column("neighbours of the taxon", decimals=3),
        Column("by chance", decimals=3),
        Column("at best", decimals=3),
    )
    rows = tuple(
        (rank, found.images, found.taxa, found.share, found.chance, found.best)
        for rank, found in projection.agreement.items()
    )
    return Table("Share of the nearest neighbours that have a photo's taxon.", columns, rows)


def _figure(projection: Projection, rank: str) -> Figure:
    found = projection.agreement[rank]
    which = (
        f"the {TAXA_AT_MOST} most frequent of {found.taxa:,} taxa are coloured"
        if found.taxa > TAXA_AT_MOST
        else f"all {found.taxa} taxa are coloured"
    )
    return Figure(
        taxon_scatter(projection.points, projection.taxa[rank]),
        f"By {rank}: {which}.",
        f"One point a photo; {found.share:.0%} of the nearest neighbours have the {rank} of a "
        f"photo, {found.chance:.0%} by chance.",
    )
