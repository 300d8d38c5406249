"""What a report is made of: sections of paragraphs, tables, figures and galleries.

The structure knows nothing of metrics or of HTML; `render_html` and `terminal_report` show it.
"""

from dataclasses import dataclass
from math import isnan

from taxonet.errors import DataError

Cell = str | int | float | None
MISSING = "n/a"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Heading.
        unit: Unit of the figures, such as ``%`` or ``images``; empty for none.
        decimals: Digits after the point of non-integers.
    """

    name: str
    unit: str = ""
    decimals: int = 3

    @property
    def heading(self) -> str:
        """The name with its unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Table:
    """A captioned table; every row has one cell per column.

    Attributes:
        caption: What the table shows, a sentence.
        columns: At least one column.
        rows: Cells; ``None`` is shown as ``n/a``.

    Raises:
        DataError: A row with another number of cells than there are columns.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise DataError(
                    f"Table {self.caption!r}, row {number}: expected {len(self.columns)} cells, "
                    f"got {len(row)}."
                )

    def is_numeric(self, column: int) -> bool:
        """Say whether a column holds figures (and is set flush right)."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and all(isinstance(cell, int | float) for cell in cells)

    def text_rows(self) -> list[list[str]]:
        """Return all cells as text."""
        return [
            [cell_text(cell, column) for cell, column in zip(row, self.columns, strict=True)]
            for row in self.rows
        ]


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes:
        svg: An ``<svg>`` element as text, from a plot of this room. It goes into the page as it
            is, so it must not come from elsewhere.
        caption: What the figure shows, a sentence.
        alt: The same finding in words, for readers who do not see the figure.
    """

    svg: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Example:
    """One image with its truth and what the classifier said.

    Attributes:
        thumbnail: A ``data:image/jpeg;base64,`` URI, from `thumbnail_uri`.
        truth: Name of the true taxon.
        prediction: Name of the predicted taxon.
        prob: Probability of the prediction, in [0, 1].
        right: Whether the prediction counts as right.
    """

    thumbnail: str
    truth: str
    prediction: str
    prob: float
    right: bool


@dataclass(frozen=True)
class Gallery:
    """Examples side by side under one caption."""

    caption: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Section:
    """A headed part of the report; its parts are shown in the order of the attributes."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    galleries: tuple[Gallery, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """A whole report.

    Attributes:
        title: Heading of the page.
        facts: Pairs of name and value about the run: data, model, split, version.
        sections: The parts, in order.
        notes: Remarks on definitions and limits, shown last.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()


def cell_text(cell: Cell, column: Column) -> str:
    """Write a cell: integers with thousands, other figures with the column's decimals.

    Examples:
        >>> cell_text(12345, Column("images")), cell_text(0.98765, Column("recall"))
        ('12,345', '0.988')
        >>> cell_text(None, Column("recall")), cell_text(float("nan"), Column("recall"))
        ('n/a', 'n/a')
    """
    if isinstance(cell, str):
        return cell
    if cell is None or isnan(cell):
        return MISSING
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.{column.decimals}f}"
