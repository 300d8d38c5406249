"""Embeddings drawn to where the centre of their class may at worst be: DRO-LT."""

import math
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.losses.checks import ClassCounts, at_least_float32, check_class_counts, check_number
from taxonet.losses.contrastive import ContrastiveLoss, all_views, check_temperature, masked_mean
from taxonet.registry import CONTRASTIVE_LOSSES

Radius = Literal["sqrt", "shared", "learned"]


def dro_loss(
    class_centers: Tensor, views: Tensor, target: Tensor, *, radii: Tensor, temperature: float
) -> Tensor:
    """Return the robust loss of a batch, the mean over its classes; see `DROLoss`.

    Args:
        class_centers: ``(c, D)``, of any length.
        views: ``(B, 2, D)``, of any length.
        target: int64 ``(B,)`` in 0..c-1.
        radii: The radius epsilon_k >= 0 of each class ``(c,)``, in units of distance.
        temperature: The temperature T > 0 of the distances.
    """
    embeddings, labels = all_views(views, target)
    present = torch.bincount(labels).nonzero().squeeze(1)
    # Differences, not the quicker products: near a centre these would lose every digit.
    distances = torch.cdist(
        class_centers[present], embeddings, compute_mode="donot_use_mm_for_euclid_dist"
    )
    own = present[:, None] == labels  # (classes of the batch, 2 B)
    worst = distances + 2 * radii[present, None] * own
    log_probs = (-worst / temperature).log_softmax(1)
    return -masked_mean(log_probs, own).mean()


@CONTRASTIVE_LOSSES.register("dro")
class DROLoss(ContrastiveLoss):
    """Each class's centre picks out its own embeddings, wherever in a ball it truly is (DRO-LT).

    ``L = mean_k mean_{v in S_k} -log[ e^{-(d(m_k, v) + 2 epsilon_k) / T} /
    sum_u e^{-(d(m_k, u) + 2 epsilon_k [u in S_k]) / T} ]``, where k runs over the classes of the
    batch, ``S_k`` holds the views of class k, u runs over all 2 B views, ``m_k`` is the class
    centre and d the Euclidean distance.

    The centre of few images is uncertain. If the true one lies within epsilon_k of ``m_k``, an own
    embedding may be farther by epsilon_k and another one nearer by as much: by the triangle
    inequality, L bounds the loss for every such centre. ``radius`` says how wide the balls are:

    - ``"sqrt"``: ``epsilon_k = epsilon / sqrt(N_k)``, the error of a mean;
    - ``"shared"``: epsilon for all classes;
    - ``"learned"``: one parameter a class, started at epsilon and positive by its form. L never
      falls as a radius grows, so that training only shrinks them; give ``loss.parameters()`` to
      the optimizer.

    The centres are meant to be the means of all training embeddings of each class, without
    gradient, made anew each epoch. The robust loss trains the embedding; a classifier is trained
    beside or after it.

    Differs from the authors' code: it learns a radius that takes the place of 2 epsilon, starts at
    1 and may become negative; its optional class weights are not part of this loss; both views of
    an image count.

    Shape:
        As `ContrastiveLoss`; class centres and views of any length.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        temperature: The temperature T > 0 of the distances.
        epsilon: In units of distance, at least 0, above 0 if radii are learned; 0 trusts the
            centres.
        radius: ``"sqrt"``, ``"shared"`` or ``"learned"``.

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, centres, views or targets of a wrong form.

    Reference:
        Samuel and Chechik 2021, Distributional Robustness Loss for Long-Tail Learning.

    Examples:
        >>> views = torch.tensor([[[0.0], [0.0]], [[3.0], [3.0]]])
        >>> loss = DROLoss([4, 1], temperature=1.0, epsilon=2.0)  # radii of 1 and 2
        >>> value = loss(torch.tensor([[0.0], [3.0]]), views, torch.tensor([0, 1]))
        >>> value  # (log(2 (e^-2 + e^-3) / e^-2) + log(2 (e^-4 + e^-3) / e^-4)) / 2
        tensor(1.5064)
    """

    needs_unit_length: ClassVar[bool] = False
    log_radii: Tensor

    def __init__(
        self,
        class_counts: ClassCounts,
        temperature: float = 0.07,
        *,
        epsilon: float = 1.0,
        radius: Radius = "sqrt",
    ) -> None:
        super().__init__(class_counts)
        self.temperature = check_temperature(temperature)
        self.epsilon = check_number("epsilon", epsilon, at_least=0)
        self.radius = radius
        if radius not in get_args(Radius):
            raise ConfigError(f"radius must be 'sqrt', 'shared' or 'learned', but is {radius!r}.")
        if radius == "learned" and self.epsilon == 0:
            raise ConfigError("epsilon must be above 0 where radii are learned: they start there.")
        counts = check_class_counts(class_counts).float()
        start = math.log(self.epsilon) if self.epsilon > 0 else -math.inf
        log_radii = start - counts.log() / 2 if radius == "sqrt" else torch.full_like(counts, start)
        if radius == "learned":
            self.log_radii = nn.Parameter(log_radii)
        else:
            self.register_buffer("log_radii", log_radii)

    def radii(self) -> Tensor:
        """Return the radius of each class ``(c,)``, in units of distance."""
        return at_least_float32(self.log_radii).exp()

    def forward(self, class_centers: Tensor, views: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        class_centers, views = self.checked(class_centers, views, target)
        return dro_loss(
            class_centers, views, target, radii=self.radii(), temperature=self.temperature
        )
