"""The report of an analysis: each section is there where its figures are, with their numbers."""

import re
from dataclasses import replace

import numpy as np
import pytest

from taxonet.classifier import TaxonClassifier, TrailPoint
from taxonet.evaluation import Analysis, Projection, measure_geometry
from taxonet.evaluation.geometry import TRAINING, EmbeddedPhotos
from taxonet.metrics import NeighbourAgreement, PairMeans
from taxonet.report import geometry_report, geometry_tables, render_html
from taxonet.report.structure import ReportData
from taxonet.seeds import generator
from tests.helpers import tiny_parts

COUNTS = (150, 50, 5, 120, 30, 2)
TITLES = [
    "How near is a photo to its class?",
    "How well are classes separated?",
    "Do frequent classes have longer vectors?",
    "How far apart are classes?",
    "How did classes move in the second stage?",
    "By how much does the true class win?",
]


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    parts = replace(tiny_parts(), class_counts=np.array(COUNTS))
    draw = generator("report of an analysis")
    targets = np.repeat(np.arange(6), 4)
    embeddings = draw.normal(size=(24, 64)) + 3 * np.eye(6, 64)[targets]
    names = ("a", "b", "c", "d", "<b>&", "f")
    geometry = measure_geometry(
        names,
        COUNTS,
        parts.network.head.weight.detach().numpy(),
        {
            TRAINING: EmbeddedPhotos(embeddings, targets),
            "test": EmbeddedPhotos(embeddings[::2], targets[::2], draw.normal(size=12)),
        },
        separability_of=[TRAINING],
    )
    kinds = ("all-all", "many-many", "many-few", "few-few")
    trail = tuple(
        TrailPoint(batches, {name: PairMeans(1, 1 + batches / 7, 0.5) for name in kinds})
        for batches in (0, 7, 14)
    )
    figures = {"margin_unit": "cosines", "taxonet": "0"}
    classifier = TaxonClassifier(parts, device="cpu")
    return Analysis(classifier, geometry, trail, None, figures, ("A note.",))


def titles(report: ReportData) -> list[str]:
    return [section.title for section in report.sections]


def test_every_question_has_a_section(analysis: Analysis) -> None:
    report = geometry_report(analysis, title="inside")
    assert titles(report) == TITLES
    assert report.notes[0] == "A note."
    assert dict(report.facts)["Classes"] == "6: 2 many-shot, 2 medium-shot, 2 few-shot"


def test_the_page_stands_alone(analysis: Analysis) -> None:
    page = render_html(geometry_report(analysis, title="inside"))
    assert page.count("<svg") == 5
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    assert "nan" not in page.lower().replace("balanced", "")


def test_the_tables_say_what_was_measured(analysis: Analysis) -> None:
    angles, fisher, norms, pairs, trail, margins = geometry_tables(analysis)
    spread = analysis.geometry.photos["test"].angles["all"]
    assert spread is not None
    assert angles.rows[-1][:4] == ("test", "all", 12, spread.mean_deg)
    assert [row[0] for row in fisher.rows] == [TRAINING]
    assert fisher.rows[0][-1] == 6
    assert [row[0] for row in norms.rows] == ["head", "class means"]
    assert pairs.rows[0][:3] == ("head", "all-all", 15)
    assert [row[:2] for row in trail.rows] == [(0, 1.0), (14, 3.0)]
    measured = analysis.geometry.photos["test"].margins
    assert measured is not None
    assert margins.rows[0][4] == measured.by_group["all"]


def test_what_was_not_measured_has_no_section(analysis: Analysis) -> None:
    head_only = replace(analysis.geometry, photos={})
    report = geometry_report(replace(analysis, geometry=head_only, trail=()), title="t")
    assert titles(report) == TITLES[2:4]
    render_html(report)


def test_a_projection_is_the_last_section(analysis: Analysis) -> None:
    found = NeighbourAgreement(images=3, taxa=2, share=0.5, chance=0.25, best=1.0)
    projection = Projection(
        photos="test",
        photos_in_all=3,
        perplexity=1.0,
        images=("a", "b", "c"),
        points=np.zeros((3, 2)),
        taxa={"genus": ("Acer", "Rosa", None)},
        neighbours=2,
        agreement={"genus": found},
    )
    report = geometry_report(replace(analysis, projection=projection), title="t")
    assert titles(report) == [*TITLES, "Is the space arranged along the tree?"]
