"""A chat model and a classifier side by side, as TaxoNet's Table 5 has them."""

from typing import Any

from taxonet.data.long_tail import SHOT_GROUPS
from taxonet.report.structure import Cell, Column, Table
from taxonet.report.summary import percent


def chat_table(metrics: dict[str, Any]) -> Table:
    """Return macro recall at genus and species, by shot group where counts are known, and overall.

    Args:
        metrics: What ``metrics.json`` of `benchmark chat` holds.
    """
    sides = {f"{metrics['model']}, {metrics['prompt']}": metrics["chat"]}
    if "classifier" in metrics:
        sides["classifier"] = metrics["classifier"]
    columns = (
        Column("rank"),
        Column("training photos"),
        Column("taxa"),
        *(Column(name, "%", 1) for name in sides),
    )
    rows: list[tuple[Cell, ...]] = []
    for rank, figures in metrics["chat"].items():
        if "shot_groups" in figures:
            for group, bounds in zip(SHOT_GROUPS, _bounds(metrics), strict=True):
                parts = [side[rank]["shot_groups"][group] for side in sides.values()]
                rows.append(_row(rank, f"{group} ({bounds})", parts))
        rows.append(_row(rank, "overall", [side[rank] for side in sides.values()]))
    return Table("Macro recall; a photo without a name is a miss.", columns, tuple(rows))


def _bounds(metrics: dict[str, Any]) -> tuple[str, str, str]:
    few, many = metrics["shot_bounds"]["few_below"], metrics["shot_bounds"]["many_above"]
    return f"over {many}", f"{few} to {many}", f"under {few}"


def _row(rank: str, group: str, parts: list[dict[str, Any]]) -> tuple[Cell, ...]:
    recalls = (percent(part["macro_recall"]) for part in parts)
    return (rank, group, parts[0]["classes"], *recalls)
