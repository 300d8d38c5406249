"""The verbs that use a classifier on photos."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from taxonet.recipes.sections import Section
from taxonet.recipes.verbs.base import BATCH_SIZE, FEATURES, WORKERS, Device

_NODE_PROBS_FROM = 0.01
_CONFIDENCE = 0.95


class PredictConfig(Section):
    """Name photos at the rank that can be vouched for."""

    classifier: Path = Field(description="Classifier folder.")
    images: tuple[str, ...] = Field(
        description="Photos: files, folders, globs, a .txt list of paths, or - for standard input."
    )
    out: Path = Field(
        Path("predictions.csv"), description="Where rows go: .csv, .jsonl or .parquet."
    )
    top_k: PositiveInt = Field(1, description="Candidates to write at every rank.")
    rollup: str = Field(
        "own",
        description="How probabilities of all taxa come from the scores, as `taxonet list rollups` "
        "prints them; the threshold was set for `own`.",
    )
    set: tuple[str, ...] = Field((), description="Option of the rollup: key=value.")
    node_probs: Path | None = Field(
        None,
        description="Where the probabilities of all likely taxa go, a line for each photo and "
        "taxon: .csv, .jsonl or .parquet.",
    )
    scores: Path | None = Field(
        None,
        description="Where all that `decide` needs to name the photos again goes (.parquet).",
    )
    node_probs_from: float = Field(
        _NODE_PROBS_FROM,
        ge=0,
        le=1,
        description="Smallest probability in these two; 0 for all above 0, which some policies "
        "need.",
    )
    risk: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of wrong names to stay below, of all photos like the calibration "
        "photos; in the place of the classifier's own rule.",
    )
    confidence: float = Field(
        _CONFIDENCE, gt=0, lt=1, description="Confidence with which that is kept."
    )
    within: tuple[str, ...] = Field(
        (), description="Only taxa under this one: rank=name; several add up."
    )
    species_list: Path | None = Field(
        None, description="Only taxa of this list: a name a line, or the first column of a CSV."
    )
    list_weights: str | None = Field(
        None,
        description="Column of that CSV that says how common the taxa are where the photos are "
        "from, such as numbers of occurrences.",
    )
    source_prior: Literal["counts", "uniform"] | None = Field(
        None,
        description="How common the taxa are behind the classifier's probabilities, for "
        "--list-weights: as among its training photos, or all alike (by its recipe if left out).",
    )
    renormalise: bool = Field(
        True, description="Make the probabilities of the taxa that are left sum to 1."
    )
    resume: bool = Field(False, description="Go on where an interrupted prediction stopped.")
    batch_size: int | None = Field(None, ge=1, description=BATCH_SIZE)
    features: Path | None = Field(None, description=FEATURES)
    workers: int | None = Field(None, ge=0, description=WORKERS)
    device: Device = Field("auto", description="Where to compute.")

    @model_validator(mode="after")
    def _has_a_list_with_weights(self) -> Self:
        if self.list_weights is not None and self.species_list is None:
            raise ValueError("list_weights is a column of the species list: give --species-list.")
        if self.list_weights is not None and not self.renormalise:
            raise ValueError("list_weights makes probabilities sum to 1: leave out no-renormalise.")
        if self.source_prior is not None and self.list_weights is None:
            raise ValueError("source_prior is what weights replace: give --list-weights.")
        return self

    @model_validator(mode="after")
    def _has_a_file_for_node_probs(self) -> Self:
        tables = [path for path in (self.node_probs, self.scores) if path is not None]
        if not tables and self.node_probs_from != _NODE_PROBS_FROM:
            raise ValueError(
                "node_probs_from is about the tables of node_probs and scores: give --node-probs "
                "or --scores."
            )
        files = [path.resolve() for path in (self.out, *tables)]
        if len(set(files)) < len(files):
            raise ValueError(
                "out, node_probs and scores are different files, got "
                f"{', '.join(map(str, (self.out, *tables)))}."
            )
        return self

    @model_validator(mode="after")
    def _has_a_risk_to_be_confident_of(self) -> Self:
        if self.risk is None and self.confidence != _CONFIDENCE:
            raise ValueError("confidence is about a risk: give --risk.")
        return self


class DecideConfig(Section):
    """Name photos again from stored scores, by any policy, without the classifier."""

    scores: Path = Field(description="Scores that `predict --scores` wrote (.parquet).")
    policy: Path = Field(
        Path("decision.yaml"),
        description="A fitted policy, from the folder that `calibrate --policy` wrote.",
    )
    out: Path = Field(Path("decisions.csv"), description="Where rows go: .csv, .jsonl or .parquet.")
    top_k: PositiveInt = Field(1, description="Candidates to write at every rank.")


class EmbedConfig(Section):
    """Write the embedding of every photo, or add it to a feature store that `train` reads."""

    source: str = Field(
        description="What embeds: a classifier folder, or else the name of a backbone, as "
        "`taxonet list backbones` prints it, of timm, or clip:NAME."
    )
    images: tuple[str, ...] = Field(description="Photos, as for `predict`.")
    out: Path = Field(
        Path("embeddings.parquet"),
        description="A .parquet file: a table of image, embedding (a list) and error. Any other "
        "name is the folder of a feature store, to which photos that it lacks are added: "
        "`train --features` reads it. A store holds the features of the backbone, a table the "
        "embeddings of the classifier, after its neck if it has one.",
    )
    weights: str | None = Field(
        None,
        description="Weights of a backbone, as `model.weights` of a recipe takes them (pretrained "
        "if left out).",
    )
    image_size: int | None = Field(
        None,
        ge=1,
        description="Side of a backbone's input in pixels (as for its weights if left out).",
    )
    fit: Literal["crop", "pad"] | None = Field(
        None,
        description="What of a photo a backbone sees: crop, its middle (if left out), or pad, all "
        "of it.",
    )
    batch_size: int | None = Field(None, ge=1, description=BATCH_SIZE)
    workers: int | None = Field(None, ge=0, description=WORKERS)
    device: Device = Field("auto", description="Where to compute.")
