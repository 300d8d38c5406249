from io import StringIO

from rich.console import Console, RenderableType

from taxonet.report import Column, ReportData, Section, Table, terminal_report, terminal_table

TABLE = Table(
    "By shot group",
    (Column("group"), Column("images"), Column("recall", "%", 1)),
    (("[bold]head[/bold]", 12345, 98.76), ("tail", 7, None)),
)


def printed(renderable: RenderableType) -> list[str]:
    console = Console(file=StringIO(), width=90, color_system=None)
    console.print(renderable)
    output = console.file
    assert isinstance(output, StringIO)
    return output.getvalue().splitlines()


def test_a_table_shows_the_cells_of_the_page() -> None:
    lines = printed(terminal_table(TABLE))
    assert lines[0].strip() == "By shot group"
    head, tail = (next(line for line in lines if name in line) for name in ("head", "tail"))
    assert "12,345" in head
    assert "98.8" in head
    assert "n/a" in tail
    assert tail.index("7") == head.index("12,345") + len("12,345") - 1  # flush right


def test_names_are_no_markup() -> None:
    assert any("[bold]head[/bold]" in line for line in printed(terminal_table(TABLE)))


def test_a_report_prints_title_facts_and_tables_of_sections_that_have_some() -> None:
    report = ReportData(
        "Title [x]",
        (("split", "test"),),
        (Section("Recall", tables=(TABLE,)), Section("Only words", ("text",))),
    )
    lines = printed(terminal_report(report))
    assert lines[0] == "Title [x]"
    assert lines[1] == "split: test"
    assert "Recall" in lines
    assert any("12,345" in line for line in lines)
    assert "Only words" not in "\n".join(lines)
