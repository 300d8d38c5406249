import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from taxonet.errors import DataError
from taxonet.metrics import ConfusionCounts
from taxonet.report import (
    genus_confusion,
    long_tail,
    norms_by_shot_group,
    open_set_histogram,
    recall_against_class_size,
)
from taxonet.seeds import generator

COUNTS = np.array([3, 1000, 40, 1, 250, 12])
GROUPS = ["tail", "head", "between", "tail", "between", "tail"]
ORDER = ["head", "between", "tail"]
NAMES = ["Acer", "<b>Quercus</b>", "$x_1$ & \"y'", "槭属"]


def genera() -> ConfusionCounts:
    counts = ConfusionCounts(4)
    counts.update([0, 0, 0, 1, 1, 2, 3, 3], [0, 1, 1, 1, 0, 3, 3, 3])
    return counts


def norms() -> tuple[np.ndarray, list[str]]:
    rng = generator("norms", 0)
    groups = [ORDER[i] for i in rng.integers(0, 3, 300)]
    return rng.normal(20, 2, 300), groups


DRAWINGS: dict[str, Callable[[], str]] = {
    "long_tail": lambda: long_tail(COUNTS, GROUPS, order=ORDER),
    "recall": lambda: recall_against_class_size(
        COUNTS, {"ours": [0.1, 1, 0.5, np.nan, 0.9, 0.2], "theirs <i>": np.zeros(6)}
    ),
    "norms": lambda: norms_by_shot_group(*norms(), order=ORDER, extremes=50),
    "genera": lambda: genus_confusion(genera(), NAMES),
    "open_set": lambda: open_set_histogram([1.0, 2, 2.5, 4], [3.0, 4, 5], threshold=3.2),
}


def texts(svg: str) -> list[str]:
    return [
        "".join(element.itertext()).strip()
        for element in ElementTree.fromstring(svg).iter()
        if element.tag.endswith("}text")
    ]


@cache
def drawn(name: str) -> str:
    return DRAWINGS[name]()


@pytest.fixture(params=sorted(DRAWINGS))
def svg(request: pytest.FixtureRequest) -> str:
    return drawn(request.param)


def test_a_drawing_is_one_svg_element_without_requests(svg: str) -> None:
    assert svg.startswith("<svg")
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    links = set(re.findall(r"https?://[^\"'\s>]*", svg))
    assert links <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<script|<image|@import|<foreignObject", svg)


@pytest.mark.parametrize("name", sorted(DRAWINGS))
def test_equal_input_gives_equal_bytes_and_leaves_no_trace(name: str) -> None:
    drawn(name)
    before = dict(mpl.rcParams)
    assert DRAWINGS[name]() == drawn(name)
    assert dict(mpl.rcParams) == before


def test_neutral_parts_follow_the_colour_of_the_page(svg: str) -> None:
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert "#ffffff" not in svg


def test_references_point_to_ids_of_the_same_figure(svg: str) -> None:
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert used <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_long_tail_names_groups_with_their_sums() -> None:
    shown = texts(drawn("long_tail"))
    assert "head: 1 classes, 1,000 images" in shown
    assert "between: 2 classes, 290 images" in shown
    assert "tail: 3 classes, 16 images" in shown
    assert "1,000" in shown  # on the axis, not as a power of ten


def test_groups_have_one_colour_in_every_figure() -> None:
    assert all(
        colour in svg
        for svg in (drawn("long_tail"), drawn("norms"))
        for colour in ("#0072b2", "#d55e00", "#009e73")
    )


def test_models_are_named_and_escaped() -> None:
    svg = drawn("recall")
    assert {"ours", "theirs <i>"} <= set(texts(svg))
    assert "<i>" not in svg


def test_recall_without_a_tested_class_still_draws() -> None:
    svg = recall_against_class_size([5, 9], {"ours": [np.nan, np.nan]})
    assert "ours" in texts(svg)


def test_norms_say_how_many_are_extreme() -> None:
    assert {"50 lowest", "50 highest", "all", *ORDER} <= set(texts(drawn("norms")))
    few = norms_by_shot_group([1.0, 2.0, 3.0], ["tail", "tail", "head"], order=ORDER)
    assert {"1 lowest", "1 highest"} <= set(texts(few))
    assert "between" not in texts(few)  # a group without images is not drawn


def test_the_extremes_are_the_lowest_and_the_highest_norms() -> None:
    svg = norms_by_shot_group(
        [1.0, 9.0, 2.0, 8.0], ["tail", "head", "tail", "head"], order=["head", "tail"], extremes=2
    )
    widths = []
    for path in re.findall(r'<path d="([^"]+)"[^>]*style="fill: #0072b2', svg):
        xs = [float(point.split()[0]) for point in re.findall(r"[ML] ([\d.]+ [\d.]+)", path)]
        widths.append(max(xs) - min(xs))
    lowest, highest, everyone = widths  # of head, in the bars from top to bottom
    assert lowest == 0
    assert everyone == pytest.approx(highest / 2)


def test_genera_are_literal_text_in_any_script() -> None:
    svg = drawn("genera")
    assert set(NAMES) <= set(texts(svg))
    assert "<b>" not in svg


def test_genera_are_ordered_by_confusion_and_cut_with_a_note() -> None:
    shown = texts(genus_confusion(genera(), NAMES, most=2))
    assert any(text.startswith("2 of 4 tested genera") for text in shown)
    assert {"Acer", "<b>Quercus</b>"} <= set(shown)
    assert "槭属" not in shown
    assert {"33", "67", "50"} <= set(shown)  # Acer: 1 of 3 right; Quercus: 1 of 2 as Acer


def test_what_goes_to_hidden_genera_is_shown_as_others() -> None:
    counts = ConfusionCounts(3)
    counts.update([0] * 10 + [1] * 10, [1] * 5 + [2] * 4 + [0] + [0] * 5 + [1] * 5)
    shown = texts(genus_confusion(counts, ["a", "b", "c"]))
    assert "others" in shown
    assert "40" in shown  # c has no test images, so it is not shown: 4 of 10
    assert "c" not in shown


def test_the_threshold_is_drawn() -> None:
    assert {"known taxa: 4 images", "unknown taxa: 3 images", "threshold 3.2"} <= set(
        texts(drawn("open_set"))
    )


def test_files_stay_small_with_many_classes() -> None:
    counts = np.sort(generator("sizes", 0).integers(1, 3000, 8000))
    groups = ["head" if n > 500 else "tail" for n in counts]
    recall = counts / 3000
    assert len(recall_against_class_size(counts, {"ours": recall})) < 60_000
    assert len(long_tail(counts, groups, order=ORDER)) < 60_000


def test_wrong_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="class_counts and groups"):
        long_tail(COUNTS, GROUPS[1:], order=ORDER)
    with pytest.raises(DataError, match="the recalls of 'ours'"):
        recall_against_class_size(COUNTS, {"ours": [0.5]})
    with pytest.raises(DataError, match="norms and groups"):
        norms_by_shot_group([], [], order=ORDER)
    with pytest.raises(DataError, match="Expected 4 names of genera, got 1"):
        genus_confusion(genera(), ["Acer"])
    with pytest.raises(DataError, match="no test images"):
        genus_confusion(ConfusionCounts(2), ["a", "b"])


def test_bins_of_class_size_rise() -> None:
    svg = recall_against_class_size([1, 2, 4, 8], {"ours": [0.0, 0.2, 0.4, 0.6]})
    line = re.search(r'<path d="M ([^"]+)"[^>]*fill: none; stroke: #0072b2', svg)
    assert line is not None
    points = [tuple(map(float, p.split())) for p in re.split(r"\s*L\s*", line[1].strip())]
    assert len(points) == 4
    assert all(left[0] < right[0] and left[1] > right[1] for left, right in pairwise(points))
