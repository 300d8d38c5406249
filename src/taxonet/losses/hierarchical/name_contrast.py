"""Image-text contrast on the scores of nodes: HMCF, read and trained as other losses are."""

from collections.abc import Sequence

import torch
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.losses.checks import check_number
from taxonet.losses.hierarchical.levelwise import LevelwiseCrossEntropyLoss
from taxonet.losses.image_text import Duplicates, check_duplicates, contrast_of_logits
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to


@HIERARCHICAL_LOSSES.register("image_text")
class NameContrastLoss(LevelwiseCrossEntropyLoss):
    """The sum over levels of the contrast between images and the names of their taxa (HMCF).

    The score of a node is the scaled cosine between the image, as its level sees it, and the name
    of the node (the head ``level_cosine``); at prediction it is read by a softmax inside each
    level. In training only the scores of the batch's own taxa count: row i of level l holds the
    scores of image i for the taxa of all images, and `ImageTextContrastiveLoss` says what becomes
    of them. With a text tower in training the trainer computes the same from what the tower reads,
    so that the gradient reaches it; without one the vectors of the nodes learn.

    Levels are those of `LevelwiseCrossEntropyLoss`; the leaf level alone is MCF.

    Shape:
        Node scores ``(B, n)``, column 0 ignored; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.
        levels: Depths, 1 to that of the deepest leaf, which is also -1; None is all of them.
        level_weights: The factor of each level, above 0; None is 1 each.
        duplicates: What a pair of two images of one taxon is: ``positives``, ``negatives`` or
            ``masked``.

    Raises:
        ConfigError: A level that the tree has not, or weights or a treatment of another form.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, section 3.3.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[0, 0, 0, 3.0, 1.0], [0, 0, 0, 1.0, 3.0]]).log().clamp_min(0)
        >>> loss = NameContrastLoss(tree, levels=(2,))
        >>> loss(scores, torch.tensor([3, 4]))  # 2 log(4 / 3)
        tensor(0.5754)
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        *,
        levels: tuple[int, ...] | None = None,
        level_weights: Sequence[float] | None = None,
        duplicates: Duplicates = "positives",
    ) -> None:
        super().__init__(taxonomy, levels=levels)
        self.duplicates: Duplicates = check_duplicates(duplicates)
        self.level_weights = None if level_weights is None else tuple(level_weights)
        self.weights = _weights(self.level_weights, levels=len(self.depths))

    def labels(self, target_nodes: Tensor) -> Tensor:
        """Return the node of each image at each chosen level ``(B, L)``, -1 where it has none.

        A leaf above a level stays in it; a label at an inner node has none further down.
        """
        paths, _ = paths_to(self.taxonomy, target_nodes)
        nodes = paths.index_select(1, self.depths.clamp(max=paths.shape[1] - 1))
        return torch.where(self._counts(target_nodes), nodes, -1)

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return what each image adds to the mean ``(B,)``: at each level, its share of the sum."""
        labels = self.labels(target_nodes)
        return self.contrast(scores, labels, labels)

    def contrast(self, scores: Tensor, labels: Tensor, columns: Tensor) -> Tensor:
        """Return the same from the scores of the batch's own taxa alone.

        Args:
            scores: ``(B, m)``.
            labels: What `labels` gave ``(B, L)``.
            columns: The column of scores that each label has ``(B, L)``; any where it is -1.
        """
        # Zeros through which a gradient, 0 too, goes back where no image has a label.
        found = scores[:, :0].sum(1)
        for weight, level, places in zip(self.weights, labels.T, columns.T, strict=True):
            labelled = torch.nonzero(level >= 0)[:, 0]
            if not len(labelled):
                continue
            logits = scores[labelled.unsqueeze(1), places[labelled]]  # a row for each image
            terms = contrast_of_logits(logits, level[labelled], self.duplicates)
            found = found.index_add(0, labelled, terms * (weight * len(scores) / len(labelled)))
        return found


def _weights(level_weights: Sequence[float] | None, *, levels: int) -> tuple[float, ...]:
    if level_weights is None:
        return (1.0,) * levels
    weights = tuple(check_number("level_weights", weight, at_least=0) for weight in level_weights)
    if len(weights) != levels or not all(weights):
        raise ConfigError(
            f"level_weights must be one number above 0 for each of the {levels} levels, but are "
            f"{list(level_weights)}. Leave a level out by `levels`."
        )
    return weights
