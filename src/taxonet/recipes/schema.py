"""The recipe: everything that decides how a classifier is trained; it may name its data, too.

A recipe is the same object in Python, in YAML and on the command line (``--set``); unknown keys
are refused, and all complaints about keys come at once; the options of parts are checked when the
parts are built.
"""

from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from taxonet.recipes.mode_defaults import with_mode_defaults
from taxonet.recipes.model import ModelRecipe
from taxonet.recipes.sections import PartChoice, Section


class FeaturesRecipe(Section):
    """Photos are embedded once by the frozen backbone; neck and head learn from what is stored."""

    views: PositiveInt = Field(
        1,
        description="Views of a training photo that are embedded: 1 is the photo as prediction "
        "sees it; more are augmented ones, of which each epoch draws one per photo.",
    )


class SelectionRecipe(Section):
    """Tail images added to a batch, and the rule that keeps a batch's worth of all of them.

    Reference: TaxoNet, section 3.3.
    """

    keep: Literal["lowest_norm", "random"] = Field(
        "lowest_norm", description="Which candidates enter the loss."
    )
    extra: PositiveInt = Field(8, description="Tail images added to an extended batch (b).")
    probability: float = Field(
        0.1, ge=0, le=1, description="Share of the batches that are extended (p)."
    )
    tail_shots: PositiveInt = Field(
        100, description="A class with fewer training images than this is a tail class."
    )


class MixingRecipe(Section):
    """Two images made into one, with the loss of both labels by their shares.

    Reference: Zhang et al. 2018 (mixup), Yun et al. 2019 (CutMix), Park et al. 2022 (CMO).
    """

    name: Literal["mixup", "cutmix", "cmo"] = Field(
        description="`mixup` blends, `cutmix` pastes a box; `cmo` pastes boxes of images that "
        "are drawn the more often, the rarer their class."
    )
    alpha: float = Field(1.0, gt=0, description="The share is drawn from Beta(alpha, alpha).")
    probability: float = Field(0.5, ge=0, le=1, description="Share of the batches that are mixed.")


class TransferRecipe(Section):
    """SMART: tail images borrow the spread of a head class's features.

    Every step has a batch that the recipe's sampler draws and one that `tail_sampler` draws.
    """

    covariance: Literal["full", "lowrank"] = Field("lowrank", description="What a class keeps.")
    rank: PositiveInt = Field(32, description="Columns of a low-rank factor.")
    layer: str | None = Field(
        None, description="Module whose feature map is changed; none: the backbone's last one."
    )
    tail_shots: PositiveInt = Field(
        100, description="A class with fewer training images than this is a tail class."
    )
    tau: float = Field(32.0, gt=0, description="Factor inside the softmax; larger is sharper.")
    normalise: Literal["correlation", "none"] = Field(
        "correlation", description="`none` is the paper's formula as printed; see docs/smart.md."
    )
    weight_min: float = Field(0.1, ge=0, description="Smallest weight of a tail image.")
    weight_max: float = Field(10.0, gt=0, description="Largest weight of a tail image.")
    momentum: Literal["dynamic"] | float = Field(
        "dynamic", description="Share of a batch in the statistics: by counts, or a fixed number."
    )
    similar: PositiveInt | None = Field(
        None, description="Draw among this many most similar head classes; none: among all."
    )
    similarity: str = Field(
        "taxonomy",
        description="What makes classes similar: `taxonomy`, `prototypes`, or a matrix in a file.",
    )
    budget_gb: float = Field(8.0, gt=0, description="Memory that the statistics may take.")
    train_on: Literal["both", "tail"] = Field(
        "both", description="Whether the loss is of both batches, or of the tail batch alone."
    )
    tail_sampler: PartChoice = Field(
        PartChoice(name="reversed"), description="What draws the tail batch."
    )

    @model_validator(mode="after")
    def _uses_what_it_is_given(self) -> Self:
        if self.similarity != "taxonomy" and self.similar is None:
            raise ValueError("similarity chooses among similar classes: set similar to how many.")
        return self


class ContrastRecipe(Section):
    """A contrastive loss on two further views of each image, beside the loss of the recipe.

    Features and class weights go through a perceptron of their own to the sphere where they meet;
    a loss that compares features with one another alone leaves the class weights out.
    """

    loss: PartChoice = Field(description="A contrastive loss and its options.")
    weight: float = Field(0.6, ge=0, description="Factor on the contrastive loss.")
    classification_weight: float = Field(2.0, ge=0, description="Factor on the recipe's loss.")
    hidden_size: PositiveInt = Field(512, description="Hidden units of a perceptron.")
    size: PositiveInt = Field(128, description="Dimensions of the sphere's space.")
    augment: PartChoice = Field(
        PartChoice(name="sim_augment"), description="Transform of the two further views."
    )


class SecondStageRecipe(Section):
    """A new head on the embeddings of the trained backbone, which stays as it is."""

    stage: PartChoice = Field(description="A second stage and its options.")
    augment: PartChoice | None = Field(
        None,
        description="Transform of the images it learns from; none: embedded once, as they are.",
    )


class WordsRecipe(Section):
    """The names of the taxa as a text tower reads them; it is that of the CLIP backbone.

    With the loss `image_text` the tower learns beside the image tower, unless it is frozen. With
    any other loss the head starts at the embeddings of the names.
    """

    templates: tuple[str, ...] = Field(
        ("a photo of a {name}",),
        min_length=1,
        description="Sentences with {name} in them; training draws one for each step.",
    )
    names: Literal["scientific", "path", "common"] = Field(
        "scientific",
        description="What stands for {name}: the taxon's own name, all names from the top of the "
        "tree down to it, or its common name.",
    )
    common_names: str | None = Field(
        None, description="CSV file with the columns name and common_name, for `common`."
    )
    frozen: bool = Field(False, description="Leave the text tower as it is.")
    chunk: PositiveInt | None = Field(
        None,
        description="Images, and names, in a tower at a time, for large batches in little memory; "
        "none: all at once.",
    )

    @model_validator(mode="after")
    def _has_the_names_it_wants(self) -> Self:
        check_words(self.templates, self.names, self.common_names)
        return self


def check_words(templates: tuple[str, ...], names: str, common_names: object) -> None:
    """Raise a ValueError unless templates have a place for a name, and common names a file."""
    wrong = [template for template in templates if "{name}" not in template]
    if wrong:
        raise ValueError(f"every template needs {{name}} in it, and {wrong[0]!r} has none.")
    if (names == "common") != (common_names is not None):
        raise ValueError("names: common and a file of common_names go together.")


class OptimiserRecipe(Section):
    """How the weights move."""

    name: Literal["sgd", "adamw"] = Field(
        "sgd",
        description="Update rule; `adamw` if left out where all layers train from given weights.",
    )
    learning_rate: float = Field(
        0.1,
        gt=0,
        description="Peak learning rate. If left out where all layers train from given weights: "
        "1e-4 for `adamw`, 1e-3 with a frozen backbone or an adapter, and 0.01 for `sgd`.",
    )
    weight_decay: float = Field(
        5e-4,
        ge=0,
        description="L2 pull on the network's weights; `adamw` leaves out biases and "
        "normalisations. 0.05 if left out where all layers train from given weights and `adamw` "
        "trains it.",
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Factor on the learning rate from each layer of the backbone to the one below "
        "it, counted down from the head, which keeps the whole rate.",
    )
    head_factor: float = Field(1.0, gt=0, description="Factor on the learning rate of the head.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD (AdamW ignores it).")
    nesterov: bool = Field(False, description="Nesterov's form of momentum (SGD).")
    clip_norm: float | None = Field(None, gt=0, description="Largest gradient norm; none: no clip.")

    @model_validator(mode="after")
    def _has_momentum_to_look_ahead_with(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov looks ahead along the momentum: set momentum above 0.")
        return self


class ProbeRecipe(Section):
    """Training of the head alone on features of the backbone, before all layers train."""

    epochs: PositiveInt = Field(40, description="Passes over the features.")
    batch_size: int = Field(64, ge=2, description="Features in a batch.")
    optimiser: OptimiserRecipe = Field(
        OptimiserRecipe(name="adamw", learning_rate=1e-3, weight_decay=1e-4),
        description="How the head moves.",
    )

    @model_validator(mode="before")
    @classmethod
    def _changes_its_own_optimiser(cls, values: Any) -> Any:
        given = values.get("optimiser") if isinstance(values, dict) else None
        if not isinstance(given, dict) or given.get("name", "adamw") != "adamw":
            return values
        own = {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4}
        return values | {"optimiser": own | given}


class ReweightingRecipe(Section):
    """Deferred re-weighting: class weights by the effective number of images, late in training."""

    from_epoch: PositiveInt | None = Field(
        None, description="First epoch with weights, from 1; none: after four fifths of all."
    )
    beta: float = Field(0.9999, ge=0, lt=1, description="Of the effective number of images.")


class ScheduleRecipe(Section):
    """Learning rate over time: a linear warm-up, then half a cosine, or steps down."""

    name: Literal["cosine", "steps"] = Field("cosine", description="Shape after the warm-up.")
    milestones: tuple[float, ...] = Field(
        (), description="Epochs after which the rate is multiplied by `factor` (`steps`)."
    )
    factor: float = Field(0.1, gt=0, le=1, description="What a step multiplies the rate by.")
    warmup_epochs: float = Field(
        1.0,
        ge=0,
        description="Epochs of linear warm-up. If left out where the backbone starts at given "
        "weights: a tenth of all epochs, 2 at most.",
    )
    floor: float = Field(0.0, ge=0, le=1, description="Where the cosine ends, as a share.")

    @model_validator(mode="after")
    def _has_its_milestones(self) -> Self:
        if self.name == "steps" and not self.milestones:
            raise ValueError("steps needs milestones, the epochs after which the rate falls.")
        if self.name == "cosine" and self.milestones:
            raise ValueError("a cosine has no milestones: set name to steps, or leave them out.")
        if list(self.milestones) != sorted(self.milestones) or min(self.milestones, default=1) <= 0:
            raise ValueError(f"milestones must rise from above 0, got {list(self.milestones)}.")
        return self


class Recipe(Section):
    """How a classifier is trained.

    Examples:
        >>> Recipe(loss=PartChoice(name="cross_entropy"), epochs=2).batch_size
        64
    """

    data: PartChoice | None = Field(
        None, description="A benchmark set and its options; none: photos are given beside."
    )
    model: ModelRecipe = ModelRecipe()
    features: FeaturesRecipe | None = Field(
        None, description="Learn from embeddings that a frozen backbone made once; none: photos."
    )
    loss: PartChoice = Field(description="The training loss and its options.")
    sampler: PartChoice = Field(
        PartChoice(name="instance_balanced"), description="How often each class is drawn."
    )
    selection: SelectionRecipe | None = Field(None, description="Tail extension of batches.")
    mixing: MixingRecipe | None = Field(None, description="Images made of two.")
    transfer: TransferRecipe | None = Field(None, description="Covariance transfer (SMART).")
    contrast: ContrastRecipe | None = Field(None, description="A contrastive loss besides.")
    words: WordsRecipe | None = Field(
        None, description="Names of taxa as text, for a CLIP backbone."
    )
    reweighting: ReweightingRecipe | None = Field(None, description="Class weights late on.")
    probe: ProbeRecipe | None = Field(
        None, description="Train the head alone first, on features of the backbone as it starts."
    )
    second_stage: SecondStageRecipe | None = Field(
        None, description="A new head once the backbone is trained."
    )
    augment: PartChoice = Field(
        PartChoice(name="crop_flip"), description="Transform of training images, and its options."
    )
    optimiser: OptimiserRecipe = OptimiserRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of a moving average of the weights, which is validated and kept in "
        "place of the weights themselves; none: no average.",
    )
    epochs: PositiveInt = Field(
        30,
        description="Passes over the training images. If left out: 40 over stored features, and 20 "
        "where all layers train from given weights.",
    )
    batch_size: int = Field(64, ge=2, description="Images in a batch, on each device.")
    accumulate: PositiveInt = Field(1, description="Batches whose gradients make one update.")
    precision: Literal["auto", "no", "bf16", "fp16"] = Field(
        "auto",
        description="Mixed precision; `auto` is `bf16` on a GPU that can, and `no` elsewhere.",
    )
    seed: int = Field(0, ge=0, description="Key of all randomness.")
    keep_epoch: Literal["best", "last"] = Field(
        "best", description="`best` by macro recall on the validation split, or the `last` epoch."
    )

    @model_validator(mode="before")
    @classmethod
    def _follows_its_mode(cls, values: Any) -> Any:
        return with_mode_defaults(values)

    @model_validator(mode="after")
    def _one_thing_on_top_of_a_batch(self) -> Self:
        given = [
            key
            for key in ("selection", "mixing", "transfer", "contrast")
            if getattr(self, key) is not None
        ]
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} each decide what a batch holds besides its images: keep "
                f"one of them and set the others to null."
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_use_features(self) -> Self:
        if self.features is not None and self.probe is not None:
            raise ValueError(
                "`features` trains the head alone, and `probe` trains it before all layers: set "
                "one of them to null."
            )
        return self

    @model_validator(mode="after")
    def _reweighting_has_its_time(self) -> Self:
        first = None if self.reweighting is None else self.reweighting.from_epoch
        if first is not None and first > self.epochs:
            raise ValueError(
                f"reweighting.from_epoch is {first}, and there are only {self.epochs} epochs: it "
                "would never act. Choose an earlier epoch."
            )
        return self

    @field_validator("precision", mode="before")
    @classmethod
    def _yaml_reads_no_as_false(cls, value: Any) -> Any:
        return "no" if value is False else value
