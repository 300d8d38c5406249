"""Nearest class mean: no learning at all."""

from dataclasses import dataclass

from taxonet.models import Head, PrototypeHead
from taxonet.models.prototype import Distance, check_distance
from taxonet.registry import SECOND_STAGES
from taxonet.training.second_stage.base import SecondStage, StageInput, blank
from taxonet.training.second_stage.embeddings import class_means


def head_at_means(
    given: StageInput, *, distance: Distance, channel_temperature: bool
) -> PrototypeHead:
    """Return a prototype head whose prototypes are the class means of epoch 0."""
    head = blank(
        lambda: PrototypeHead(
            given.head.embedding_size,
            given.head.classes,
            distance=distance,
            channel_temperature=channel_temperature,
        ),
        given,
    )
    head.set_prototypes(class_means(*given.epoch(0), given.head.classes))
    return head


@SECOND_STAGES.register("ncm")
@dataclass(frozen=True, kw_only=True)
class NearestClassMean(SecondStage):
    """The class whose mean embedding is nearest: ``c_k = sum_{i: y_i = k} g_i / N_k``.

    A mean has no length that grows with the number of images, so rare classes are not at a
    disadvantage; nothing is fitted, and there is no chance in it. It works after any head.

    Args:
        distance: ``euclidean``, ``squared_euclidean`` or ``cosine``. The first two name the same
            class and differ in the probabilities.

    Raises:
        ConfigError: An unknown distance.

    Reference:
        Kang et al. 2020, Decoupling Representation and Classifier for Long-Tailed Recognition,
        section 4.

    Examples:
        >>> import torch
        >>> from taxonet.models import LinearHead
        >>> from taxonet.training.second_stage import CachedEmbeddings
        >>> source = CachedEmbeddings(torch.tensor([[1.0], [3.0], [9.0]]), torch.tensor([0, 0, 1]))
        >>> head = NearestClassMean().fit(
        ...     source, head=LinearHead(1, 2), class_counts=[2, 1], seed=0
        ... )
        >>> head.weight.tolist(), head(torch.tensor([[4.0]])).tolist()
        ([[2.0], [9.0]], [[-1.0, -2.5]])
    """

    distance: Distance = "euclidean"

    def __post_init__(self) -> None:
        check_distance(self.distance)

    def new_head(self, given: StageInput) -> Head:
        """Return a prototype head at the class means."""
        return head_at_means(given, distance=self.distance, channel_temperature=False)
