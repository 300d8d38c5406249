"""One self-contained HTML file that shows how good a classifier is, or what is inside it."""

from taxonet.report.calibration import calibration_section, reliability
from taxonet.report.chat import chat_table
from taxonet.report.examples import choose_right, choose_wrong, thumbnail_uri
from taxonet.report.geometry import geometry_report, geometry_tables
from taxonet.report.heatmap import genus_confusion
from taxonet.report.html import render_html, write_html
from taxonet.report.judgement import evaluation_report
from taxonet.report.novelty_scores import novelty_score_section, novelty_score_tables
from taxonet.report.plots import (
    long_tail,
    norms_by_shot_group,
    open_set_histogram,
    recall_against_class_size,
)
from taxonet.report.rollups import operating_curves, rollup_section
from taxonet.report.structure import (
    Column,
    Example,
    Figure,
    Gallery,
    ReportData,
    Section,
    Table,
    cell_text,
)
from taxonet.report.summary import summary_tables
from taxonet.report.terminal import terminal_report, terminal_table

__all__ = [
    "Column",
    "Example",
    "Figure",
    "Gallery",
    "ReportData",
    "Section",
    "Table",
    "calibration_section",
    "cell_text",
    "chat_table",
    "choose_right",
    "choose_wrong",
    "evaluation_report",
    "genus_confusion",
    "geometry_report",
    "geometry_tables",
    "long_tail",
    "norms_by_shot_group",
    "novelty_score_section",
    "novelty_score_tables",
    "open_set_histogram",
    "operating_curves",
    "recall_against_class_size",
    "reliability",
    "render_html",
    "rollup_section",
    "summary_tables",
    "terminal_report",
    "terminal_table",
    "thumbnail_uri",
    "write_html",
]
