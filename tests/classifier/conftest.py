"""A classifier in memory and on disk, and photos that differ, with broken ones among them."""

from pathlib import Path

import pytest

from taxonet.classifier import TaxonClassifier
from tests.helpers import save_photo, tiny_parts


@pytest.fixture(scope="session")
def classifier() -> TaxonClassifier:
    """A classifier with a cosine head; see `tests.helpers`."""
    return TaxonClassifier(tiny_parts("cosine"), device="cpu")


@pytest.fixture(scope="session")
def saved(classifier: TaxonClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that classifier, to be read only."""
    folder = tmp_path_factory.mktemp("saved") / "classifier"
    classifier.save(folder)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Fourteen photos; the fourth is text, and the tenth is not there."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [save_photo(folder / f"{seed:02}.png", seed) for seed in range(14)]
    paths[3].write_text("no photo", encoding="utf-8")
    paths[9].unlink()
    return [str(path) for path in paths]
