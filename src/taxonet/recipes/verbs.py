"""One config a verb, shared by Python and the command line.

The command line makes its arguments, defaults and help from these fields: a field without a
default is an argument, the others are options.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from taxonet.recipes.schema import Section

Device = Literal["auto", "cpu", "cuda", "mps"]

_NODE_PROBS_FROM = 0.01
_CONFIDENCE = 0.95


class TaxonomySource(Section):
    """Where the names and the tree come from."""

    taxonomy: Path | None = Field(
        None,
        description="Taxonomy (CSV, TSV, Parquet): a table with a column per rank, and a `label` "
        "column if labels are not names; or edges with the header parent,child. Without one, "
        "labels are taxa without a tree.",
    )
    label_column: str | None = Field(
        None, description="Column of the taxonomy that holds the labels (`label` if left out)."
    )
    ranks: tuple[str, ...] = Field(
        (), description="Rank columns to use, coarse to fine (all known ones if left out)."
    )

    @model_validator(mode="after")
    def _has_a_table_to_read(self) -> Self:
        if self.taxonomy is None and (self.label_column is not None or self.ranks):
            raise ValueError("label_column and ranks are columns of a taxonomy: give --taxonomy.")
        return self


class TrainConfig(TaxonomySource):
    """Train a classifier from labelled photos."""

    images: Path = Field(
        description="Photos: a folder per label, a CSV/Parquet manifest, or Parquet with bytes; "
        "or the name of a recipe that names its data, such as dbm/cifar100-lt/dbm-bs."
    )
    out: Path = Field(Path("runs/train"), description="Folder of the run; it must be new.")
    recipe: str | None = Field(
        None, description="Preset name or YAML file (`taxonet` if left out)."
    )
    set: tuple[str, ...] = Field((), description="Override of a recipe key: path.to.key=value.")
    data_folder: Path | None = Field(
        None,
        description="Folder of the benchmark set that the recipe names (`benchmarks/NAME` if left "
        "out, where `data fetch` puts it).",
    )
    val_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the training photos set aside for validation, where the photos come "
        "with splits but without that one; 0 takes none, and the last epoch is kept.",
    )
    calibration_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the training photos set aside for calibration, where the photos "
        "come with splits but without that one; 0 takes none.",
    )
    resume: bool = Field(False, description="Go on where an interrupted run in `out` stopped.")
    workers: int = Field(0, ge=0, description="Processes that read photos beside the main one.")
    device: Device = Field("auto", description="Where to compute.")
    tensorboard: bool = Field(False, description="Also log for TensorBoard.")
    checkpoint_minutes: float = Field(5.0, gt=0, description="Minutes between checkpoints.")
    broken_share: float = Field(
        0.05, ge=0, le=1, description="Share of unreadable photos above which training stops."
    )


class RefitConfig(Section):
    """Give a classifier a new head, fitted to the embeddings that training stored; in seconds."""

    classifier: Path = Field(description="Classifier folder.")
    stage: str = Field("prototype", description="Second stage, as `taxonet list` prints it.")
    set: tuple[str, ...] = Field((), description="Option of the stage: key=value.")
    images: Path | None = Field(
        None,
        description="split.csv of the run, whose calibration photos set the thresholds anew; "
        "without it there are none.",
    )
    out: Path = Field(Path("runs/refit"), description="Folder of the new classifier.")
    workers: int = Field(0, ge=0, description="Processes that read photos beside the main one.")
    device: Device = Field("auto", description="Where to compute.")


class FitDiffusionConfig(Section):
    """Learn a rollup from the embeddings that training stored: differentiable diffusion."""

    classifier: Path = Field(description="Classifier folder.")
    out: Path = Field(Path("runs/diffusion"), description="Folder of the new classifier.")
    form: Literal["ancestors", "lowrank", "dense"] = Field(
        "ancestors",
        description="Which numbers the map from taxa to leaves has: those of each leaf and its "
        "ancestors, these and a product of two thin matrices, or all.",
    )
    rank: PositiveInt = Field(32, description="Columns of the thin matrices of `lowrank`.")
    epochs: PositiveInt = Field(20, description="Passes over the embeddings.")
    learning_rate: float | None = Field(
        None, gt=0, description="Of Adam; 0.01 for `ancestors` and 0.001 else if left out."
    )
    seed: int = Field(0, ge=0, description="Key of the order.")
    device: Device = Field("auto", description="Where to compute.")

    @model_validator(mode="after")
    def _has_a_rank_to_use(self) -> Self:
        if "rank" in self.model_fields_set and self.form != "lowrank":
            raise ValueError(f"rank is an option of form lowrank, and the form is {self.form}.")
        return self


class CalibrateConfig(Section):
    """Set thresholds and a decision policy from labelled photos; write a new classifier."""

    classifier: Path = Field(description="Classifier folder.")
    images: Path = Field(
        description="Labelled photos that were put aside for this; with splits, those of `split` "
        "are used."
    )
    split: str = Field("calibration", description="Split to use, where the photos have splits.")
    unknown: Path | None = Field(
        None,
        description="Photos of taxa that the classifier lacks; a policy then keeps its promise for "
        "known and unknown taxa as they are mixed here.",
    )
    out: Path = Field(Path("runs/calibrated"), description="Folder of the new classifier.")
    policy: str | None = Field(
        None,
        description="How names are chosen, as `taxonet list policies` prints it; one threshold "
        "for `named-right` if left out.",
    )
    set: tuple[str, ...] = Field((), description="Option of the policy: key=value.")
    group_by: str | None = Field(
        None,
        description="Keep the promise in every group of the most probable class: shot_group, or a "
        "rank such as family.",
    )
    novelty_score: str = Field(
        "max_logit", description="What decides `unknown`, as `taxonet list` prints it."
    )
    known_accepted: float = Field(
        0.95, gt=0, le=1, description="Share of known photos that are not called unknown."
    )
    named_right: float = Field(
        0.95, gt=0, le=1, description="Share of right names that the one threshold is chosen for."
    )
    batch_size: PositiveInt = Field(64, description="Photos per forward pass.")
    workers: int = Field(0, ge=0, description="Processes that read photos beside the main one.")
    device: Device = Field("auto", description="Where to compute.")

    @model_validator(mode="after")
    def _has_a_policy_for_its_options(self) -> Self:
        if self.policy is None and (self.set or self.group_by is not None):
            raise ValueError("set and group_by are about a policy: give --policy.")
        return self


class DecideConfig(Section):
    """Name photos anew from stored scores, by any policy, without the classifier."""

    scores: Path = Field(description="Scores that `predict --scores` wrote (.parquet).")
    policy: Path = Field(
        Path("decision.yaml"),
        description="A fitted policy, from the folder that `calibrate --policy` wrote.",
    )
    out: Path = Field(Path("decisions.csv"), description="Where rows go: .csv, .jsonl or .parquet.")
    top_k: PositiveInt = Field(1, description="Candidates to write at every rank.")


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
    batch_size: PositiveInt = Field(64, description="Photos per forward pass.")
    workers: int = Field(0, ge=0, description="Processes that read photos beside the main one.")
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
    batch_size: PositiveInt = Field(64, description="Photos per forward pass.")
    workers: int = Field(0, ge=0, description="Processes that read photos beside the main one.")
    device: Device = Field("auto", description="Where to compute.")


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
        description="Where all that `decide` needs to name the photos anew goes (.parquet).",
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
    batch_size: PositiveInt = Field(64, description="Photos per forward pass.")
    workers: int = Field(0, ge=0, description="Processes that read photos beside the main one.")
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


class EmbedConfig(Section):
    """Write the embedding of every photo."""

    classifier: Path = Field(description="Classifier folder.")
    images: tuple[str, ...] = Field(description="Photos, as for `predict`.")
    out: Path = Field(
        Path("embeddings.parquet"), description="Parquet: image, embedding (a list), error."
    )
    batch_size: PositiveInt = Field(64, description="Photos per forward pass.")
    workers: int = Field(0, ge=0, description="Processes that read photos beside the main one.")
    device: Device = Field("auto", description="Where to compute.")


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


class DemoConfig(Section):
    """See it all happen: draw a flora, train two classifiers, judge them, name photos."""

    out: Path = Field(Path("runs/demo"), description="Folder of the demonstration.")
    seed: int = Field(0, ge=0, description="Key of the flora and of training.")
    epochs: PositiveInt = Field(6, description="Passes over the training photos.")
