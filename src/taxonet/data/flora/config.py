"""What a procedural flora is to contain."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from taxonet.data.long_tail import exponential_profile
from taxonet.errors import ConfigError, did_you_mean


class FloraConfig(BaseModel):
    """The size and shape of a procedural flora; the defaults make about 5,000 small photos.

    The training counts follow the long tail of :func:`taxonet.data.exponential_profile`; all
    other splits are balanced.

    Raises:
        ConfigError: All wrong fields at once, each with what it should be.

    Examples:
        >>> FloraConfig(species=12, genera=5, families=2).species
        12
        >>> FloraConfig(specis=12)
        Traceback (most recent call last):
        ...
        taxonet.errors.ConfigError: flora, option 'specis': no such option. Did you mean 'species'?
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    species: int = Field(60, ge=2, le=5000, description="known species, the classes")
    genera: int = Field(24, ge=1, le=2000, description="known genera")
    families: int = Field(8, ge=1, le=500, description="families")
    image_size: int = Field(64, ge=16, le=1024, description="side of a photo in pixels")
    train_images: int = Field(200, ge=1, description="training images of the commonest species")
    imbalance_factor: float = Field(
        50.0, ge=1, description="training images of the commonest species over the rarest's"
    )
    val_images: int = Field(5, ge=0, description="validation images of each species")
    calibration_images: int = Field(10, ge=0, description="calibration images of each species")
    test_images: int = Field(15, ge=0, description="test images of each species")
    region_images: int = Field(10, ge=0, description="test images of each species in region B")
    unknown_species: int = Field(
        12, ge=0, le=2000, description="species outside the classes, half of them in unknown genera"
    )
    unknown_images: int = Field(20, ge=1, description="images of each unknown species")
    seed: int = Field(0, ge=0, description="what everything is drawn from")

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise ConfigError("\n".join(self._complaints(error))) from None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = []
        if self.genera < self.families:
            problems.append(f"genera ({self.genera}) must be at least families ({self.families}).")
        if self.species < self.genera:
            problems.append(f"species ({self.species}) must be at least genera ({self.genera}).")
        if self.train_images < self.imbalance_factor:
            problems.append(
                f"train_images ({self.train_images}) must be at least imbalance_factor "
                f"({self.imbalance_factor:g}), or the rarest species has no image."
            )
        if problems:
            raise ValueError(" ".join(problems))
        return self

    @property
    def unknown_genera(self) -> int:
        """The number of genera in which no species is known: two unknown species in each."""
        return (self.unknown_species // 2 + 1) // 2

    def train_counts(self) -> list[int]:
        """Return the training images of each species, from the commonest to the rarest.

        Examples:
            >>> FloraConfig(species=3, genera=2, families=1).train_counts()
            [200, 28, 4]
        """
        profile = exponential_profile(self.train_images, self.imbalance_factor, self.species)
        counts: list[int] = profile.tolist()
        return counts

    @classmethod
    def _complaints(cls, error: ValidationError) -> list[str]:
        lines = []
        for problem in error.errors():
            if not problem["loc"]:
                lines.append(f"flora: {problem['ctx']['error']}")
                continue
            option = str(problem["loc"][0])
            if problem["type"] == "extra_forbidden":
                hint = did_you_mean(option, cls.model_fields)
                lines.append(f"flora, option {option!r}: no such option.{hint}")
            else:
                lines.append(
                    f"flora, option {option!r}: {problem['msg']} (got {problem['input']!r})."
                )
        return lines
