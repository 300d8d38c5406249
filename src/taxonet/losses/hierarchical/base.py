"""What every loss over the nodes of a taxonomy declares and shares."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from taxonet.errors import DataError
from taxonet.losses.checks import at_least_float32, check_batch
from taxonet.losses.options import options_repr
from taxonet.taxonomy import Taxonomy


class HierarchicalLoss(nn.Module, ABC):
    """The base of the losses that compare scores with one node of the taxonomy an image.

    Called as ``loss(scores, target_nodes)``, it returns a scalar, the mean over the batch. The
    target may be any node: an image known to the genus only carries the genus. A subclass takes
    ``taxonomy`` first and its options after it, and keeps each option as an attribute of the same
    name. Time and memory are linear in the nodes for each image.

    Attributes:
        takes: ``"leaves"``, one score a leaf ``(B, c)`` in the order of ``taxonomy.leaves``, or
            ``"nodes"``, one score a node ``(B, n)`` in the order of the nodes.
        reads_root: Whether column 0 of node scores counts; other losses ignore it.
        needs_counts: Whether the training images of each node come after the taxonomy.
        score_kind: What the scores must be, and so which kind of head the loss needs.
        norm_is_meaningful: As for `Loss`.

    Shape:
        ``scores`` ``(B, c)`` or ``(B, n)``, B >= 1, in half or higher precision; ``target_nodes``
        int64 ``(B,)`` in 0..n-1; what comes back is float32 for half-precision scores.

    Args:
        taxonomy: The tree, of n nodes, c of them leaves.

    Raises:
        DataError: Scores or targets of a wrong form, when called.
    """

    takes: ClassVar[Literal["leaves", "nodes"]]
    reads_root: ClassVar[bool] = False
    needs_counts: ClassVar[bool] = False
    score_kind: Literal["logits", "cosines"] = "logits"
    norm_is_meaningful: bool = False

    def __init__(self, taxonomy: Taxonomy) -> None:
        super().__init__()
        self.taxonomy = taxonomy

    @property
    def columns(self) -> int:
        """The number of scores that the loss wants for an image: c leaves or n nodes."""
        return len(self.taxonomy.leaves) if self.takes == "leaves" else len(self.taxonomy)

    @abstractmethod
    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the loss of each image ``(B,)``; scores are checked, in float32 at least."""

    @abstractmethod
    def probabilities(self, scores: Tensor) -> Tensor:
        """Return ``(B, n)``; scores are checked, in float32 at least; column 0 does not count."""

    def per_image(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the loss of each image ``(B,)``, in nats."""
        return self.losses(self.checked(scores, target_nodes), target_nodes)

    def penalty(self) -> Tensor | None:
        """Return what the loss adds whatever the images are, if anything."""
        return None

    def forward(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar: the mean over its images, and the penalty."""
        loss, penalty = self.per_image(scores, target_nodes).mean(), self.penalty()
        return loss if penalty is None else loss + penalty

    def node_probabilities(self, scores: Tensor) -> Tensor:
        """Return the probability of each node at prediction ``(B, n)``; 1 at the root."""
        self.check_columns(scores)
        return self.probabilities(at_least_float32(scores)).index_fill(
            1, scores.new_zeros(1).long(), 1.0
        )

    def checked(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the scores in float32 at least.

        Raises:
            DataError: They, or the targets, are not of the form that the loss takes.
        """
        self.check_columns(scores)
        # As for the scores of any classes, the classes here being the nodes.
        nodes = scores.new_zeros(1).expand(len(scores), len(self.taxonomy))
        check_batch(nodes, target_nodes)
        return at_least_float32(scores)

    def check_columns(self, scores: Tensor) -> None:
        """Raise a DataError unless the scores have one column for each leaf, or node."""
        if scores.ndim != 2 or scores.shape[1] != self.columns:
            raise DataError(
                f"{type(self).__name__} was made for {self.columns} {self.takes} and expects "
                f"scores of shape (B, {self.columns}), but got {tuple(scores.shape)}. Make the "
                "loss and the head from the same taxonomy."
            )

    def extra_repr(self) -> str:
        """Return the options as they would be written in a call."""
        return options_repr(self)
