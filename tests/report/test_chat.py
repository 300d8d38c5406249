from typing import Any

from taxonet.report import chat_table


def side(*recalls: float | None, groups: bool = True) -> dict[str, Any]:
    """Return the figures of two ranks: many, medium, few and overall of each."""
    found: dict[str, Any] = {}
    for place, rank in enumerate(("genus", "species")):
        *parts, overall = recalls[4 * place : 4 * place + 4]
        found[rank] = {"macro_recall": overall, "classes": 40 + place}
        if groups:
            names = ("many", "medium", "few")
            found[rank]["shot_groups"] = {
                name: {"macro_recall": recall, "classes": number}
                for number, (name, recall) in enumerate(zip(names, parts, strict=True))
            }
    return found


METRICS = {
    "model": "NAME",
    "prompt": "zero-shot",
    "shot_bounds": {"few_below": 50, "many_above": 500},
}


def test_both_sides_stand_in_one_row_of_each_group() -> None:
    chat = side(0.9, 0.8, 0.7, 0.75, 0.1, 0.2, 0.3, 0.25)
    classifier = side(0.95, 0.85, None, 0.8, 0.6, 0.5, 0.4, 0.45)
    table = chat_table(METRICS | {"chat": chat, "classifier": classifier})
    headings = [column.heading for column in table.columns]
    assert headings == ["rank", "training photos", "taxa", "NAME, zero-shot (%)", "classifier (%)"]
    assert table.rows == (
        ("genus", "many (over 500)", 0, 90.0, 95.0),
        ("genus", "medium (50 to 500)", 1, 80.0, 85.0),
        ("genus", "few (under 50)", 2, 70.0, None),
        ("genus", "overall", 40, 75.0, 80.0),
        ("species", "many (over 500)", 0, 10.0, 60.0),
        ("species", "medium (50 to 500)", 1, 20.0, 50.0),
        ("species", "few (under 50)", 2, 30.0, 40.0),
        ("species", "overall", 41, 25.0, 45.0),
    )


def test_without_counts_there_is_the_whole_alone() -> None:
    table = chat_table(METRICS | {"chat": side(*[0.5] * 8, groups=False)})
    assert table.rows == (("genus", "overall", 40, 50.0), ("species", "overall", 41, 50.0))
