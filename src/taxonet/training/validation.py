"""Judges the network at the end of an epoch, to choose the epoch and for nothing else."""

import torch
from torch import Tensor, nn

from taxonet.data.loading import ImageDataset, make_loader
from taxonet.data.sampling import in_order
from taxonet.data.transforms import normalise
from taxonet.metrics import HitCounts, macro_recall


class Validation:
    """Macro recall on the validation split.

    Args:
        dataset: The validation images under the plain transform.
        targets: Class index of each image, ``(N,)``.
        classes: Number of classes.
        batch_size: Images per forward pass.
        mean: Colour mean of the backbone's preprocessing.
        std: Colour spread likewise.
        workers: Reading processes.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        targets: Tensor,
        *,
        classes: int,
        batch_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        workers: int = 0,
    ) -> None:
        self.dataset, self.targets, self.classes = dataset, targets, classes
        self.batch_size, self.workers = batch_size, workers
        self.mean, self.std = mean, std

    @torch.inference_mode()
    def macro_recall(self, network: nn.Module) -> float | None:
        """Return the mean recall of the classes that have readable validation images, 0 to 1."""
        network.eval()
        device = next(network.parameters()).device
        counts = HitCounts(self.classes)
        plan = in_order(len(self.dataset), self.batch_size)
        for batch in make_loader(self.dataset, plan, workers=self.workers):
            if len(batch.rows) == 0:
                continue
            output = network(normalise(batch.images.to(device), self.mean, self.std))
            truth = self.targets[batch.rows]
            counts.update(truth.numpy(), (output.scores.argmax(dim=1).cpu() == truth).numpy())
        return macro_recall(counts)
