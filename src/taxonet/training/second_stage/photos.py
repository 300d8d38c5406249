"""The embeddings of training photos under a trained backbone, through any transform."""

import torch
from torch import Tensor

from taxonet.data.loading import BatchSource
from taxonet.data.sampling import in_order
from taxonet.models import Network
from taxonet.progress import Progress

_BATCH = 256


class PhotoEmbeddings:
    """An embedding source that looks at the photos, in every epoch anew where they are augmented.

    Epoch 0 sees each photo as prediction does; later epochs see it through ``view``. Without a
    view the embeddings of epoch 0 serve all, and the photos are read once.

    Args:
        network: A trained network; it is used as it is in evaluation.
        source: The training photos, with the views ``plain`` and ``view``.
        targets: Class index of each photo, ``(N,)``.
        view: The view of the later epochs, or None.
        workers: Reading processes.
        shown: Show progress.
    """

    def __init__(
        self,
        network: Network,
        source: BatchSource,
        targets: Tensor,
        *,
        view: str | None = None,
        workers: int = 0,
        shown: bool = False,
    ) -> None:
        self.network = network
        self.source, self.targets, self.view = source, targets, view
        self.workers, self.shown = workers, shown
        self._plain: tuple[Tensor, Tensor] | None = None

    def epoch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the embeddings ``(N, d)`` of the readable photos, and their classes."""
        if number > 0 and self.view is not None:
            return self._embed(self.view, number)
        if self._plain is None:
            self._plain = self._embed("plain", 0)
        return self._plain

    # Not inference mode: what that makes cannot take part in the gradients of a stage.
    @torch.no_grad()
    def _embed(self, view: str, number: int) -> tuple[Tensor, Tensor]:
        device = next(self.network.parameters()).device
        self.network.eval()
        found, rows = [], []
        # Epochs of the first stage count from 0; a key of their own keeps the draws apart.
        plan = (
            [draw._replace(view=view, epoch=-number) for draw in batch]
            for batch in in_order(len(self.source), _BATCH)
        )
        with Progress("embedding", len(self.source), shown=self.shown) as progress:
            for batch in self.source.batches(plan, workers=self.workers):
                if len(batch.rows):
                    found.append(self.network.embed(batch.images.to(device)).float().cpu())
                    rows.append(batch.rows)
                progress.advance(len(batch.rows) + len(batch.broken))
        return torch.cat(found), self.targets[torch.cat(rows)].cpu()
