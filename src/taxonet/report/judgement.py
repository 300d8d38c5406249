"""The report of an evaluation: what is shown, in which order, and in which words.

Several classifiers may be shown side by side; pictures of single photos are of the first.
"""

from collections.abc import Iterable, Iterator, Mapping

from taxonet.data.long_tail import SHOT_GROUPS
from taxonet.errors import DataError
from taxonet.evaluation import CLASS_LEVEL, Evaluation, shown_levels
from taxonet.metrics import class_recall
from taxonet.report.calibration import calibration_section
from taxonet.report.decisions import decision_section
from taxonet.report.examples import choose_right, choose_wrong, thumbnail_uri
from taxonet.report.heatmap import genus_confusion
from taxonet.report.novelty_scores import novelty_score_section
from taxonet.report.plots import (
    long_tail,
    norms_by_shot_group,
    open_set_histogram,
    recall_against_class_size,
)
from taxonet.report.rollups import rollup_section
from taxonet.report.structure import (
    Column,
    Example,
    Figure,
    Gallery,
    ReportData,
    Section,
    Table,
)
from taxonet.report.summary import percent, summary_tables

_EXAMPLES = 12


def evaluation_report(evaluations: Mapping[str, Evaluation], *, title: str) -> ReportData:
    """Arrange one or more evaluations on the same photos as a report.

    Args:
        evaluations: Name and evaluation of each classifier; the first is the subject.
        title: Heading of the page.

    Raises:
        DataError: The classifiers do not have the same classes.
    """
    name, subject = next(iter(evaluations.items()))
    _check_same_classes(evaluations)
    sections = [
        Section(
            "How good is it?",
            paragraphs=(_in_words(name, subject),),
            tables=tuple(summary_tables(evaluations)),
        ),
        _tail_section(evaluations),
        decision_section(evaluations),
        calibration_section(evaluations),
        rollup_section(evaluations),
        _unknown_section(evaluations),
        novelty_score_section(evaluations),
        _confusion_section(subject),
        _norm_section(name, subject),
        _example_section(subject),
        _class_section(subject),
    ]
    return ReportData(
        title=title,
        facts=_facts(name, subject),
        sections=tuple(section for section in sections if section is not None),
        notes=_NOTES,
    )


def _check_same_classes(evaluations: Mapping[str, Evaluation]) -> None:
    classes = {
        name: [one.classifier.taxonomy.path(int(node)) for node in one.classifier.class_nodes]
        for name, one in evaluations.items()
    }
    first = next(iter(classes))
    for name, paths in classes.items():
        if paths != classes[first]:
            raise DataError(
                f"{name} and {first} name different taxa ({len(paths)} and {len(classes[first])}), "
                "so one report cannot show them side by side: write one for each."
            )


def _in_words(name: str, one: Evaluation) -> str:
    finest = next(iter(shown_levels(one.test)))
    found = one.metrics["test"]["levels"][finest]
    what = finest if finest in one.classifier.taxonomy.ranks else "taxon"
    return (
        f"{name} names the right {what} for {percent(found['rank1']):.1f} % of "
        f"{found['images']:,} test photos; averaged over the {found['classes']} taxa, rare ones "
        f"counting as much as common ones, it is {percent(found['macro_recall']):.1f} %."
    )


def _facts(name: str, one: Evaluation) -> tuple[tuple[str, str], ...]:
    recipe, test = one.classifier.parts.recipe, one.metrics["test"]
    seen = test["seen_in_training"]
    return (
        ("Classifier", f"{name}: {recipe.loss.name}, {recipe.model.backbone}, seed {recipe.seed}"),
        ("Training photos", f"{int(one.classifier.class_counts.sum()):,}"),
        ("Photos judged", f"{test['matched_images']:,} ({one.metrics['split']})"),
        ("Photos left out", f"{test['dropped_images']:,} (taxon unknown to the classifier)"),
        ("Unreadable photos", f"{len(test['unreadable']):,}"),
        ("Judged photos seen in training", "not known" if seen is None else f"{seen:,}"),
        ("taxonet", str(one.metrics["taxonet"])),
    )


def _tail_section(evaluations: Mapping[str, Evaluation]) -> Section | None:
    subject = next(iter(evaluations.values()))
    classes = subject.test.levels[CLASS_LEVEL]
    if not classes.train_counts.any():  # it knows taxa by their names
        return None
    recalls = {
        name: class_recall(one.test.levels[CLASS_LEVEL].confusion)
        for name, one in evaluations.items()
    }
    return Section(
        "The long tail",
        figures=(
            Figure(
                long_tail(classes.train_counts, classes.groups, order=SHOT_GROUPS),
                "Training photos of each class.",
                f"{len(classes.nodes)} classes, from {classes.train_counts.max()} to "
                f"{classes.train_counts.min()} training photos.",
            ),
            Figure(
                recall_against_class_size(classes.train_counts, recalls),
                "Recall against the number of training photos of a class.",
                "Mean recall of classes of similar size, one line for each classifier.",
            ),
        ),
    )


def _unknown_section(evaluations: Mapping[str, Evaluation]) -> Section | None:
    subject = next(iter(evaluations.values()))
    threshold = subject.classifier.calibration.novelty_threshold
    if threshold is None or not subject.unknown_novelty:
        return None
    return Section(
        "Unknown taxa",
        figures=(
            Figure(
                open_set_histogram(
                    subject.test.novelty, subject.unknown_novelty, threshold=threshold
                ),
                "Novelty scores of photos of known and of unknown taxa.",
                "Two distributions; photos to the right of the threshold are called unknown.",
            ),
        ),
    )


def _confusion_section(one: Evaluation) -> Section:
    pairs = one.metrics["test"]["confused"]
    columns = (
        Column("truth"),
        Column("taken for"),
        Column("photos", decimals=0),
        Column("of the truth's photos", "%", 1),
    )

    def table(kind: str, caption: str) -> Table:
        rows = tuple(
            (pair["truth"], pair["predicted"], pair["images"], percent(pair["share"]))
            for pair in pairs[kind]
        )
        return Table(caption, columns, rows)

    genera = one.test.levels.get("genus")
    figures = []
    if genera is not None and genera.confusion.images.sum():
        figures.append(
            Figure(
                genus_confusion(genera.confusion, genera.names),
                "Confusion between genera.",
                "Rows are true genera, columns the genera they were taken for.",
            )
        )
    return Section(
        "What is confused with what",
        tables=(
            table("inside_genus", "The most confused pairs inside one genus."),
            table("across_genera", "The most confused pairs across genera."),
        ),
        figures=tuple(figures),
    )


def _norm_section(name: str, one: Evaluation) -> Section:
    group_of = dict(
        zip(
            one.test.levels[CLASS_LEVEL].nodes.tolist(),
            one.test.levels[CLASS_LEVEL].groups,
            strict=True,
        )
    )
    groups = [group_of[node] for node in one.test.truth]
    return Section(
        "Embedding norms",
        paragraphs=(
            "A margin loss gives clear photos of well-known taxa long embeddings, and rare or "
            "unusual ones short embeddings (TaxoNet, Figure 3).",
        ),
        figures=(
            Figure(
                norms_by_shot_group(one.test.norm, groups, order=SHOT_GROUPS),
                f"Embedding norms of the test photos by shot group ({name}).",
                "Distribution of norms, and who has the lowest and the highest.",
            ),
        ),
    )


def _example_section(one: Evaluation) -> Section:
    right = one.test.right
    seed = one.classifier.parts.recipe.seed
    chosen = {
        "Right: a fair sample.": choose_right(right, k=_EXAMPLES, seed=seed),
        "Wrong: those it was surest of.": choose_wrong(right, one.test.prob, k=_EXAMPLES),
    }
    galleries = (
        Gallery(caption, tuple(_examples(one, places))) for caption, places in chosen.items()
    )
    return Section("Examples", galleries=tuple(one for one in galleries if one.examples))


def _examples(one: Evaluation, places: Iterable[int]) -> Iterator[Example]:
    taxonomy, test, table = one.classifier.taxonomy, one.test, one.photos.known
    for place in places:
        truth, predicted = test.truth[place], test.predicted[place]
        try:
            thumbnail = thumbnail_uri(table.read_bytes(test.rows[place]))
        except (OSError, DataError):
            continue  # the file was moved or damaged after it was judged
        yield Example(
            thumbnail=thumbnail,
            truth=str(taxonomy.names[truth]),
            prediction=str(taxonomy.names[predicted]),
            prob=test.prob[place],
            right=truth == predicted,
        )


def _class_section(one: Evaluation) -> Section:
    columns = (
        Column("taxon"),
        Column("training photos", decimals=0),
        Column("test photos", decimals=0),
        Column("recall", "%", 1),
        Column("precision", "%", 1),
        Column("F1", "%", 1),
    )
    rows = tuple(
        (
            record["taxon"],
            record["train_images"],
            record["images"],
            percent(record["recall"]),
            percent(record["precision"]),
            percent(record["f1"]),
        )
        for record in sorted(
            one.metrics["test"]["per_class"], key=lambda record: -record["train_images"]
        )
    )
    return Section("Every class", tables=(Table("By training photos.", columns, rows),))


_NOTES = (
    "R@1 is the share of photos whose most probable taxon is right. Macro recall is the mean over "
    "taxa of the share of their photos that were recognised; taxa without test photos are left "
    "out.",
    "At a rank above the classes, probabilities are summed up the tree and the most probable taxon "
    "of that rank counts.",
    "The validation split chose the epoch, calibration photos set temperature and thresholds, and "
    "test photos were only read.",
)
