"""`taxonet data inspect`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from taxonet.cli.screen import say, show
from taxonet.recipes.verbs import InspectConfig

if TYPE_CHECKING:
    from pathlib import Path

    from taxonet.data import Inspection
    from taxonet.report import Table

_SHOWN = 10
_BARS = 12
_BAR_LENGTH = 40


def run(config: InspectConfig) -> None:
    """Show what is in the photos; exit code 1 where something needs the user's hand."""
    from rich.console import Group

    from taxonet.data import inspect_images, open_images
    from taxonet.progress import Progress
    from taxonet.report import terminal_table
    from taxonet.taxonomy import Taxonomy, match_labels

    images = open_images(config.images)
    taxonomy = (
        None
        if config.taxonomy is None
        else Taxonomy.from_file(
            config.taxonomy, ranks=config.ranks or None, label=config.label_column
        )
    )
    with Progress("reading photos", len(images)) as progress:
        found = inspect_images(images, taxonomy, progress=progress)
    show(Group(*(terminal_table(table) for table in _tables(found))))
    for note in found.notes:
        say(note)
    problems = _problems(found)
    if config.names is not None and taxonomy is not None:
        report = match_labels(found.label_counts, taxonomy, reference=config.names)
        problems += [str(name) for name in report.unknown_names or ()]
    for problem in problems:
        say(problem)
    if config.out is not None:
        _write(config.out, found)
    if problems:
        sys.exit(1)


def _tables(found: Inspection) -> list[Table]:
    from taxonet.report import Column, Table

    count = Column("photos", decimals=0)
    tables = [
        Table(
            f"{found.images:,} photos of {len(found.label_counts):,} labels.",
            (Column("split"), count),
            tuple(found.split_counts.items()) or (("(no splits)", found.images),),
        ),
        Table(
            "Labels by training photos: many is over 100, medium 20 to 100, few under 20.",
            (Column("shot group"), Column("labels", decimals=0)),
            tuple(found.shot_groups.items()),
        ),
    ]
    if found.training_counts:
        tables.append(_tail_picture(found.training_counts))
    if found.rank_counts:
        rows = tuple(
            (rank, len(counts), max(counts.values(), default=0), min(counts.values(), default=0))
            for rank, counts in found.rank_counts.items()
        )
        columns = (
            Column("rank"),
            Column("taxa", decimals=0),
            Column("most photos", decimals=0),
            Column("fewest photos", decimals=0),
        )
        tables.append(Table("Counts per rank.", columns, rows))
    return tables


def _tail_picture(training_counts: dict[str, int]) -> Table:
    """Draw the long tail in characters: some labels, evenly spaced by rank, commonest first."""
    from taxonet.report import Column, Table

    ordered = sorted(training_counts.items(), key=lambda item: (-item[1], item[0]))
    bars = min(_BARS, len(ordered))
    places = [round(bar * (len(ordered) - 1) / max(1, bars - 1)) for bar in range(bars)]
    rows = []
    for place in places:
        label, count = ordered[place]
        length = max(1, round(_BAR_LENGTH * count / ordered[0][1]))
        rows.append((place + 1, label, count, "█" * length))
    columns = (
        Column("place", decimals=0),
        Column("label"),
        Column("training photos", decimals=0),
        Column("long tail"),
    )
    return Table("The long tail: labels from the commonest to the rarest.", columns, tuple(rows))


def _problems(found: Inspection) -> list[str]:
    """Say in sentences what needs a hand, the first few of each kind."""
    kinds = {
        "labels that are no taxon": [problem.problem for problem in found.label_problems],
        "classes without photos": list(found.classes_without_images),
        "labels without training photos": list(found.labels_without_training),
        "broken files": [f"{broken.image}: {broken.reason}" for broken in found.broken],
        "groups of duplicates across splits (a test that was trained on)": [
            " = ".join(group.images) for group in found.leaks
        ],
        "groups of exact duplicates": [
            " = ".join(group.images) for group in found.exact_duplicates if not group.leaks
        ],
        "groups of near duplicates": [
            " ~ ".join(group.images) for group in found.near_duplicates if not group.leaks
        ],
    }
    lines: list[str] = []
    for kind, items in kinds.items():
        if items:
            lines.append(f"{len(items)} {kind}:")
            lines += [f"  {item}" for item in items[:_SHOWN]]
            if len(items) > _SHOWN:
                lines.append(f"  and {len(items) - _SHOWN} more (--out writes all)")
    return lines


def _write(out: Path, found: Inspection) -> None:
    import numpy as np

    from taxonet.data.long_tail import SHOT_GROUPS, shot_groups
    from taxonet.files import write_json, write_text
    from taxonet.report import long_tail

    counts = np.array(list(found.training_counts.values()))
    groups = [str(group) for group in shot_groups(counts)]
    write_json(out / "inspection.json", found.to_dict())
    write_text(out / "long_tail.svg", long_tail(counts, groups, order=SHOT_GROUPS))
    say(f"Written: {out / 'inspection.json'} and {out / 'long_tail.svg'}")
