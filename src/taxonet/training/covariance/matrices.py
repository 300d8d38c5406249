"""Two forms of a stack of covariances, whole or as a factor and a diagonal, and their products."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


class Covariances(ABC):
    """A stack of P symmetric, positive semi-definite matrices of C x C."""

    @abstractmethod
    def scaled(self, scales: Tensor) -> Self:
        """Return ``D Sigma D`` with the scales ``(P, C)`` on the diagonal of D."""

    @abstractmethod
    def times(self, other: Self) -> Tensor:
        """Return the products ``Sigma_p Sigma'_p``, ``(P, C, C)``."""

    @abstractmethod
    def row_norms(self) -> Tensor:
        """Return the Euclidean norm of each row, ``(P, C)``."""


@dataclass(frozen=True)
class FullCovariances(Covariances):
    """Covariances kept whole: ``Sigma_p = matrix_p``.

    Args:
        matrix: ``(P, C, C)``, symmetric.

    Examples:
        >>> one = FullCovariances(torch.tensor([[[2.0, 1.0], [1.0, 1.0]]]))
        >>> one.times(one).tolist()
        [[[5.0, 3.0], [3.0, 2.0]]]
    """

    matrix: Tensor

    def scaled(self, scales: Tensor) -> Self:
        """Return ``D Sigma D`` with the scales ``(P, C)`` on the diagonal of D."""
        return type(self)(scales.unsqueeze(2) * self.matrix * scales.unsqueeze(1))

    def times(self, other: Self) -> Tensor:
        """Return the products ``Sigma_p Sigma'_p``, ``(P, C, C)``."""
        return self.matrix @ other.matrix

    def row_norms(self) -> Tensor:
        """Return the Euclidean norm of each row, ``(P, C)``."""
        norms: Tensor = torch.linalg.vector_norm(self.matrix, dim=2)
        return norms


@dataclass(frozen=True)
class LowRankCovariances(Covariances):
    """Covariances of a few directions and a diagonal: ``Sigma_p = L_p L_p^T + diag(rest_p)``.

    A product costs ``O(C^2 r)`` and a norm of all rows ``O(C r^2)``, instead of ``O(C^3)`` and
    ``O(C^2)``; nothing but a product is C x C.

    Args:
        factor: ``(P, C, r)``, the columns of L.
        rest: ``(P, C)``, at least 0.

    Examples:
        >>> one = LowRankCovariances(torch.tensor([[[1.0], [1.0]]]), torch.tensor([[1.0, 0.0]]))
        >>> one.times(one).tolist()  # the matrix is [[2, 1], [1, 1]]
        [[[5.0, 3.0], [3.0, 2.0]]]
    """

    factor: Tensor
    rest: Tensor

    def scaled(self, scales: Tensor) -> Self:
        """Return ``D Sigma D`` with the scales ``(P, C)`` on the diagonal of D."""
        return type(self)(scales.unsqueeze(2) * self.factor, scales.square() * self.rest)

    def times(self, other: Self) -> Tensor:
        """Return the products ``Sigma_p Sigma'_p``, ``(P, C, C)``."""
        theirs = other.factor.transpose(1, 2)  # (P, r, C)
        mine = self.factor.transpose(1, 2)
        through = (mine @ other.factor) @ theirs + mine * other.rest.unsqueeze(1)
        left = torch.cat([self.factor, self.rest.unsqueeze(2) * other.factor], dim=2)
        products = left @ torch.cat([through, theirs], dim=1)
        products.diagonal(dim1=1, dim2=2).add_(self.rest * other.rest)
        return products

    def row_norms(self) -> Tensor:
        """Return the Euclidean norm of each row, ``(P, C)``."""
        gram = self.factor.transpose(1, 2) @ self.factor  # (P, r, r)
        on_diagonal = self.factor.square().sum(2)
        squares = ((self.factor @ gram) * self.factor).sum(2)
        squares = squares + self.rest * (2 * on_diagonal + self.rest)
        return squares.clamp_min(0).sqrt()
