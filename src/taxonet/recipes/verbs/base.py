"""What several verbs ask for."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from taxonet.recipes.sections import Section

Device = Literal["auto", "cpu", "cuda", "mps"]

FEATURES = (
    "Folder of stored features: photos that it has are not embedded again, others are added. "
    "Several classifiers of one frozen backbone may share it."
)

#: What the option `batch_size` says of itself.
BATCH_SIZE = "Photos per forward pass; 8 on the CPU and 64 on a GPU if left out."

#: What the option `workers` says of itself.
WORKERS = (
    "Processes that read photos next to the main one; chosen by the machine and the number of "
    "photos if left out."
)


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
