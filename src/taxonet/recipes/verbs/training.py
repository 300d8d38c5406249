"""The verbs that make a classifier."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from taxonet.recipes.schema import check_words
from taxonet.recipes.sections import Section
from taxonet.recipes.verbs.base import BATCH_SIZE, FEATURES, WORKERS, Device, TaxonomySource


class TrainConfig(TaxonomySource):
    """Train a classifier from labelled photos."""

    images: Path = Field(
        description="Photos: a folder per label, a CSV/Parquet manifest, or Parquet with bytes; "
        "or the name of a recipe that names its data, such as dbm/cifar100-lt/dbm-bs."
    )
    out: Path = Field(Path("runs/train"), description="Folder of the run; it must be new.")
    recipe: str | None = Field(
        None,
        description="Preset name or YAML file, or several separated by commas: later ones change "
        "earlier ones (`quick` if left out).",
    )
    backbone: str | None = Field(
        None,
        description="Backbone in place of the recipe's: a name that `taxonet list backbones` "
        "prints, which starts at its published weights, or any that model.backbone takes.",
    )
    set: tuple[str, ...] = Field((), description="Override of a recipe key: path.to.key=value.")
    from_: Path | None = Field(
        None,
        description="Classifier folder to go on from: its photos, of which its index has the "
        "features, are learned from together with IMAGES. Its recipe is used, if --recipe is left "
        "out, and its taxonomy, to which --taxonomy adds taxa.",
    )
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
    features: Path | None = Field(
        None,
        description=f"{FEATURES} For recipes with `features` or `probe` (`features` in OUT if "
        "left out).",
    )
    workers: int | None = Field(None, ge=0, description=WORKERS)
    device: Device = Field("auto", description="Where to compute.")
    tensorboard: bool = Field(False, description="Also log for TensorBoard.")
    checkpoint_minutes: float = Field(5.0, gt=0, description="Minutes between checkpoints.")
    broken_share: float = Field(
        0.05, ge=0, le=1, description="Share of unreadable photos above which training stops."
    )

    @model_validator(mode="after")
    def _goes_on_as_it_was(self) -> Self:
        ignored = {"backbone", "data_folder", "val_share", "calibration_share"}
        if self.from_ is not None and (given := sorted(ignored & self.model_fields_set)):
            raise ValueError(
                f"{', '.join(given)}: a classifier that is gone on from has its own backbone and "
                "splits. Leave these out, or train on all photos together."
            )
        return self


class ZeroShotConfig(TaxonomySource):
    """Make a classifier from the names of taxa alone, by a CLIP model such as BioCLIP."""

    model: str | None = Field(
        None,
        description="A CLIP model of open_clip with its weights: NAME.TAG such as ViT-B-16.openai, "
        "hf-hub:OWNER/NAME, or local-dir:FOLDER.",
    )
    weights: str = Field(
        "pretrained",
        description="`pretrained` takes the model's own weights; a file, `hf-hub:OWNER/NAME` or "
        "`local-dir:FOLDER` holds others for it; `none` draws random ones, to try the way.",
    )
    templates: tuple[str, ...] = Field(
        ("a photo of a {name}",), description="Sentence with {name} in it; several are averaged."
    )
    names: Literal["scientific", "path", "common"] = Field(
        "scientific",
        description="What stands for {name}: the taxon's own name, all names from the top of the "
        "tree down to it, or its common name.",
    )
    common_names: Path | None = Field(
        None, description="CSV with the columns name and common_name, for `common`."
    )
    levels: Literal["leaves", "all"] = Field(
        "leaves",
        description="Compare photos with the names of the leaves and sum upwards, or with the "
        "names of every level.",
    )
    fit: Literal["crop", "pad"] = Field(
        "crop", description="What of a photo is seen: its middle, or all of it."
    )
    text_cache: Path | None = Field(
        None,
        description="Folder that keeps the embeddings of names: the same model and names are not "
        "embedded again.",
    )
    out: Path = Field(Path("runs/zero-shot"), description="Folder of the new classifier.")

    @model_validator(mode="after")
    def _has_a_model_and_names(self) -> Self:
        if self.model is None or self.taxonomy is None:
            raise ValueError("a model reads the names of a taxonomy: give --model and --taxonomy.")
        check_words(self.templates, self.names, self.common_names)
        return self


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
    features: Path | None = Field(None, description=FEATURES)
    workers: int | None = Field(None, ge=0, description=WORKERS)
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
    one_per_group: bool = Field(
        False,
        description="Use one photo of each value of the column `group` (an observation, a site): "
        "promises count photos as independent.",
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
    batch_size: int | None = Field(None, ge=1, description=BATCH_SIZE)
    features: Path | None = Field(None, description=FEATURES)
    workers: int | None = Field(None, ge=0, description=WORKERS)
    device: Device = Field("auto", description="Where to compute.")

    @model_validator(mode="after")
    def _has_a_policy_for_its_options(self) -> Self:
        if self.policy is None and (self.set or self.group_by is not None):
            raise ValueError("set and group_by are about a policy: give --policy.")
        return self
