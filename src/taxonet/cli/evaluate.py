"""`taxonet evaluate`."""

from typing import Any

from taxonet.cli.screen import say, show
from taxonet.recipes.verbs import EvaluateConfig


def run(config: EvaluateConfig) -> None:
    """Judge, print the tables, write metrics.json and report.html."""
    from rich.console import Group

    from taxonet.evaluation import evaluate
    from taxonet.files import write_json
    from taxonet.report import (
        evaluation_report,
        novelty_score_tables,
        summary_tables,
        terminal_table,
        write_html,
    )

    evaluation = evaluate(config, show_progress=True)
    out = config.out or config.classifier.parent
    evaluations = {config.classifier.parent.name or "classifier": evaluation}
    write_json(out / "metrics.json", evaluation.metrics)
    if config.split == "test" and config.out is None:
        # The figures that travel with the classifier are those of its own test photos.
        write_json(config.classifier / "metrics.json", evaluation.metrics)
    report = evaluation_report(evaluations, title=f"taxonet: {config.classifier}")
    write_html(report, out / "report.html")
    # The other table, by how new taxa are, is too wide for a terminal.
    tables = [*summary_tables(evaluations), *novelty_score_tables(evaluations)[:1]]
    show(Group(*(terminal_table(table) for table in tables)))
    for part in ("test", "region"):
        if part in evaluation.metrics:
            _say_what_matched(part, evaluation.metrics[part])
    if evaluation.metrics.get("region", {}).get("batch_norm") == "target":
        say("region: judged with the batch norm statistics of its own photos.")
    if "prior_shift" in evaluation.metrics.get("region", {}):
        _say_what_shifted(evaluation.metrics["region"]["prior_shift"])
    say(f"Figures: {out / 'metrics.json'}")
    say(f"Report:  {out / 'report.html'}")


def _say_what_shifted(found: dict[str, Any]) -> None:
    say(
        f"region: shares of taxa estimated from {found['images']} photos without their labels "
        f"({found['iterations']} iterations); {found['priors']['total_variation']:.0%} of the "
        f"photos would have to change their taxon to be as the source ({found['source']}) has them."
    )
    if not found["converged"]:
        say("Warning: the estimate was still changing when it was stopped.")


def _say_what_matched(part: str, found: dict[str, object]) -> None:
    say(
        f"{part}: {found['matched_images']} photos of {found['matched_taxa']} taxa matched, "
        f"{found['dropped_images']} photos of {found['dropped_taxa']} labels dropped, "
        f"{found['unknown_images']} mapped to unknown."
    )
    if found.get("seen_in_training"):
        say(f"Warning: {found['seen_in_training']} of the photos judged were trained on.")
