"""`taxonet analyse`."""

from taxonet.cli.screen import say, show
from taxonet.recipes.verbs import AnalyseConfig


def run(config: AnalyseConfig) -> None:
    """Look inside a classifier, print the tables, write geometry.json, .html and tsne.csv."""
    from rich.console import Group

    from taxonet.evaluation import analyse
    from taxonet.files import write_json, write_text
    from taxonet.report import geometry_report, geometry_tables, terminal_table, write_html

    analysis = analyse(config, show_progress=True)
    out = config.out or config.classifier.parent
    write_json(out / "geometry.json", analysis.figures)
    report = geometry_report(analysis, title=f"taxonet: inside {config.classifier}")
    write_html(report, out / "geometry.html")
    if analysis.projection is not None:
        write_text(out / "tsne.csv", analysis.projection.table().to_csv(index=False))
    show(Group(*(terminal_table(table) for table in geometry_tables(analysis))))
    for note in analysis.notes:
        say(note)
    if analysis.figures["unreadable"]:
        say(f"{len(analysis.figures['unreadable'])} photos could not be read.")
    say(f"Figures: {out / 'geometry.json'}")
    say(f"Report:  {out / 'geometry.html'}")
    if analysis.projection is not None:
        say(f"Points:  {out / 'tsne.csv'}")
