"""Photos of known taxa, and a run against a server with a script."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from taxonet.benchmark.chat import ChatBenchmark, benchmark_chat
from taxonet.recipes.verbs import ChatConfig
from tests.chat_server import ChatServer, serving
from tests.helpers import save_photo

TAXA = [
    ("Acer", "Acer rubrum"),
    ("Acer", "Acer saccharum"),
    ("Rosa", "Rosa canina"),
    ("Quercus", "Quercus alba"),
]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAXONET_API_KEY", raising=False)


@dataclass
class Bench:
    """A folder with photos and a taxonomy, and runs over it."""

    folder: Path

    def photos(self, *species: str, name: str = "photos.csv") -> Path:
        """Write a photo of each species, in this order, and a manifest of them."""
        images = [f"images/{place:02}.png" for place in range(len(species))]
        for place, image in enumerate(images):
            save_photo(self.folder / image, place)
        path = self.folder / name
        pd.DataFrame({"image": images, "taxon": species}).to_csv(path, index=False)
        return path

    @property
    def taxonomy(self) -> Path:
        """A table of `TAXA`."""
        path = self.folder / "taxonomy.csv"
        pd.DataFrame(TAXA, columns=["genus", "species"]).to_csv(path, index=False)
        return path

    def config(self, address: str, **options: Any) -> ChatConfig:
        """Return a config of the photos and the taxonomy; options replace or add."""
        given = {
            "images": self.folder / "photos.csv",
            "taxonomy": self.taxonomy,
            "endpoint": address,
            "model": "NAME",
            "out": self.folder / "out",
            "timeout_seconds": 5.0,
        }
        return ChatConfig.model_validate(given | options)

    def run(self, server: ChatServer, **options: Any) -> ChatBenchmark:
        """Run against a server; waiting is left out."""
        with serving(server) as address:
            return benchmark_chat(self.config(address, **options), sleep=lambda _: None)

    def rows(self) -> pd.DataFrame:
        """Return the rows that were written as CSV."""
        return pd.read_csv(self.folder / "out" / "answers.csv", keep_default_na=False)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
