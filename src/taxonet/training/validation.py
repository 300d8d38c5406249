"""Judges the network at the end of an epoch, to choose the epoch and for nothing else."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from taxonet.classifier.reading import Reading
from taxonet.data.loading import BatchSource
from taxonet.data.sampling import Draw, in_order
from taxonet.metrics import HitCounts, macro_recall
from taxonet.training.processes import sum_of


class Validation:
    """Macro recall on the validation split; the processes of a run share the images.

    Args:
        source: The validation images under the plain transform.
        targets: Class index of each image, ``(N,)``.
        reading: How the scores of the head are read.
        batch_size: Images per forward pass.
        accelerator: Device and process group.
        workers: Reading processes.
    """

    def __init__(
        self,
        source: BatchSource,
        targets: Tensor,
        *,
        reading: Reading,
        batch_size: int,
        accelerator: Accelerator,
        workers: int = 0,
    ) -> None:
        self.source, self.targets, self.reading = source, targets, reading
        self.classes = len(reading.class_nodes)
        self.batch_size, self.workers = batch_size, workers
        self.accelerator = accelerator

    @torch.inference_mode()
    def macro_recall(self, network: nn.Module) -> float | None:
        """Return the mean recall of the classes that have readable validation images, 0 to 1."""
        network.eval()
        device = self.accelerator.device
        counts = HitCounts(self.classes)
        for batch in self.source.batches(self._own_batches(), workers=self.workers):
            if len(batch.rows) == 0:
                continue
            output = network(batch.images.to(device))
            truth = self.targets[batch.rows]
            guessed = self.reading.class_probs(output.scores.float().cpu()).argmax(dim=1)
            counts.update(truth.numpy(), (guessed == truth).numpy())
        return macro_recall(self._of_all(counts))

    def _own_batches(self) -> Iterator[list[Draw]]:
        """Return every batch that is this process's turn."""
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        return islice(in_order(len(self.source), self.batch_size), rank, None, processes)

    def _of_all(self, own: HitCounts) -> HitCounts:
        """Return the counts of all processes together."""
        numbers = sum_of(self.accelerator, *own.images.tolist(), *own.hits.tolist())
        counts = HitCounts(self.classes)
        counts.images, counts.hits = np.array(numbers, dtype=np.int64).reshape(2, self.classes)
        return counts
