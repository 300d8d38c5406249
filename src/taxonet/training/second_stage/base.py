"""What every second stage is given, and what it gives back: a new head on frozen embeddings."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError
from taxonet.losses import ClassCounts
from taxonet.losses.checks import check_class_counts
from taxonet.models import Head, LinearHead
from taxonet.training.second_stage.embeddings import EmbeddingSource, check_embeddings

#: Called before the first batch and after each: the batches done, those of the whole stage, and the
#: module that is fitted, which must stay as it is.
OnStep = Callable[[int, int, nn.Module], None]

HeadKind = TypeVar("HeadKind", bound=Head)


@dataclass(frozen=True)
class StageInput:
    """What a stage is fitted to, checked.

    Attributes:
        source: The embeddings of the training images.
        head: The head of stage 1, which stays as it is.
        class_counts: Training images of each class, int64 ``(c,)``.
        seed: The key of all draws.
        on_step: See `OnStep`; or None.
    """

    source: EmbeddingSource
    head: Head
    class_counts: Tensor
    seed: int
    on_step: OnStep | None = None

    @property
    def device(self) -> torch.device:
        """Where the head of stage 1 is, and the new one shall be."""
        return next(self.head.parameters()).device

    def epoch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the embeddings and targets of an epoch, checked against the head of stage 1."""
        embeddings, targets = self.source.epoch(number)
        check_embeddings(embeddings, targets, self.head.classes)
        if embeddings.shape[1] != self.head.embedding_size:
            raise DataError(
                f"The head of stage 1 takes embeddings of {self.head.embedding_size} features, "
                f"but the source gives {embeddings.shape[1]}. Take both from one network."
            )
        return embeddings, targets

    def report(self, done: int, total: int, module: nn.Module) -> None:
        """Tell who asked for it how far the fitting is."""
        if self.on_step is not None:
            self.on_step(done, total, module)

    def linear_head(self) -> LinearHead:
        """Return the head of stage 1, for stages that only work on a linear one."""
        assert isinstance(self.head, LinearHead)  # `SecondStage.check_head` has seen to it
        return self.head


class SecondStage(ABC):
    """The base of the second stages: a recipe for a new head, fitted by `fit`.

    The backbone is frozen, so all a stage sees are embeddings. The same embeddings, head, counts
    and seed give the same head, whatever was drawn before; nothing given is changed.

    Attributes:
        needs_linear_head: Whether it works on the weights of a linear head of stage 1.
    """

    needs_linear_head: ClassVar[bool] = False

    def check_head(self, head: Head) -> None:
        """Raise a ConfigError unless the stage can work on that head of stage 1."""
        if self.needs_linear_head and not isinstance(head, LinearHead):
            raise ConfigError(
                f"The second stage {type(self).__name__} works on the weights of a linear head, "
                f"but stage 1 has a {type(head).__name__}. Train stage 1 with model.head=linear, "
                "or choose one of the second stages crt, ncm, prototype."
            )

    def fit(
        self,
        source: EmbeddingSource,
        *,
        head: Head,
        class_counts: ClassCounts,
        seed: int,
        on_step: OnStep | None = None,
    ) -> Head:
        """Return the new head, on the device of the old one and in float32.

        Args:
            source: The embeddings of the training images.
            head: The head of stage 1.
            class_counts: Training images of each class, integers ``(c,)``, each at least 1.
            seed: The key of all draws.
            on_step: See `OnStep`; stages that fit nothing never call it.

        Raises:
            ConfigError: A head of stage 1 that the stage cannot work on.
            DataError: Counts or embeddings of a wrong form, a class without an embedding.
            TrainingStopped: The loss is not a finite number.
        """
        self.check_head(head)
        counts = check_class_counts(class_counts)
        if len(counts) != head.classes:
            raise DataError(
                f"class_counts name {len(counts)} classes, but the head of stage 1 has "
                f"{head.classes}. Take both from the same classes."
            )
        return self.new_head(StageInput(source, head, counts, seed, on_step))

    @abstractmethod
    def new_head(self, given: StageInput) -> Head:
        """Return the new head, from input that was checked."""


def blank(make: Callable[[], HeadKind], given: StageInput) -> HeadKind:
    """Make a head, on the device of the old one, whose first weights are to be overwritten.

    What it draws for them is taken from a copy of the global random state.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        return make().to(given.device)


@torch.no_grad()
def linear_head(weight: Tensor, bias: Tensor, given: StageInput) -> LinearHead:
    """Return a linear head of these weights ``(c, d)`` and biases ``(c,)``."""
    classes, size = weight.shape
    head = blank(lambda: LinearHead(size, classes), given)
    head.weight.copy_(weight)
    head.bias.copy_(bias)
    return head
