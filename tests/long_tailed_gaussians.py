"""A long-tailed set of embeddings without a network: Gaussian classes and a biased head."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from taxonet.models import Head, LinearHead
from taxonet.training.second_stage import CachedEmbeddings

COUNTS = (400, 160, 64, 25, 10, 4)
SIZE = 20
#: The standard deviation of a class in each direction,.
SPREAD = 3.0


@dataclass(frozen=True)
class Gaussians:
    """Training embeddings, as many test embeddings of each class, and the head of stage 1."""

    embeddings: Tensor
    targets: Tensor
    test: Tensor
    test_targets: Tensor
    head: LinearHead

    @property
    def source(self) -> CachedEmbeddings:
        return CachedEmbeddings(self.embeddings, self.targets)

    def macro_recall(self, head: Head) -> float:
        with torch.no_grad():
            hits = head(self.test).argmax(dim=1) == self.test_targets
        return float(hits.view(len(COUNTS), -1).double().mean(dim=1).mean())


@cache
def gaussians(seed: int = 0) -> Gaussians:
    """Six classes of one variance around random means; the last has 4 training embeddings."""
    rng = np.random.default_rng(seed)
    means = 0.6 * rng.standard_normal((len(COUNTS), SIZE))
    targets = np.repeat(np.arange(len(COUNTS)), COUNTS)
    test_targets = np.repeat(np.arange(len(COUNTS)), 300)
    embeddings, test = (
        SPREAD * torch.from_numpy(means[of] + rng.standard_normal((len(of), SIZE))).float()
        for of in (targets, test_targets)
    )
    labels = torch.from_numpy(targets)
    head = biased_head(embeddings, labels)
    return Gaussians(embeddings, labels, test, torch.from_numpy(test_targets), head)


def biased_head(embeddings: Tensor, targets: Tensor) -> LinearHead:
    """Fit cross entropy with weight decay to all images alike, as stage 1 does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = LinearHead(embeddings.shape[1], len(COUNTS))
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=100)

    def closure() -> Tensor:
        optimiser.zero_grad()
        decay = sum(parameter.square().sum() for parameter in head.parameters())
        loss = F.cross_entropy(head(embeddings), targets) + 0.1 * decay
        torch.autograd.backward(loss)
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call] # torch leaves LBFGS untyped
    optimiser.zero_grad()
    return head
