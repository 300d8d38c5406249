"""A virtual logit for what training images never show, against the logits of the classes."""

from typing import Self

import torch
from torch import Tensor

from taxonet.errors import ConfigError, DataError
from taxonet.inference.novelty.fitted import EmbeddingBatches, FittedNovelty
from taxonet.inference.novelty.moments import EmbeddingMoments
from taxonet.registry import FITTED_NOVELTY_SCORES


@FITTED_NOVELTY_SCORES.register("vim")
class ViM(FittedNovelty):
    r"""Virtual-logit matching: the scaled norm outside the principal space, less the energy.

    .. math:: \alpha \lVert R (x - o) \rVert - \log \sum_k e^{l_k}, \quad
        \alpha = \frac{\sum_i \max_k l_{ik}}{\sum_i \lVert R (x_i - o) \rVert}

    R projects onto what the D principal directions of the training embeddings about the origin o
    leave over; alpha makes the virtual logit as large on average as the largest real one. Logits
    are scale times scores, here and in `fit`.

    The embeddings are read twice: the mean norm cannot be had from sums of squares.

    Args:
        dim: The number d of features of an embedding.
        classes: The number c of classes.
        principal: D, 0 to d - 1. None takes what the authors' code takes, 1000 from 2048 features
            on and 512 below; half of the features where there are fewer than 768. Where the
            embeddings span no more than that (fewer images than D), it takes half of their span.

    Raises:
        ConfigError: ``principal`` out of range.

    Reference:
        Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, arXiv 2203.10807, eq. 4
        to 8.

    Examples:
        >>> embeddings = torch.tensor([[3.0, 0.5], [-3.0, 0.5], [3.0, -0.5], [-3.0, -0.5]])
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 2.0]])
        >>> score = ViM(2, 2, principal=1).fit([(embeddings, logits, torch.tensor([0, 1, 0, 1]))])
        >>> score.alpha.item()  # 2 on average, over 0.5 on average
        4.0
        >>> score(torch.tensor([[9.0, 1.0]]), torch.tensor([[1.0, 1.0]]), 1.0)  # 4 - (1 + log 2)
        tensor([2.3069])
    """

    origin: Tensor
    residual: Tensor
    alpha: Tensor

    def __init__(self, dim: int, classes: int, *, principal: int | None = None) -> None:
        super().__init__(dim, classes)
        if principal is not None and not 0 <= principal < dim:
            raise ConfigError(
                f"principal must be None or from 0 to {dim - 1}, one less than the features, but "
                f"is {principal}."
            )
        self.principal = principal
        self.register_buffer("origin", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("residual", torch.zeros(dim, dim, dtype=torch.float64))
        self.register_buffer("alpha", torch.zeros((), dtype=torch.float64))

    @property
    def is_fitted(self) -> bool:
        """Whether the virtual logit has a scale."""
        return bool(self.alpha > 0)

    @torch.no_grad()
    def set_origin(self, weight: Tensor, bias: Tensor) -> Self:
        """Set the origin of a head with a bias, before `fit`; without a bias it is 0.

        ``o = -W^+ b`` is where the logits ``W x + b`` are as near to 0 as they get.

        Args:
            weight: Floats ``(c, d)``.
            bias: Floats ``(c,)``.

        Raises:
            DataError: Shapes that do not fit.

        Examples:
            >>> score = ViM(2, 2).set_origin(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.ones(2))
            >>> score.origin.tolist()
            [-0.5, -0.25]
        """
        expected = (self.classes, self.dim)
        if weight.shape != expected or bias.shape != expected[:1]:
            raise DataError(
                f"Expected a weight {expected} and a bias {expected[:1]}, got "
                f"{tuple(weight.shape)} and {tuple(bias.shape)}."
            )
        inverse = torch.linalg.pinv(weight.detach().cpu().double())
        self.origin.copy_(-inverse @ bias.detach().cpu().double())
        self.alpha.zero_()  # what was fitted belonged to another origin
        return self

    @torch.no_grad()
    def fit(self, batches: EmbeddingBatches) -> Self:
        """Find the principal space, then the scale; see `FittedNovelty.fit`.

        Raises:
            DataError: Batches that cannot be read twice, no embedding outside the principal
                space, or logits whose largest are not positive on average.
        """
        device = self.origin.device
        moments = EmbeddingMoments.of(batches, classes=self.classes, dim=self.dim, device=device)
        self.alpha.zero_()  # until there is a scale for the new space
        self.residual.copy_(self._residual(moments))
        self.alpha.copy_(self._scale(batches, images=moments.total))
        return self

    def _residual(self, moments: EmbeddingMoments) -> Tensor:
        """Return the projection ``(d, d)`` onto all but the principal directions."""
        values, vectors = torch.linalg.eigh(moments.scatter_about(self.origin))  # ascending
        rounding = torch.finfo(values.dtype).eps * self.dim * values[-1]
        span = int((values > rounding).sum())
        principal = _usual_principal(self.dim) if self.principal is None else self.principal
        if principal >= span:
            if self.principal is not None or span == 0:
                raise DataError(
                    f"The embeddings of {moments.total} images span {span} directions, and the "
                    f"{principal} principal ones leave nothing of them. Take a smaller principal "
                    "(None chooses it), or more images."
                )
            principal = span // 2
        left = vectors[:, : self.dim - principal]
        found: Tensor = left @ left.T
        return found

    def _scale(self, batches: EmbeddingBatches, *, images: int) -> Tensor:
        """Return alpha: the sum of the largest logits over the sum of the residual norms."""
        largest, norms, seen = self.alpha.new_zeros(()), self.alpha.new_zeros(()), 0
        for embeddings, logits, _ in batches:
            _check_logits(logits, images=len(embeddings), classes=self.classes)
            largest += logits.to(largest.device).double().amax(dim=1).sum()
            norms += self._norms(embeddings.to(norms.device).double()).sum()
            seen += len(embeddings)
        if seen != images:
            raise DataError(
                f"The first reading of the batches gave {images} images and the second {seen}: "
                "give a list or a data loader, which can be read twice, and no generator."
            )
        if not float(largest) > 0:
            raise DataError(
                "ViM scales its virtual logit to the largest logits, which must be positive on "
                f"average, but are {float(largest) / images:.4g}. Use another score for this head."
            )
        return largest / norms

    def _norms(self, embedding: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm((embedding - self.origin) @ self.residual, dim=1)
        return norms

    def _novelty(self, embedding: Tensor, logits: Tensor) -> Tensor:
        return self.alpha * self._norms(embedding) - logits.logsumexp(dim=1)


def _usual_principal(dim: int) -> int:
    if dim < 768:
        return dim // 2
    return 1000 if dim >= 2048 else 512


def _check_logits(logits: Tensor, *, images: int, classes: int) -> None:
    if logits.shape != (images, classes):
        raise DataError(f"Expected logits ({images}, {classes}), got {tuple(logits.shape)}.")
    if not bool(logits.amax(dim=1).isfinite().all()):
        raise DataError("Expected the largest logit of every image to be finite.")
