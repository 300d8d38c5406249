"""The verb that sets a chat model beside a classifier."""

from pathlib import Path
from typing import Literal, Self

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from taxonet.recipes.verbs.base import BATCH_SIZE, Device, TaxonomySource


class ChatConfig(TaxonomySource):
    """Ask a multimodal chat model to name photos, and judge it; photos leave this machine."""

    # Numbers go into the request and into metrics.json, and JSON has no infinite ones.
    model_config = ConfigDict(allow_inf_nan=False)

    images: Path = Field(description="Labelled photos; with splits, those of `split` are asked.")
    endpoint: str = Field(
        "",
        description="Address of the chat model, such as http://127.0.0.1:8000/v1; required. The "
        "protocol's own path comes after it.",
    )
    model: str = Field("", description="Name of the model, as the endpoint knows it; required.")
    protocol: Literal["openai", "gemini"] = Field(
        "openai", description="Wire format: OpenAI's chat completions, or Gemini's."
    )
    key_variable: str = Field(
        "TAXONET_API_KEY",
        description="Environment variable that holds the key; unset, no key is sent.",
    )
    prompt: Literal["zero-shot", "chain-of-thought"] = Field(
        "zero-shot", description="How to ask: at once, or step by step from genus to species."
    )
    candidates: bool = Field(
        False, description="List the species of the taxonomy in every question."
    )
    synonyms: Path | None = Field(
        None, description="Other names of taxa: a table with the columns name, accepted."
    )
    split: str = Field("test", description="Split to ask about, where the photos have splits.")
    classifier: Path | None = Field(
        None,
        description="Classifier folder to judge beside it: it names the same photos, those of its "
        "own taxa, and its counts of training photos make the shot groups.",
    )
    train_images: Path | None = Field(
        None,
        description="Training photos to count for the shot groups, where there is no classifier.",
    )
    few_below: PositiveInt = Field(
        50, description="Taxa with fewer training photos are `few` (TaxoNet's Table 5: 50)."
    )
    many_above: PositiveInt = Field(
        500, description="Taxa with more training photos are `many` (TaxoNet's Table 5: 500)."
    )
    out: Path = Field(Path("chat"), description="Folder for the rows, metrics.json and the cache.")
    rows: Literal["csv", "jsonl", "parquet"] = Field(
        "csv", description="Form of the rows, a file `answers` in OUT."
    )
    cache: Path | None = Field(
        None, description="Folder of the answers, for several runs (`cache` in OUT if left out)."
    )
    retry_failed: bool = Field(
        False, description="Ask again about photos that got no reply in an earlier call."
    )
    max_side: int = Field(
        1024, ge=16, description="Longest side of the photos as they are sent, in pixels."
    )
    temperature: float | None = Field(
        None, ge=0, description="Sampling temperature (the endpoint's own if left out)."
    )
    set: tuple[str, ...] = Field(
        (), description="Another key of the request, such as max_completion_tokens=2000."
    )
    workers: int = Field(1, ge=1, le=64, description="Questions under way at a time.")
    requests_per_minute: float | None = Field(
        None, gt=0, description="Most requests a minute, repeated ones included."
    )
    timeout_seconds: PositiveFloat = Field(
        120.0,
        description="Longest silence of the endpoint; a reply that is still being sent this long "
        "after the question is given up, too.",
    )
    price_per_million_input: float | None = Field(
        None, ge=0, description="Price of a million input tokens, in any currency."
    )
    price_per_million_output: float | None = Field(
        None, ge=0, description="Price of a million output tokens, in the same currency."
    )
    max_cost: float | None = Field(
        None,
        gt=0,
        description="Stop once the answers have cost this much; needs both prices.",
    )
    seed: int = Field(0, ge=0, description="Key of the waits between attempts.")
    batch_size: int | None = Field(None, ge=1, description=BATCH_SIZE)
    device: Device = Field("auto", description="Where the classifier computes.")

    @model_validator(mode="after")
    def _has_whom_to_ask(self) -> Self:
        options = {"--endpoint": self.endpoint, "--model": self.model}
        if missing := [option for option, given in options.items() if not given]:
            raise ValueError(f"there is no model to ask: give {' and '.join(missing)}.")
        return self

    @model_validator(mode="after")
    def _has_taxa_to_name(self) -> Self:
        if self.taxonomy is None and self.classifier is None:
            raise ValueError("replies are looked up in a taxonomy: give --taxonomy.")
        return self

    @model_validator(mode="after")
    def _counts_training_photos_once(self) -> Self:
        if self.classifier is not None and self.train_images is not None:
            raise ValueError("the classifier has counts of its own: leave --train-images out.")
        if self.few_below > self.many_above + 1:
            raise ValueError("few_below must not be over many_above + 1: groups would overlap.")
        return self

    @model_validator(mode="after")
    def _can_tell_the_cost(self) -> Self:
        prices = (self.price_per_million_input, self.price_per_million_output)
        if prices.count(None) == 1:
            raise ValueError("a cost needs both prices, of input and of output.")
        if self.max_cost is not None and None in prices:
            raise ValueError(
                "max_cost needs prices: give --price-per-million-input and "
                "--price-per-million-output."
            )
        return self
