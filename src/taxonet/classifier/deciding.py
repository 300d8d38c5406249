"""The verb `decide`: stored scores and a policy into rows, without the classifier."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taxonet.classifier.decision_rule import DecisionRule, read_rule
from taxonet.classifier.naming import naming_by_rule
from taxonet.classifier.rows import Row, RowMaker
from taxonet.classifier.score_table import ScoreTable
from taxonet.classifier.writers import writer_for
from taxonet.errors import ConfigError
from taxonet.recipes.verbs import DecideConfig


@dataclass(frozen=True)
class DecisionSummary:
    """What was decided."""

    out: Path
    images: int
    named: int
    promise: str


def decide_from_file(config: DecideConfig) -> DecisionSummary:
    """Name the photos of a file of scores by a policy; the rows are those of `predict`.

    Raises:
        ConfigError: The policy cannot be read, needs smaller probabilities than the scores hold,
            or the output is there already.
        DataError: The scores cannot be read, or the policy was fitted to another taxonomy.
    """
    write = writer_for(config.out, "--out")
    if config.out.exists():
        raise ConfigError(f"{config.out} exists already. Remove it or choose another --out.")
    table, rule = ScoreTable(config.scores), read_rule(config.policy)
    header = table.header
    naming = naming_by_rule(
        rule,
        header.taxonomy,
        header.class_nodes,
        header.class_counts,
        novelty_threshold=header.novelty_threshold,
    )
    _check_probs(rule, header.probs_from, config)
    naming = naming.under(header.made_with)
    if rule.probabilities != header.probabilities:
        naming = naming.without_promise("calibrated for another classifier")
    maker = RowMaker(
        header.taxonomy,
        header.class_nodes,
        naming=naming,
        top_k=config.top_k,
    )
    rules: list[str] = []
    write(_noting(_rows(table, maker), rules), maker.columns, config.out)
    named = len(rules) - rules.count("unknown") - rules.count("unreadable")
    return DecisionSummary(config.out, len(rules), named, naming.promise)


def _check_probs(rule: DecisionRule, probs_from: float, config: DecideConfig) -> None:
    """Refuse scores that leave out what the policy, or the groups of its photos, look at."""
    needed = 0.0 if rule.group_by is not None else rule.policy.looks_from_prob
    if probs_from > needed:
        raise ConfigError(
            f"{config.scores} holds probabilities from {probs_from:g}, and the policy "
            f"{rule.policy.kind}{'' if rule.group_by is None else f' by {rule.group_by}'} looks at "
            f"those from {needed:g}: write them with `taxonet predict --scores ... "
            f"--node-probs-from {needed:g}`."
        )


def _rows(table: ScoreTable, maker: RowMaker) -> Iterator[Row]:
    for photos in table:
        readable = [name for place, name in enumerate(photos.images) if place not in photos.errors]
        good = iter(maker.rows(readable, photos.node_probs, photos.novelty))
        for place, name in enumerate(photos.images):
            reason = photos.errors.get(place)
            yield next(good) if reason is None else maker.unreadable(name, reason)


def _noting(rows: Iterator[Row], rules: list[str]) -> Iterator[Row]:
    for row in rows:
        rules.append(row["rule"])
        yield row
