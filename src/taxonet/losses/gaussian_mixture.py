"""Each class a mixture of Gaussians, one around each contrast sample: the GML loss."""

import math

import torch
from torch import Tensor

from taxonet.errors import DataError
from taxonet.losses.checks import ClassCounts, at_least_float32
from taxonet.losses.classification import cross_entropy_loss
from taxonet.losses.contrastive import (
    ContrastiveLoss,
    all_views,
    check_temperature,
    check_unit_length,
    in_one_precision,
    inner_products,
)
from taxonet.losses.logit_adjustment import log_priors
from taxonet.registry import CONTRASTIVE_LOSSES


def mixture_log_likelihoods(
    queries: Tensor, contrast: Tensor, contrast_target: Tensor, *, classes: int, temperature: float
) -> Tensor:
    """Return ``log mean_{j in class k} e^{q . u_j / T}`` for each query and class, ``(Q, c)``.

    Up to a constant that all classes share, it is the log-likelihood of a unit vector q under
    Gaussians of variance T around the class's contrast samples u_j, all weighing the same.

    Args:
        queries: ``(Q, D)``, of unit length.
        contrast: ``(M, D)``, of unit length.
        contrast_target: int64 ``(M,)`` in 0..c-1; every class has at least one sample.
        classes: The number of classes c.
        temperature: The temperature T > 0.

    Examples:
        >>> right, up = [1.0, 0.0], [0.0, 1.0]
        >>> mixture_log_likelihoods(  # log((e + 1) / 2), log 1
        ...     torch.tensor([right]),
        ...     torch.tensor([right, up, up]),
        ...     torch.tensor([0, 0, 1]),
        ...     classes=2,
        ...     temperature=1.0,
        ... )
        tensor([[0.6201, 0.0000]])
    """
    logits = inner_products(queries, contrast) / temperature
    # Each class has its own largest term: under the row's, all terms of a far class would vanish.
    largest = logits.new_full((len(queries), classes), -math.inf).scatter_reduce(
        1, contrast_target.expand_as(logits), logits.detach(), "amax"
    )
    terms = (logits - largest[:, contrast_target]).exp()
    sums = torch.zeros_like(largest).index_add(1, contrast_target, terms)
    samples = torch.bincount(contrast_target, minlength=classes)
    return largest + sums.log() - samples.to(logits).log()


@CONTRASTIVE_LOSSES.register("gaussian_mixture")
class GaussianMixtureLoss(ContrastiveLoss):
    """Which class's mixture did the embedding come from, given how common classes are (GML).

    ``L = mean_i -log softmax_k( log pi_k + log mean_{j in U_k} e^{q_i . u_j / T} )_y``, where the
    queries q are views of the images and ``U_k`` are the contrast samples of class k.

    Contrast samples are what a teacher, or a slowly moving copy of the network, made of images of
    this batch and of earlier ones, with their classes. Every query is compared with all of them,
    the one of its own image included, and a class counts by its mean, so that the length of the
    memory does not act as a second prior; the prior ``pi_k = N_k / N`` does.

    - With ``contrast``, both views of each image are queries.
    - Without, the first view is the query, and the second views of the batch are the contrast
      samples, without gradient, as a teacher's would be.
    - A class without contrast samples is one Gaussian around its centre.

    Differs from the authors' code: theirs has a memory with at least one place for each class, so
    that no centre is needed; the cosine classifier that it trains beside this term is a loss of
    its own here; its temperature is learned, by a second such term on detached embeddings without
    the image's own contrast sample, and fixed here; their distillation of the teacher's logits is
    not part of this loss.

    Shape:
        As `ContrastiveLoss`; ``contrast`` ``(M, D)``, M >= 1, and ``contrast_target`` int64
        ``(M,)``; all vectors of unit length.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        temperature: The temperature T > 0, the variance of the Gaussians.

    Raises:
        ConfigError: A temperature that is not finite and positive.
        DataError: Counts, centres, views, contrast samples or targets of a wrong form.

    Reference:
        Suh and Seo 2023, Long-Tailed Recognition by Mutual Information Maximization between Latent
        Features and Ground-Truth Labels.

    Examples:
        >>> right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> views = torch.stack([torch.stack([right, right])])
        >>> loss = GaussianMixtureLoss([3, 1], temperature=1.0)
        >>> loss(torch.stack([right, up]), views, torch.tensor([0]))  # log((3e + 1) / 3e)
        tensor(0.1157)
    """

    log_priors: Tensor

    def __init__(self, class_counts: ClassCounts, temperature: float = 0.1) -> None:
        super().__init__(class_counts)
        self.temperature = check_temperature(temperature)
        self.register_buffer("log_priors", log_priors(class_counts).float())

    def forward(
        self,
        class_centers: Tensor,
        views: Tensor,
        target: Tensor,
        *,
        contrast: Tensor | None = None,
        contrast_target: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch, a scalar."""
        class_centers, views = self.checked(class_centers, views, target)
        if contrast is None and contrast_target is None:
            queries, labels = views[:, 0], target
            contrast, contrast_target = views[:, 1].detach(), target
        elif contrast is None or contrast_target is None:
            raise DataError(
                "Contrast samples come with their classes: give contrast and contrast_target, or "
                "neither."
            )
        else:
            self._check_contrast(contrast, contrast_target, views.shape[2])
            queries, labels = all_views(views, target)
        contrast, queries = in_one_precision(contrast, queries)
        class_centers, queries = in_one_precision(class_centers, queries)
        missing = torch.bincount(contrast_target, minlength=self.classes) == 0
        log_likelihoods = mixture_log_likelihoods(
            queries,
            torch.cat([contrast, class_centers[missing]]),
            torch.cat([contrast_target, missing.nonzero().squeeze(1)]),
            classes=self.classes,
            temperature=self.temperature,
        )
        return cross_entropy_loss(log_likelihoods + at_least_float32(self.log_priors), labels)

    def _check_contrast(self, contrast: Tensor, contrast_target: Tensor, length: int) -> None:
        """Raise a DataError unless the contrast samples are as the class says."""
        shape = tuple(contrast.shape)
        if len(shape) != 2 or shape[1] != length or not contrast.is_floating_point():
            raise DataError(
                f"contrast must be floating-point embeddings of shape (M, {length}), as long as "
                f"the views, but got {contrast.dtype} of shape {shape}."
            )
        if contrast_target.dtype is not torch.int64 or contrast_target.shape != shape[:1]:
            raise DataError(
                f"contrast_target must be int64 of shape ({shape[0]},), one class index for each "
                f"contrast sample, but got {contrast_target.dtype} of shape "
                f"{tuple(contrast_target.shape)}."
            )
        if bool(((contrast_target < 0) | (contrast_target >= self.classes)).any()):
            raise DataError(
                f"contrast_target must lie in 0..{self.classes - 1}, but has values from "
                f"{contrast_target.min()} to {contrast_target.max()}."
            )
        check_unit_length("contrast", contrast)
