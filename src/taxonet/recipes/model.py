"""The section of a recipe about the network: backbone, weights, head, input."""

from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator

from taxonet.recipes.sections import PartChoice, Section

_SIDE = 64
"""Input of a network whose weights are random."""


class ModelRecipe(Section):
    """The network: backbone, its weights, head and input."""

    backbone: str = Field(
        "resnet10t",
        description="A timm model name, one of taxonet's own as `taxonet list backbones` prints "
        "them, or `clip:` and a CLIP model of open_clip.",
    )
    weights: str = Field(
        "none",
        description="Where the backbone starts: `none` (random), `pretrained` (its published "
        "weights), a file, `hf-hub:OWNER/NAME`, `local-dir:FOLDER`, or a classifier's folder.",
    )
    options: dict[str, Any] = Field(
        {},
        description="Options of a timm backbone, such as drop_path_rate, img_size or "
        "dynamic_img_size.",
    )
    head: Literal["linear", "cosine", "prototype", "level_cosine"] = Field(
        "linear",
        description="What scores the classes; `level_cosine` scores the nodes of the tree level by "
        "level.",
    )
    neck: Literal["none", "linear"] = Field(
        "none",
        description="What stands between the backbone's features and the head; `linear` is a map "
        "of as many dimensions that starts at the identity and trains with the head.",
    )
    frozen: bool = Field(False, description="Leave the backbone as it is and train the head alone.")
    freeze_batch_norm: bool = Field(
        False,
        description="Keep the statistics of the backbone's batch norm layers in training; their "
        "factors and biases still train.",
    )
    adapter: PartChoice | None = Field(
        None,
        description="The few weights that train in a backbone that is frozen otherwise, and their "
        "options.",
    )
    experts: PositiveInt = Field(
        1, description="Experts that share the first stages of the backbone and vote together."
    )
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="Input of the network in pixels: the side of a square, or height and width; "
        "none: as for the weights of the backbone, or 64 where they are random.",
    )
    fit: Literal["crop", "pad"] = Field(
        "crop",
        description="What of a photo is seen: its middle, or all of it, with its border repeated "
        "up to the proportions of the input.",
    )
    interpolation: Literal["bilinear", "bicubic"] | None = Field(
        None, description="How photos are resized; none: as for the weights of the backbone."
    )
    crop_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of a photo's shorter side that is seen in prediction (fit: crop); "
        "none: as for the weights of the backbone.",
    )
    test_crops: Literal[1, 5] = Field(
        1,
        description="Looks at a photo in prediction, whose scores are averaged: one, or four "
        "corners and the middle.",
    )

    @field_validator("image_size", mode="before")
    @classmethod
    def _is_a_side_or_a_rectangle(cls, value: Any) -> Any:
        # Before the types are looked at, of which each would complain on its own.
        if value is None:
            return value
        sides = value if isinstance(value, list | tuple) and len(value) == 2 else (value,)
        if not all(type(side) is int and side > 0 for side in sides):
            raise ValueError(
                f"a side, or height and width, in whole pixels of at least 1, got {value!r}: write "
                "224 or [614, 512]."
            )
        return value

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        size = _SIDE if self.image_size is None else self.image_size
        return (size, size) if isinstance(size, int) else size
