"""SMART's row: its transfer has shapes that depend on the batch, so its steps are launched."""

import torch
from torch import Tensor

from benchmarks.gpu_capture import on_stream
from benchmarks.gpu_training import RowTraining


class TransferTraining(RowTraining):
    """A row of SMART: each batch has a second part that the tail's sampler drew."""

    capturable = False

    def order(self) -> Tensor:
        """Return the rows of both parts, step after step, as `BatchPlan` draws them."""
        device = self.images.device
        batches = list(self.plan.batches(self.epoch))
        drawn = [draw for batch in batches for draw in batch]
        self.parts = torch.tensor([draw.part for draw in drawn]).to(device)
        self.ends = torch.tensor([len(batch) for batch in batches]).cumsum(0).tolist()
        return torch.tensor([draw.row for draw in drawn]).to(device)

    def advance(self, step: int) -> None:
        """Do one step of the epoch, from 0."""
        with on_stream(self.stream):
            here = slice(self.ends[step - 1] if step else 0, self.ends[step])
            with self.autocast():
                output = self.objective(
                    self.pixels[here],
                    self.labels[here],
                    self.parts[here],
                    keep=self.recipe.batch_size,
                    key=(self.recipe.seed, self.epoch, step),
                )
            self.learn(output.loss)
