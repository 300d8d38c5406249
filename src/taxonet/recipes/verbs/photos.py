"""The verbs about photos and taxonomies, before there is a classifier."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from taxonet.recipes.sections import Section
from taxonet.recipes.verbs.base import TaxonomySource


class InspectConfig(TaxonomySource):
    """Show what is in a set of photos: counts, the long tail, broken files, duplicates."""

    images: Path = Field(description="Photos, as for `train`.")
    names: Path | None = Field(
        None, description="Reference list of names to check spellings against (CSV, .gz allowed)."
    )
    out: Path | None = Field(None, description="Folder for inspection.json and long_tail.svg.")

    @model_validator(mode="after")
    def _has_names_to_check(self) -> Self:
        if self.taxonomy is None and self.names is not None:
            raise ValueError("names checks the names of a taxonomy: give --taxonomy.")
        return self


class SplitConfig(TaxonomySource):
    """Divide photos into train, val, calibration and test, and hold out whole taxa as unknown."""

    images: Path = Field(description="Photos, as for `train`.")
    out: Path = Field(Path("split.csv"), description="Manifest to write.")
    train: float = Field(0.7, gt=0, lt=1, description="Share of the training split.")
    val: float = Field(0.1, ge=0, lt=1, description="Share that chooses the epoch.")
    calibration: float = Field(0.1, ge=0, lt=1, description="Share that sets the thresholds.")
    test: float = Field(0.1, ge=0, lt=1, description="Share that is only read.")
    seed: int = Field(0, ge=0, description="Key of the shuffle.")
    hold_out_taxa: tuple[str, ...] = Field(
        (),
        description="Put all photos of this taxon into the split `unknown`, for `evaluate "
        "--unknown`: rank=name; may repeat.",
    )

    @property
    def fractions(self) -> dict[str, float]:
        """The share of each split that gets any."""
        shares = {
            "train": self.train,
            "val": self.val,
            "calibration": self.calibration,
            "test": self.test,
        }
        return {name: share for name, share in shares.items() if share > 0}

    @model_validator(mode="after")
    def _divides_all(self) -> Self:
        total = sum(self.fractions.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, val, calibration and test must sum to 1, got {total:g}.")
        return self

    @model_validator(mode="after")
    def _has_taxa_to_hold_out(self) -> Self:
        if self.taxonomy is not None and not self.hold_out_taxa:
            raise ValueError("taxonomy says what is held out: give --hold-out-taxa, or leave it.")
        return self


class MatchConfig(Section):
    """Find the taxa of another taxonomy in this one, as a map for `evaluate --taxon-map`."""

    taxonomy: Path = Field(description="Taxonomy, such as taxonomy.csv of a classifier's folder.")
    other: Path = Field(description="Taxonomy of the other photos.")
    synonyms: Path | None = Field(
        None, description="Other names of taxa: a table with the columns name, accepted."
    )
    ranks: tuple[str, ...] = Field(
        (), description="Rank columns of both to use, coarse to fine (all known ones if left out)."
    )
    out: Path = Field(
        Path("matches.csv"), description="CSV to write: a row for each label of the other photos."
    )


class FetchConfig(Section):
    """Download a public benchmark set; without --yes, say what would be downloaded."""

    name: str = Field(description="Name of the set, as `taxonet list benchmark-sets` prints it.")
    out: Path | None = Field(
        None, description="Folder for the files (`benchmarks/NAME` if left out)."
    )
    yes: bool = Field(False, description="Accept the terms and the size, and download.")
    only: tuple[str, ...] = Field((), description="Fetch this file of the set only; may repeat.")
    url: str | None = Field(
        None, description="Folder of a mirror that has the files under the same names."
    )


class ImportConfig(Section):
    """Turn a public benchmark set on disk into a manifest for `train`, after checking it."""

    name: str = Field(description="Name of the set, as `taxonet list benchmark-sets` prints it.")
    folder: Path = Field(description="Where the set's files are.")
    out: Path | None = Field(
        None,
        description="Manifest to write (NAME.csv, or NAME.parquet where the set holds pixels, if "
        "left out); taxonomy.csv goes beside it, if the set has a taxonomy.",
    )
    lists: Path | None = Field(
        None, description="Folder of the set's lists or JSON files, if it is not FOLDER."
    )
    imbalance: float | None = Field(
        None, ge=1, description="Largest over smallest class, for CIFAR (100 if left out)."
    )
    seed: int | None = Field(
        None, ge=0, description="Key of the choice of images, for CIFAR (0 if left out)."
    )
    check_counts: bool = Field(True, description="Hold the set against its published figures.")
    check_files: bool = Field(True, description="Look whether every image is there.")

    @property
    def options(self) -> dict[str, Any]:
        """What was asked of the set's reader; it has the defaults, and knows what it can take."""
        asked = {
            "lists": self.lists,
            "imbalance": self.imbalance,
            "seed": self.seed,
            "check_counts": None if self.check_counts else False,
            "check_files": None if self.check_files else False,
        }
        return {name: value for name, value in asked.items() if value is not None}
