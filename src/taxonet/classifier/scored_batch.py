"""What the network says of a batch of photos, readable or not."""

from typing import NamedTuple

from torch import Tensor

_NOT_FINITE = "the network gives no finite numbers for it; its training may have failed"


class ScoredBatch(NamedTuple):
    """What the network says of a batch; readable images only, in order."""

    names: list[str]
    """All images of the batch, unreadable ones too, in the order they were given."""
    broken: dict[int, str]
    """Position in ``names`` of each unreadable image, with the reason."""
    embedding: Tensor
    """Embeddings before normalisation, ``(G, d)``."""
    logits: Tensor
    """Scale times scores, before temperature, ``(G, s)``; flat heads have one a class."""

    @property
    def readable(self) -> list[str]:
        """Names of the readable images, one a row of the tensors."""
        return [name for place, name in enumerate(self.names) if place not in self.broken]


def finite_only(batch: ScoredBatch) -> ScoredBatch:
    """Return a batch in which images without finite numbers count as broken."""
    finite = batch.embedding.isfinite().all(dim=1) & batch.logits.isfinite().all(dim=1)
    if bool(finite.all()):
        return batch
    good = [place for place in range(len(batch.names)) if place not in batch.broken]
    more = {good[row]: _NOT_FINITE for row in (~finite).nonzero()[:, 0].tolist()}
    return ScoredBatch(
        batch.names, batch.broken | more, batch.embedding[finite], batch.logits[finite]
    )
