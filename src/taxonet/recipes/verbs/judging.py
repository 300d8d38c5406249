"""The verbs that say how good a classifier is, and why."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from taxonet.recipes.sections import Section
from taxonet.recipes.verbs.base import BATCH_SIZE, FEATURES, WORKERS, Device


class EvaluateConfig(Section):
    """Judge a classifier on labelled photos it was not trained on."""

    classifier: Path = Field(description="Classifier folder.")
    images: Path = Field(description="Labelled photos; with splits, those of `split` are used.")
    split: str = Field("test", description="Split to judge on, where the photos have splits.")
    out: Path | None = Field(
        None, description="Folder for metrics.json and report.html (beside CLASSIFIER if left out)."
    )
    region: Path | None = Field(None, description="Photos of the same taxa from another region.")
    unknown: Path | None = Field(
        None,
        description="Photos of taxa that the classifier lacks; with splits, those of `unknown`.",
    )
    novelty_scores: bool = Field(
        False,
        description="Compare every novelty score on these, each with a threshold from the split "
        "`calibration` of IMAGES, whose photos are then read too.",
    )
    taxon_map: Path | None = Field(
        None,
        description="CSV of the other region's labels: columns label, path; a path reads "
        "family/genus/species, or `unknown`.",
    )
    prior_shift: bool = Field(
        False,
        description="Also judge --region with probabilities corrected for how common the taxa are "
        "there, as estimated without labels.",
    )
    source_prior: Literal["counts", "uniform"] | None = Field(
        None,
        description="How common the taxa are behind the classifier's probabilities, for "
        "--prior-shift: as among its training photos, or all alike (by its recipe if left out).",
    )
    batch_norm: Literal["own", "target"] = Field(
        "own",
        description="Statistics of batch norm layers on --region: those of training, or `target`, "
        "those of the region's photos, gathered without labels in a pass before.",
    )
    by: tuple[str, ...] = Field(
        (),
        description="Also show figures for every value of this column of the photos, such as "
        "region, source or month (made of date where there is none); may repeat.",
    )
    batch_size: int | None = Field(None, ge=1, description=BATCH_SIZE)
    features: Path | None = Field(None, description=FEATURES)
    workers: int | None = Field(None, ge=0, description=WORKERS)
    device: Device = Field("auto", description="Where to compute.")

    @model_validator(mode="after")
    def _has_a_region_to_adapt_to(self) -> Self:
        if self.prior_shift and self.region is None:
            raise ValueError("prior_shift is about the photos of another region: give --region.")
        if self.source_prior is not None and not self.prior_shift:
            raise ValueError("source_prior is what priors shift from: give --prior-shift.")
        if self.batch_norm == "target" and self.region is None:
            raise ValueError("batch_norm target is another region's: give --region.")
        return self


class AnalyseConfig(Section):
    """Look inside a classifier: how embeddings, class means and class weights lie in space."""

    classifier: Path = Field(
        description="Classifier folder; its index has the embeddings of the training photos."
    )
    images: Path | None = Field(
        None, description="Labelled photos to look at too; with splits, those of `split` are used."
    )
    split: str = Field("test", description="Split to look at, where the photos have splits.")
    out: Path | None = Field(
        None,
        description="Folder for geometry.json and geometry.html (beside CLASSIFIER if left out).",
    )
    tsne: bool = Field(
        False,
        description="Draw the photos of --images, or else of the index, as points (t-SNE), 3,000 "
        "at most, coloured by their taxa; needs pip install 'taxonet[explore]'.",
    )
    separability: bool = Field(
        False,
        description="Compute Fisher's separability however long it takes; otherwise it is left "
        "out where there are too many pairs of classes for a quarter of an hour.",
    )
    batch_size: int | None = Field(None, ge=1, description=BATCH_SIZE)
    features: Path | None = Field(None, description=FEATURES)
    workers: int | None = Field(None, ge=0, description=WORKERS)
    device: Device = Field("auto", description="Where to compute.")
