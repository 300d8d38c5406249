"""What a classifier must know besides its weights: how to prepare a photo, and when to speak."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class Stored(BaseModel):
    """A frozen record that is written into the classifier's folder as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(Stored):
    """From a photo to the network's input."""

    image_size: PositiveInt
    fit: Literal["crop", "pad"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Calibration(Stored):
    """What calibration images set; None where there were none, and then nothing is refused."""

    images: int = Field(0, ge=0)
    """Calibration images behind these figures."""
    temperature: PositiveFloat = 1.0
    """Probabilities are softmax(scale * scores / temperature)."""
    novelty_score: str = "max_logit"
    novelty_threshold: float | None = None
    """A photo is of an unknown taxon where its novelty score is above this."""
    known_accepted: float = 0.95
    """Share of the known calibration images that the novelty threshold accepts."""
    threshold_prob: float = 0.5
    """The deepest node whose summed probability reaches this is named."""
    named_right: float = 0.95
    """Share of right names that the threshold was chosen for."""
