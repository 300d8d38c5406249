"""`taxonet demo`."""

from taxonet.cli.screen import say, show
from taxonet.recipes.verbs import DemoConfig


def run(config: DemoConfig) -> None:
    """Show the whole of taxonet on a flora that is drawn on the spot."""
    from rich.console import Group

    from taxonet.demo import run_demo
    from taxonet.report import summary_tables, terminal_table

    demo = run_demo(config, say=say)
    show(Group(*(terminal_table(table) for table in summary_tables(demo.evaluations))))
    say(f"Classifier:  {demo.classifier}")
    say(f"Predictions: {demo.predictions}")
    say(f"Figures:     {demo.metrics}")
    say(f"Report:      {demo.report}  (open it in a browser)")
    say("Your turn:   taxonet train PHOTOS --taxonomy TABLE.csv --out runs/mine")
