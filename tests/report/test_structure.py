import pytest

from taxonet.errors import DataError
from taxonet.report import Column, Table, cell_text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "n/a"),
        (float("nan"), "n/a"),
        (0, "0"),
        (1234567, "1,234,567"),
        (1234.5, "1,234.50"),
        (-0.125, "-0.12"),
        ("Acer, L.", "Acer, L."),
        ("", ""),
    ],
)
def test_cells_as_text(cell: str | int | float | None, text: str) -> None:
    assert cell_text(cell, Column("x", decimals=2)) == text


def test_headings_carry_units() -> None:
    assert Column("recall", "%").heading == "recall (%)"
    assert Column("group").heading == "group"


def test_a_column_is_numeric_if_all_that_is_there_is() -> None:
    columns = (Column("group"), Column("n"), Column("none"), Column("mixed"))
    table = Table("t", columns, (("head", 1, None, 1), ("tail", None, None, "1")))
    assert [table.is_numeric(i) for i in range(4)] == [False, True, False, False]


def test_rows_must_fill_the_columns() -> None:
    with pytest.raises(DataError, match="Table 'Sizes', row 1: expected 2 cells, got 1"):
        Table("Sizes", (Column("a"), Column("b")), ((1, 2), (3,)))
