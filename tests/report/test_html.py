import re
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from taxonet.errors import DataError
from taxonet.report import (
    Column,
    Example,
    Figure,
    Gallery,
    ReportData,
    Section,
    Table,
    long_tail,
    open_set_histogram,
    render_html,
    thumbnail_uri,
    write_html,
)

NASTY = '<script>alert(\'x\')</script>"><img src=http://evil.example/ onerror="x">'
VOID = {"meta", "img", "br", "link", "input", "hr"}


def thumbnail() -> str:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), (0, 99, 0)).save(buffer, "PNG")
    return thumbnail_uri(buffer.getvalue())


@cache
def sample(name: str = "Acer rubrum") -> ReportData:
    table = Table(
        f"Recall of {name}",
        (Column("taxon"), Column("images"), Column("recall", "%", 1)),
        ((name, 12345, 98.765), ("Betula", 3, None)),
    )
    sizes = long_tail([9, 2], ["head", "tail"], order=["head", "tail"])
    figures = (
        Figure(sizes, "Sizes", f"of {name}"),
        Figure(open_set_histogram([1.0, 2], [3.0], threshold=2), "Novelty", "Known left"),
    )
    gallery = Gallery(
        f"Photos of {name}",
        (
            Example(thumbnail(), name, "Betula", 0.8231, right=False),
            Example(thumbnail(), name, name, 1.0, right=True),
        ),
    )
    return ReportData(
        title=f"Report on {name}",
        facts=((name, name), ("split", "test")),
        sections=(
            Section("Recall", (f"About {name}.",), tables=(table,)),
            Section(name, figures=figures, galleries=(gallery,)),
        ),
        notes=(f"A note on {name}.",),
    )


class Outline(HTMLParser):
    """Checks that tags nest, and collects them with their text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("name", ["Acer rubrum", NASTY])
def test_the_page_asks_nobody_for_anything(name: str) -> None:
    outline = Outline(render_html(sample(name)))
    assert not {tag for tag, _ in outline.tags} & {"script", "link", "iframe", "object", "embed"}
    for _, attributes in outline.tags:
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key in {"src", "href", "xlink:href", "srcset", "data"}:
                assert (value or "").startswith(("data:image/jpeg;base64,", "#"))
    policy = [a["content"] for a in outline.all("meta") if "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_only_addresses_are_xml_namespaces() -> None:
    links = set(re.findall(r"(?:https?:)?//[\w.]+[^\"'\s>]*", render_html(sample())))
    links = {link for link in links if not re.match(r"//[A-Za-z0-9+/=]*$", link)}  # base64
    assert links <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in render_html(sample())


def test_any_name_is_harmless_and_arrives_whole() -> None:
    plain, nasty = Outline(render_html(sample())), Outline(render_html(sample(NASTY)))
    assert [tag for tag, _ in nasty.tags] == [tag for tag, _ in plain.tags]
    assert nasty.text.count(NASTY) == plain.text.count("Acer rubrum")
    assert f"Photo of {NASTY}" in [image["alt"] for image in nasty.all("img")]


def test_every_part_is_present() -> None:
    page = render_html(sample())
    outline = Outline(page)
    assert len(outline.all("svg")) == 2
    assert "head: 1 classes, 9 images" in outline.text
    assert "known taxa: 2 images" in outline.text
    assert len(outline.all("img")) == 2
    for text in ("Report on Acer rubrum", "About Acer rubrum.", "A note on Acer rubrum."):
        assert text in outline.text
    assert "82.3 %" in outline.text
    assert "✗ wrong" in outline.text
    assert "✓ right" in outline.text


def test_contents_lead_to_the_sections() -> None:
    outline = Outline(render_html(sample()))
    targets = [link["href"] for link in outline.all("a")]
    ids = [attributes.get("id") for _, attributes in outline.tags if "id" in attributes]
    assert targets == ["#section-1", "#section-2"]
    assert {"section-1", "section-2"} <= set(ids)


def test_one_drawing_shown_twice_shares_no_id_and_loses_no_reference() -> None:
    svg = open_set_histogram([1.0, 2], [3.0], threshold=2)
    figure = Figure(svg, "Novelty", "Known left")
    page = render_html(ReportData("x", (), (Section("s", figures=(figure, figure)),)))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', page)
    assert len(used) > 2
    assert set(used) <= set(ids)


def test_tables_have_captions_and_figures_stand_right() -> None:
    page = render_html(sample())
    assert "<caption>Recall of Acer rubrum</caption>" in page
    assert '<th scope="row">Acer rubrum</th>' in page
    assert '<td class="figure">12,345</td>' in page
    assert '<td class="figure">98.8</td>' in page
    assert '<td class="figure">n/a</td>' in page
    assert '<th scope="col" class="figure">recall (%)</th>' in page


def test_drawings_and_photos_have_words() -> None:
    outline = Outline(render_html(sample()))
    labels = [d["aria-label"] for d in outline.all("div") if d.get("role") == "img"]
    assert labels == ["of Acer rubrum", "Known left"]
    assert all(image["alt"] for image in outline.all("img"))
    assert outline.all("html")[0]["lang"] == "en"


def test_both_schemes_and_small_screens_are_provided_for() -> None:
    page = render_html(sample())
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page


def test_equal_reports_are_equal_bytes() -> None:
    assert render_html(sample()) == render_html(sample())


def test_an_empty_report_is_a_page() -> None:
    outline = Outline(render_html(ReportData("Empty", (), ())))
    assert len(outline.all("h1")) == 1
    assert outline.all("nav") == []


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "report.html"
    write_html(sample("槭属"), target)
    assert target.read_text(encoding="utf-8") == render_html(sample("槭属"))
    broken = ReportData("x", (), (Section("s", figures=(Figure("<p>", "c", "a"),)),))
    with pytest.raises(DataError, match="Figure 'c' is not an <svg> element"):
        write_html(broken, target)
    assert target.read_text(encoding="utf-8") == render_html(sample("槭属"))
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


def test_thumbnails_from_elsewhere_are_refused() -> None:
    example = Example("http://example.org/a.jpg", "Acer", "Acer", 1.0, right=True)
    report = ReportData("x", (), (Section("s", galleries=(Gallery("g", (example,)),)),))
    with pytest.raises(DataError, match="example of 'Acer' must be a data URI"):
        render_html(report)
