"""What a classifier must know besides its weights: how to prepare a photo, and when to speak."""

from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from taxonet.data.crops import Crops
from taxonet.data.resizing import Fit, Interpolation, ResizeSpec
from taxonet.errors import ConfigError, did_you_mean

# The scores are on the list once their room has been imported.
from taxonet.inference import novelty as _novelty  # noqa: F401
from taxonet.inference.learned_diffusion import MapForm
from taxonet.models import WeightsOrigin
from taxonet.recipes import PartChoice, Recipe
from taxonet.registry import FITTED_NOVELTY_SCORES, NOVELTY_SCORES

FORMAT: Final = 2
"""The format of the classifier folder that this code writes and reads."""


def check_score_name(name: str) -> None:
    """Raise a ConfigError unless a novelty score, of outputs or fitted, has that name."""
    known = [*NOVELTY_SCORES.names(), *FITTED_NOVELTY_SCORES.names()]
    if name not in known:
        raise ConfigError(
            f"No novelty score is called {name!r}.{did_you_mean(name, known)} "
            f"Known: {', '.join(known)}."
        )


class Stored(BaseModel):
    """A frozen record that is written into the classifier's folder as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Preprocessing(Stored):
    """From a photo to the network's input."""

    image_size: tuple[PositiveInt, PositiveInt]
    """Height and width of the input in pixels."""
    fit: Fit
    interpolation: Interpolation
    crop_share: float = Field(gt=0, le=1)
    """Share of a photo's shorter side that is seen where its middle is taken."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    test_crops: Crops = 1
    """Looks at a photo, whose scores and embeddings are averaged."""

    @property
    def resize(self) -> ResizeSpec:
        """How a photo becomes one look of the network."""
        return ResizeSpec(
            size=self.image_size,
            fit=self.fit,
            interpolation=self.interpolation,
            crop_share=self.crop_share,
        )


class CalibrationSource(Stored):
    """Which photos something was calibrated with."""

    images: str
    """The manifest or folder that they came from."""
    split: str | None
    """Their split; None where the photos had none."""
    sha256: str
    """Hash of the names and true taxa of the readable ones."""
    unknown_images: int = Field(0, ge=0)
    """How many of these are of unknown taxa."""


class Calibration(Stored):
    """What calibration images set; None where there were none, and then nothing is refused."""

    images: int = Field(0, ge=0)
    """Calibration images behind these figures."""
    source: CalibrationSource | None = None
    """Where they came from."""
    temperature: PositiveFloat = 1.0
    """Probabilities are softmax(scale * scores / temperature)."""
    novelty_score: str = "max_logit"
    """A registered score, of outputs or fitted; a fitted one lies beside, in its own file."""
    novelty_threshold: float | None = None
    """A photo is of an unknown taxon where its novelty score is above this."""
    known_accepted: float = Field(0.95, ge=0, le=1)
    """Share of the known calibration images that the novelty threshold accepts."""
    threshold_prob: float = Field(0.5, ge=0.5, le=1)
    """The deepest node whose summed probability reaches this is named."""
    named_right: float = Field(0.95, ge=0, le=1)
    """Share of right names that the threshold was chosen for."""

    @field_validator("novelty_score")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        check_score_name(name)
        return name


class LearnedMap(Stored):
    """Which kind of map the file of a learned rollup holds; see `LearnedDiffusion`."""

    form: MapForm
    rank: PositiveInt


class Settings(Stored):
    """The file ``classifier.json``: how the other files of the folder are to be read."""

    format: Literal[2] = FORMAT
    taxonet: str
    """Version of the code that wrote the folder."""
    digests: dict[str, str]
    """SHA-256 of the files that must not change."""
    ranks: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...] = Field(min_length=1)
    """Path of each class in the taxonomy, in the order of the network's scores."""
    class_counts: tuple[NonNegativeInt, ...]
    """Training photos of each class; none where names alone told what a taxon looks like."""
    preprocessing: Preprocessing
    recipe: Recipe
    architecture: dict[str, Any] | None = None
    """What the CLIP model is made of whose image tower is the backbone, if it is one."""
    head: PartChoice | None = None
    """The head that a second stage made; None: the recipe's."""
    learned: LearnedMap | None = None
    """The map of the learned rollup; None where none was fitted."""
    novelty: PartChoice | None = None
    """The fitted novelty score and its options; None where none was fitted."""
    weights_origin: WeightsOrigin | None = None
    """Where the weights came from that the backbone started at; None: not recorded."""

    @model_validator(mode="after")
    def _counts_every_class(self) -> Self:
        if len(self.class_counts) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes, but {len(self.class_counts)} counts")
        return self
