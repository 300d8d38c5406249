"""The report of real (small) evaluations: what is on the page, and what cannot break it."""

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taxonet.classifier import Calibration, TaxonClassifier
from taxonet.errors import DataError
from taxonet.evaluation import Evaluation, evaluate
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.report import (
    evaluation_report,
    novelty_score_section,
    novelty_score_tables,
    render_html,
    summary_tables,
)
from taxonet.report.structure import Gallery, ReportData, Table
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.helpers import CLASS_NODES, save_index, save_photo, tiny_parts

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")

#: Class of each photo; the last six look like no class.
TRUTH = (0, 1, 2, 3, 4, 5, 0, 0, 1, 3, 5, 5)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos 0 to 5, which the classifier of that number of classes knows, and some more."""
    folder = tmp_path_factory.mktemp("workshop")
    for seed in range(15):
        save_photo(folder / f"{seed}.png", seed)
    return folder


def judge(
    workshop: Path,
    *,
    taxonomy: Taxonomy | None = None,
    class_nodes: tuple[int, ...] = CLASS_NODES,
    names: tuple[str, ...] = NAMES,
    head: str = "cosine",
    region: bool = False,
    unknown: bool = False,
    threshold: float | None = -3.0,
    compare: bool = False,
) -> Evaluation:
    """Judge a classifier on 12 photos: the six that it knows, and six with its own labels."""
    parts = replace(
        tiny_parts(head, taxonomy=taxonomy, class_nodes=class_nodes),
        class_counts=np.array([150, 50, 5, 120, 30, 2]),
        calibration=Calibration(images=5, novelty_threshold=threshold, threshold_prob=0.7),
    )
    folder = workshop / "run" / "classifier"
    TaxonClassifier(parts, device="cpu").save(folder)

    def table(name: str, rows: list[tuple[str, str]]) -> Path:
        pd.DataFrame(rows, columns=["image", "taxon"]).to_csv(workshop / name, index=False)
        return workshop / name

    if compare:
        noise = generator("index of a test").normal(0, 0.1, (12, 64))
        save_index(folder, noise.astype(np.float32), [k % 6 for k in range(12)])
    known = [(f"{row}.png", names[k]) for row, k in enumerate(TRUTH)]
    strange = [(f"{row}.png", "Salix alba") for row in range(12, 15)]
    return evaluate(
        EvaluateConfig(
            classifier=folder,
            images=table("test.csv", known),
            region=table("region.csv", known[3:9]) if region else None,
            unknown=table("unknown.csv", strange) if unknown else None,
            novelty_scores=compare,
            device="cpu",
        )
    )


@pytest.fixture(scope="module")
def full(workshop: Path) -> Evaluation:
    return judge(workshop, region=True, unknown=True)


@pytest.fixture(scope="module")
def plain(workshop: Path) -> Evaluation:
    return judge(workshop, head="linear", threshold=None)


@pytest.fixture(scope="module")
def compared(workshop: Path) -> Evaluation:
    return judge(workshop, head="linear", unknown=True, compare=True)


def tables_of(report: ReportData) -> list[Table]:
    return [table for section in report.sections for table in section.tables]


def galleries_of(report: ReportData) -> list[Gallery]:
    return [gallery for section in report.sections for gallery in section.galleries]


def assert_stands_alone(page: str) -> None:
    assert "<script" not in page.lower()
    targets = re.findall(r'(?:src|href|action)\s*=\s*"([^"]*)"', page)
    assert targets
    assert all(target.startswith(("#", "data:image/")) for target in targets)
    assert not re.findall(r"url\((?!#)", page)
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", page))
    assert all("w3.org" in address or "purl.org" in address for address in addresses), addresses


def test_the_page_has_every_figure_and_stands_alone(full: Evaluation) -> None:
    report = evaluation_report({"TaxoNet": full}, title="On twelve photos")
    page = render_html(report)
    assert_stands_alone(page)
    text = html.unescape(re.sub(r"<[^>]+>", "\n", page))
    lines = set(text.splitlines())
    for table in tables_of(report):
        assert table.caption in lines
        for cells in table.text_rows():
            assert set(cells) - {""} <= lines, cells
    titles = [section.title for section in report.sections]
    assert titles == [
        "How good is it?",
        "The long tail",
        "What it dares to name",
        "What its probabilities are worth",
        "At every rank",
        "Unknown taxa",
        "What is confused with what",
        "Embedding norms",
        "Examples",
        "Every class",
    ]


def test_the_tables_say_what_the_metrics_say(full: Evaluation, plain: Evaluation) -> None:
    levels, groups, region, open_set, by_novelty = summary_tables({"ours": full, "theirs": plain})
    test = full.metrics["test"]["levels"]
    assert [row[:3] for row in levels.rows] == [
        (name, rank, test[rank]["classes"])
        for name in ("ours", "theirs")
        for rank in ("class", "species", "genus", "family")
    ]
    for row, one in zip(levels.rows, [full] * 4 + [plain] * 4, strict=True):
        found = one.metrics["test"]["levels"][row[1]]
        keys = ("rank1", "top5", "macro_recall", "macro_precision", "macro_f1")
        assert row[3:] == tuple(pytest.approx(100 * found[key]) for key in keys)
    by_group = test["class"]["shot_groups"]
    assert groups.rows[0] == (
        "ours",
        "class",
        *(100 * by_group[group]["macro_recall"] for group in ("many", "medium", "few")),
    )
    # The other classifier was not judged on the region nor on unknown taxa.
    assert [row[0] for row in region.rows] == ["ours"] * 4
    (row,) = open_set.rows
    figures = full.metrics["open_set"]
    shown = ("TPR", "TNR", "ACC", "AUROC", "FPR@95", "OSCR")
    assert row[1:] == tuple(100 * figures[key] for key in shown)
    (row,) = by_novelty.rows
    ((stratum, found),) = figures["by_novelty"].items()
    cells = (100 * found[key] for key in ("TNR", "AUROC", "AUPR", "FPR@95", "OSCR"))
    assert row == ("ours", stratum, found["images"], *cells)


def test_novelty_scores_side_by_side(compared: Evaluation, full: Evaluation) -> None:
    report = evaluation_report({"one": compared, "two": full}, title="t")
    (section,) = (one for one in report.sections if one.title == "Novelty scores")
    overall, by_novelty = section.tables
    assert section.tables == tuple(novelty_score_tables({"one": compared, "two": full}))
    found = compared.metrics["novelty_scores"]["scores"]
    # Nobody compared the scores of the second.
    assert [row[:2] for row in overall.rows] == [("one", name) for name in found]
    assert {"energy", "knn", "mahalanobis"} <= set(found)
    for row, by, figures in zip(overall.rows, by_novelty.rows, found.values(), strict=True):
        shown = ("AUROC", "FPR@95", "OSCR")
        assert row[2:] == (None, None, None, *(100 * figures[key] for key in shown))
        (part,) = figures["by_novelty"].values()
        assert by[2:] == (100 * part["AUROC"], None)
    best = max(found, key=lambda name: found[name]["AUROC"])
    best_sentence, threshold_sentence = section.paragraphs
    assert best_sentence.startswith(f"For one, {best} tells unknown photos")
    assert threshold_sentence.startswith("Without calibration photos there are no thresholds")
    assert novelty_score_section({"two": full}) is None
    assert novelty_score_tables({"two": full}) == []


def test_the_sentence_of_the_first_section(full: Evaluation) -> None:
    report = evaluation_report({"TaxoNet": full}, title="t")
    found = full.metrics["test"]["levels"]["class"]
    (sentence,) = report.sections[0].paragraphs
    assert sentence.startswith(
        f"TaxoNet names the right taxon for {100 * found['rank1']:.1f} % of 12 test photos;"
    )
    assert "over the 6 taxa" in sentence
    assert sentence.endswith(f"it is {100 * found['macro_recall']:.1f} %.")


def test_two_classifiers_stand_side_by_side(full: Evaluation, plain: Evaluation) -> None:
    report = evaluation_report({"TaxoNet": full, "Cross entropy": plain}, title="Two")
    page = render_html(report)
    assert_stands_alone(page)
    decisions = next(t for t in tables_of(report) if t.caption.startswith("Decisions"))
    assert [row[0] for row in decisions.rows] == ["TaxoNet", "Cross entropy"]
    for row in decisions.rows:
        named, _, wrong, unknown, nothing = row[2:7]
        assert isinstance(named, float)
        assert isinstance(wrong, float)
        assert wrong <= named
        assert isinstance(unknown, float)
        assert isinstance(nothing, float)
        assert named + unknown + nothing == pytest.approx(100)
    # The second was not judged on photos of unknown taxa.
    (mixed,) = (t for t in tables_of(report) if "unknown taxa together" in t.caption)
    found = full.metrics["test_and_unknown"]
    (row,) = mixed.rows
    assert row[0] == "TaxoNet"
    assert row[-2] == pytest.approx(100 * found["unknown_images"] / found["images"])
    assert found["images"] == full.metrics["test"]["decision"]["images"] + found["unknown_images"]


def test_without_region_unknown_or_threshold(plain: Evaluation) -> None:
    report = evaluation_report({"Cross entropy": plain}, title="Little")
    assert "Unknown taxa" not in [section.title for section in report.sections]
    captions = [table.caption for table in tables_of(report)]
    assert not any("region" in caption for caption in captions)
    assert_stands_alone(render_html(report))


def test_a_tree_without_ranks_or_genera(workshop: Path) -> None:
    names = tuple(f"taxon {k}" for k in range(6))
    flat = Taxonomy.from_table(pd.DataFrame({"taxon": names}), ranks=["taxon"])
    edges = Taxonomy.from_edges([("root", name) for name in names])
    for tree in (flat, edges):
        one = judge(workshop, taxonomy=tree, class_nodes=tuple(range(1, 7)), names=names)
        report = evaluation_report({"flat": one}, title="Flat")
        assert_stands_alone(render_html(report))
        assert "names the right taxon for" in report.sections[0].paragraphs[0]


def test_names_may_be_anything(workshop: Path) -> None:
    names = (
        "<script>alert(1)</script>",
        '"quoted" & <b>bold</b>',
        "${math}$",
        "Rosa × alba",
        "{{ 7 * 7 }}",
        "]]></svg>",
    )
    rows = [(f"<i>genus {k % 2}</i>", name) for k, name in enumerate(names)]
    tree = Taxonomy.from_table(pd.DataFrame(rows, columns=["genus", "species"]))
    nodes = tuple(sorted(tree.find(name)[0] for name in names))
    ordered = tuple(str(tree.names[node]) for node in nodes)
    one = judge(workshop, taxonomy=tree, class_nodes=nodes, names=ordered)
    page = render_html(evaluation_report({"<img src=x>": one}, title="<script>1</script>"))
    assert_stands_alone(page)
    for name in (*names, "<script>1</script>", "<img src=x>"):
        assert html.escape(name, quote=False).replace("&amp;", "&") in page.replace(
            "&amp;", "&"
        ).replace("&#34;", '"'), name
    assert "<b>bold" not in page
    assert "<i>genus" not in page


def test_the_gallery_shows_right_and_wrong(full: Evaluation) -> None:
    right, wrong = galleries_of(evaluation_report({"TaxoNet": full}, title="t"))
    assert all(example.right and example.truth == example.prediction for example in right.examples)
    assert not any(example.right for example in wrong.examples)
    assert len(right.examples) + len(wrong.examples) == 12
    assert len(right.examples) == round(12 * full.metrics["test"]["levels"]["class"]["rank1"])
    sureness = [example.prob for example in wrong.examples]
    assert sureness == sorted(sureness, reverse=True)


def test_a_picture_that_was_damaged_or_lost_cannot_break_the_gallery(
    workshop: Path, tmp_path: Path
) -> None:
    for row in range(15):
        (tmp_path / f"{row}.png").write_bytes((workshop / f"{row}.png").read_bytes())
    one = judge(tmp_path)
    (tmp_path / "0.png").write_bytes(b"no image")
    (tmp_path / "7.png").unlink()
    report = evaluation_report({"TaxoNet": one}, title="t")
    assert sum(len(gallery.examples) for gallery in galleries_of(report)) == 10
    for row in range(15):
        (tmp_path / f"{row}.png").unlink(missing_ok=True)
    report = evaluation_report({"TaxoNet": one}, title="t")
    assert galleries_of(report) == []
    assert_stands_alone(render_html(report))


def test_classifiers_of_different_taxa_are_refused(workshop: Path, full: Evaluation) -> None:
    nodes = (1, 5, 6, 7, 8, 9)
    names = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Rubus idaeus")
    other = judge(workshop, class_nodes=nodes, names=names)
    with pytest.raises(DataError, match=r"theirs and ours name different taxa \(6 and 6\)"):
        evaluation_report({"ours": full, "theirs": other}, title="t")


def test_photos_are_named_by_what_happened_to_them(full: Evaluation) -> None:
    facts = dict(evaluation_report({"TaxoNet": full}, title="t").facts)
    assert facts["Training photos"] == "357"
    assert facts["Photos judged"] == "12 (test)"
    assert facts["Photos left out"].startswith("0 ")
    assert facts["Unreadable photos"] == "0"
    assert facts["Judged photos seen in training"] == "not known"
