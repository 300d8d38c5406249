"""Photos of a table as a classifier takes them: a name and where to read it."""

from collections.abc import Iterator

from taxonet.classifier.embedder import NamedImage
from taxonet.data.table import ImageTable


def named_photos(table: ImageTable) -> Iterator[NamedImage]:
    """Yield name and source of each photo, in order."""
    for row, name in enumerate(table.frame["image"]):
        yield str(name), table.source(row)
