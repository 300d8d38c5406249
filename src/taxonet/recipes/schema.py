"""The recipe: everything that decides how a classifier is trained, except the data.

A recipe is the same object in Python, in YAML and on the command line (``--set``); unknown keys
are refused, and all complaints about keys come at once; the options of parts are checked when the
parts are built.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator


class Section(BaseModel):
    """A frozen part of a recipe that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PartChoice(BaseModel):
    """A registered part by name; every other key is an option of that part.

    The options are checked against the part's own signature when it is built.

    Examples:
        >>> PartChoice(name="am_softmax", margin_cos=0.2).options
        {'margin_cos': 0.2}
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="Name of the part, as `taxonet list` prints it.")

    @property
    def options(self) -> dict[str, Any]:
        """The part's options as given."""
        return dict(self.model_extra or {})


class ModelRecipe(Section):
    """What looks at an image."""

    backbone: str = Field(
        "resnet10t", description="A timm model name, or taxonet's own `resnet10` or `resnet32`."
    )
    weights: Literal["none", "pretrained"] = Field(
        "none", description="`pretrained` fetches the backbone's published weights."
    )
    head: Literal["linear", "cosine"] = Field("linear", description="What scores the classes.")
    image_size: PositiveInt = Field(64, description="Side of the square input in pixels.")
    fit: Literal["crop", "pad"] = Field(
        "crop",
        description="How a photo becomes square: its middle, or all of it and its border repeated.",
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


class OptimiserRecipe(Section):
    """How the weights move."""

    name: Literal["sgd", "adamw"] = Field("sgd", description="Update rule.")
    learning_rate: float = Field(0.1, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(5e-4, ge=0, description="L2 pull on the network's weights.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD (AdamW ignores it).")
    nesterov: bool = Field(False, description="Nesterov's form of momentum (SGD).")
    clip_norm: float | None = Field(None, gt=0, description="Largest gradient norm; none: no clip.")


class ScheduleRecipe(Section):
    """Learning rate over time: a linear warm-up, then half a cosine down to `floor`."""

    warmup_epochs: float = Field(1.0, ge=0, description="Epochs of linear warm-up.")
    floor: float = Field(0.0, ge=0, le=1, description="Last learning rate, as a share of the peak.")


class Recipe(Section):
    """How a classifier is trained.

    Examples:
        >>> Recipe(loss=PartChoice(name="cross_entropy"), epochs=2).batch_size
        64
    """

    model: ModelRecipe = ModelRecipe()
    loss: PartChoice = Field(description="The training loss and its options.")
    selection: SelectionRecipe | None = Field(None, description="Tail extension of batches.")
    augment: PartChoice = Field(
        PartChoice(name="crop_flip"), description="Transform of training images, and its options."
    )
    optimiser: OptimiserRecipe = OptimiserRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    epochs: PositiveInt = Field(30, description="Passes over the training images.")
    batch_size: int = Field(64, ge=2, description="Images in a batch, on each device.")
    accumulate: PositiveInt = Field(1, description="Batches whose gradients make one update.")
    precision: Literal["no", "bf16", "fp16"] = Field("no", description="Mixed precision.")
    seed: int = Field(0, ge=0, description="Key of all randomness.")
    keep_epoch: Literal["best", "last"] = Field(
        "best", description="`best` by macro recall on the validation split, or the `last` epoch."
    )

    @field_validator("precision", mode="before")
    @classmethod
    def _yaml_reads_no_as_false(cls, value: Any) -> Any:
        return "no" if value is False else value
