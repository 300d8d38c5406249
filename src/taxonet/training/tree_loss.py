"""A hierarchical loss in training, where targets are class indices."""

from typing import Literal

from torch import Tensor, nn

from taxonet.classifier.reading import TreeReading
from taxonet.errors import ConfigError
from taxonet.losses import ExpertLoss, Loss
from taxonet.losses.hierarchical import NameContrastLoss
from taxonet.recipes import Recipe


class TreeLoss(nn.Module):
    """Called as the flat losses are, with class indices in the place of nodes.

    Args:
        reading: The hierarchical loss on the tree that the classes span, and where they are in it.

    Attributes:
        takes: What the head must give.
        scale: Factor on the scores at prediction.
        norm_is_meaningful: As for `taxonet.losses.Loss`.
    """

    scale = 1.0
    class_places: Tensor

    def __init__(self, reading: TreeReading) -> None:
        super().__init__()
        self.loss = reading.loss
        self.takes: Literal["logits", "cosines"] = reading.loss.score_kind
        self.norm_is_meaningful = reading.loss.norm_is_meaningful
        self.register_buffer("class_places", reading.class_places, persistent=False)

    def forward(
        self, scores: Tensor, target: Tensor, *, sample_weights: Tensor | None = None
    ) -> Tensor:
        """Return the mean over the batch, each image times its weight where there are weights.

        Args:
            scores: Of leaves or nodes, as the loss takes them.
            target: Class indices ``(B,)``.
            sample_weights: ``(B,)``, or None for 1 each.
        """
        nodes = self.class_places[target]
        if sample_weights is None:
            mean: Tensor = self.loss(scores, nodes)
            return mean
        loss = (sample_weights * self.loss.per_image(scores, nodes)).mean()
        penalty = self.loss.penalty()
        return loss if penalty is None else loss + penalty


def check_tree(recipe: Recipe, reading: TreeReading) -> None:
    """Raise a ConfigError where the classes leave a loss over the tree nothing to tell apart."""
    if len(reading.tree.leaves) < 2:
        raise ConfigError(
            f"The loss {recipe.loss.name!r} tells leaves of the tree apart, and all classes lie on "
            "one path from the root: choose a loss that `taxonet list losses` prints."
        )
    if isinstance(reading.loss, NameContrastLoss):
        _check_nothing_on_top_of_a_batch(recipe)


def _check_nothing_on_top_of_a_batch(recipe: Recipe) -> None:
    given = [
        key
        for key in ("selection", "mixing", "transfer", "contrast")
        if getattr(recipe, key) is not None
    ]
    if given:
        raise ConfigError(
            f"The loss {recipe.loss.name!r} compares the images of a batch with one another, each "
            f"of one taxon, and `{given[0]}` changes what a batch holds: set {given[0]} to null."
        )


def check_tree_recipe(recipe: Recipe) -> None:
    """Raise a ConfigError where a recipe asks for one vector a class, which its head has not."""
    if recipe.second_stage is not None:
        raise ConfigError(
            f"`second_stage` works with one vector a class, and the loss {recipe.loss.name!r} has "
            "a head for the leaves or nodes of the tree: set second_stage to null, or choose a "
            "loss that `taxonet list losses` prints."
        )


#: What a network is trained with; all are called with class indices.
TrainingLoss = Loss | ExpertLoss | TreeLoss
