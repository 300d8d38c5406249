"""One HTML file that holds a whole report and asks the network for nothing."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from taxonet.errors import DataError
from taxonet.files import write_text
from taxonet.report.examples import DATA_URI_START
from taxonet.report.structure import ReportData

_ID_USES = re.compile(r'(\bid="|href="#|url\(#)')


def render_html(report: ReportData) -> str:
    """Return a report as one self-contained HTML page.

    Everything is inside: style, drawings, thumbnails; there is no script, and a content security
    policy in the page forbids any request. All text is escaped, so a name may hold anything.

    Raises:
        DataError: A thumbnail that is no JPEG ``data:`` URI, or a figure that is no SVG element.

    Examples:
        >>> page = render_html(ReportData("Trees & shrubs", (("images", "12"),), ()))
        >>> "<h1>Trees &amp; shrubs</h1>" in page
        True
    """
    for section in report.sections:
        for figure in section.figures:
            if not figure.svg.startswith("<svg"):
                raise DataError(f"Figure {figure.caption!r} is not an <svg> element.")
        for example in (e for gallery in section.galleries for e in gallery.examples):
            if not example.thumbnail.startswith(DATA_URI_START):
                raise DataError(
                    f"The thumbnail of an example of {example.truth!r} must be a data URI that "
                    f"starts with {DATA_URI_START!r}, so that the page needs no other file."
                )
    return _template().render(report=report)


def write_html(report: ReportData, path: Path) -> None:
    """Write a report as one HTML file; a reader sees the old file or the whole new one."""
    write_text(path, render_html(report))


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["inlined"] = _inlined
    source = files("taxonet.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _inlined(svg: str, prefix: str) -> Markup:
    """Put a prefix before every id of a drawing, since all drawings of a page share its ids."""
    return Markup(_ID_USES.sub(rf"\g<1>{prefix}", svg))
