"""What a classifier's network says of all photos of a table."""

from dataclasses import dataclass

import torch

from taxonet.classifier import TaxonClassifier
from taxonet.data.table import ImageTable
from taxonet.training.photos import named_photos


@dataclass(frozen=True)
class Scored:
    """Embeddings ``(G, d)`` and logits ``(G, s)`` of the readable photos, and their rows."""

    embedding: torch.Tensor
    logits: torch.Tensor
    readable: list[int]

    @classmethod
    def of(cls, classifier: TaxonClassifier, table: ImageTable) -> "Scored":
        """Look at every photo once."""
        batches, readable, start = [], list[int](), 0
        for batch in classifier.score(named_photos(table)):
            batches.append(batch)
            places = range(len(batch.names))
            readable += [start + place for place in places if place not in batch.broken]
            start += len(batch.names)
        return cls(
            torch.cat([batch.embedding for batch in batches]),
            torch.cat([batch.logits for batch in batches]),
            readable,
        )
