"""The tables of a report on a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from taxonet.report.structure import ReportData, Table


def terminal_table(table: Table) -> RenderableType:
    """Return a table under its caption for rich to print, figures flush right.

    All text is literal: a name such as ``[bold]`` is no markup.
    """
    shown = RichTable()
    for index, column in enumerate(table.columns):
        numeric = table.is_numeric(index)
        shown.add_column(
            Text(column.heading),
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",  # a name that is cut off cannot be typed
        )
    for row in table.text_rows():
        shown.add_row(*(Text(cell) for cell in row))
    # As the table's own title, the caption would be broken to the width of a narrow table.
    return Group(Text(table.caption, style="italic"), shown)


def terminal_report(report: ReportData) -> RenderableType:
    """Return title, facts and all tables for rich to print; figures are for the HTML page."""
    parts: list[RenderableType] = [Text(report.title, style="bold")]
    parts += [Text(f"{name}: {value}") for name, value in report.facts]
    for section in report.sections:
        if section.tables:
            parts += [Text(), Text(section.title, style="bold")]
            parts += [terminal_table(table) for table in section.tables]
    return Group(*parts)
