"""Two margins that follow how rare each class is: the dual-margin penalisation loss."""

import math
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.losses.base import Loss
from taxonet.losses.checks import (
    ClassCounts,
    at_least_float32,
    check_batch,
    check_class_counts,
    check_number,
    check_scale,
)
from taxonet.losses.classification import cross_entropy_loss
from taxonet.losses.margin import am_softmax_logits
from taxonet.registry import LOSSES

Normalise = Literal["sum", "max"]

#: softplus of this is 1, where every D_k equals its class statistic rho_k.
GAMMA_OF_EXPONENT_ONE = math.log(math.expm1(1.0))


def relative_rarity(class_counts: ClassCounts, *, normalise: Normalise = "sum") -> Tensor:
    """Return how rare each class is, relative to all (``sum``) or to the rarest (``max``).

    ``r_k = -log(N_k / N) / Z``, where Z makes the r_k sum to 1 or their largest be 1; in the
    paper's terms ``r_k = rho_k / m0``, which does not depend on m0 and so stays defined at m0 = 0.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        normalise: ``"sum"``, the paper's, or ``"max"``.

    Returns:
        float64 ``(c,)``, each in (0, 1], larger for rarer classes.

    Raises:
        ConfigError: An unknown normalisation.
        DataError: Fewer than two classes, or a class without images.

    Examples:
        >>> relative_rarity([2, 1, 1])
        tensor([0.2000, 0.4000, 0.4000], dtype=torch.float64)
        >>> relative_rarity([2, 1, 1], normalise="max")
        tensor([0.5000, 1.0000, 1.0000], dtype=torch.float64)
    """
    if normalise not in get_args(Normalise):
        raise ConfigError(f"normalise must be 'sum' or 'max', but is {normalise!r}.")
    counts = check_class_counts(class_counts)
    # log(N / N_k) as log1p of an exact integer difference: a class that has almost all the
    # images keeps a rarity above 0, where the difference of two logarithms would round to 0.
    rarity = torch.log1p((counts.sum() - counts).double() / counts.double())
    return rarity / (rarity.sum() if normalise == "sum" else rarity.max())


def class_margins(rarity: Tensor, *, exponent: float | Tensor, base_margin_cos: float) -> Tensor:
    """Return the class-relative margins ``D_k = m0 r_k^exponent``, in units of cosine.

    Args:
        rarity: The relative rarities r_k ``(c,)`` in (0, 1].
        exponent: ``zeta(gamma) = log(1 + e^gamma) >= 0``, a number or a scalar tensor.
        base_margin_cos: The base margin m0 >= 0.

    Returns:
        ``(c,)``, each in [0, m0], larger for rarer classes.

    Examples:
        >>> class_margins(torch.tensor([0.5, 1.0]), exponent=2.0, base_margin_cos=0.2)
        tensor([0.0500, 0.2000])
    """
    return base_margin_cos * at_least_float32(rarity) ** exponent


def margin_regularisation(
    class_margins_cos: Tensor, rarity: Tensor, *, base_margin_cos: float
) -> Tensor:
    """Return ``L_reg = sum_k (D_k - rho_k)^2`` with ``rho_k = m0 r_k``, a scalar.

    Examples:
        >>> margin_regularisation(
        ...     torch.tensor([0.05, 0.2]), torch.tensor([0.5, 1.0]), base_margin_cos=0.2
        ... )
        tensor(0.0025)
    """
    return (class_margins_cos - base_margin_cos * at_least_float32(rarity)).square().sum()


def dual_margin_loss(
    cosines: Tensor,
    target: Tensor,
    *,
    class_margins_cos: Tensor,
    base_margin_cos: float,
    scale: float,
) -> Tensor:
    """Return the mean dual-margin loss of a batch, without L_reg; see `DualMarginLoss`.

    Every class gives up its own margin ``D_k`` (``class_margins_cos``, ``(c,)``), and the target
    the base margin as well: AM-Softmax on the cosines less the class margins.
    """
    check_batch(cosines, target)
    if class_margins_cos.shape != cosines.shape[1:]:
        raise DataError(
            f"class_margins_cos must hold one margin for each of {cosines.shape[1]} classes, "
            f"but its shape is {tuple(class_margins_cos.shape)}."
        )
    logits = _dual_margin_logits(
        cosines,
        target,
        class_margins_cos=class_margins_cos,
        base_margin_cos=base_margin_cos,
        scale=scale,
    )
    return cross_entropy_loss(logits, target)


def _dual_margin_logits(
    cosines: Tensor,
    target: Tensor,
    *,
    class_margins_cos: Tensor,
    base_margin_cos: float,
    scale: float,
) -> Tensor:
    penalised = at_least_float32(cosines) - class_margins_cos
    return am_softmax_logits(penalised, target, margin_cos=base_margin_cos, scale=scale)


@LOSSES.register("dual_margin")
class DualMarginLoss(Loss):
    """AM-Softmax whose margins grow with the rarity of the target and of every other class.

    ``L = -log[ e^{s(z_y - m_y)} / (e^{s(z_y - m_y)} + sum_{k != y} e^{s(z_k - m_k)}) ]
    + lambda L_reg``, the first term a mean over the batch, with

    - ``m_y = m0 + D_y`` for the target and ``m_k = D_k`` for every other class;
    - ``D_k = m0 (rho_k / m0)^zeta``, ``zeta = log(1 + e^gamma)``, gamma one learnable scalar;
    - ``rho_k`` proportional to ``-log(N_k / N)``, so that ``sum_k rho_k = m0`` (``"sum"``) or
      ``max_k rho_k = m0`` (``"max"``);
    - ``L_reg = sum_k (D_k - rho_k)^2``.

    A rare target must be recognised by a wider margin, and a rare non-target is pushed away less.
    Only differences between the D_k matter: what all share cancels in the softmax. Under ``"sum"``
    the rho_k are about m0 / c, so with hundreds of classes the differences all but vanish and the
    loss is close to AM-Softmax with margin m0; ``"max"`` keeps them.

    gamma starts where zeta = 1 (gamma = log(e - 1) = 0.5413; the paper prints no start): there D_k
    is exactly the class statistic rho_k and L_reg is at its minimum, 0, with no slope, so that the
    first moves of gamma come from the images alone, for any counts and either normalisation.
    gamma is the loss's only parameter: hand it to the optimizer, without weight decay. Prediction
    does not need it.

    Shape:
        ``cosines`` ``(B, c)`` in [-1, 1] (a little beyond does no harm); ``target`` int64 ``(B,)``
        in 0..c-1; a scalar comes back, in nats, float32 for half-precision cosines.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        base_margin_cos: The base margin m0 >= 0, in units of cosine.
        scale: The scale s > 0 of the cosines inside the softmax.
        regularisation: The weight lambda >= 0 of L_reg; the paper does not print it.
        normalise: ``"sum"``, the paper's, or ``"max"``.
        dual: False leaves only the base margin, which is AM-Softmax: no D_k, gamma or L_reg.

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, cosines or targets of a wrong form; fewer than two classes.

    Reference:
        TaxoNet, section 3.2, eq. 2 to 5.

    Examples:
        >>> loss = DualMarginLoss([2, 1, 1], base_margin_cos=0.5, scale=10.0)
        >>> loss.margins()
        tensor([0.1000, 0.2000, 0.2000])
        >>> value = loss(torch.tensor([[0.6, 0.0, 0.2]]), torch.tensor([0]))
        >>> round(value.item(), 4)  # log(1 + e^{-2 - 0} + e^{0 - 0})
        0.7586
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "cosines"
    norm_is_meaningful: ClassVar[bool] = True
    relative_rarity: Tensor
    gamma: nn.Parameter | None

    def __init__(
        self,
        class_counts: ClassCounts,
        *,
        base_margin_cos: float = 0.15,
        scale: float = 32.0,
        regularisation: float = 1.0,
        normalise: Normalise = "sum",
        dual: bool = True,
    ) -> None:
        super().__init__(class_counts)
        self.base_margin_cos = check_number("base_margin_cos", base_margin_cos, at_least=0)
        self.scale = check_scale(scale)
        self.regularisation = check_number("regularisation", regularisation, at_least=0)
        self.normalise = normalise
        self.dual = dual
        rarity = relative_rarity(class_counts, normalise=normalise)
        self.register_buffer("relative_rarity", rarity.float())
        gamma = nn.Parameter(torch.tensor(GAMMA_OF_EXPONENT_ONE)) if dual else None
        self.register_parameter("gamma", gamma)

    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the scaled cosines less the class margins, the target's less m0 as well."""
        return _dual_margin_logits(
            scores,
            target,
            class_margins_cos=self._class_margins(),
            base_margin_cos=self.base_margin_cos,
            scale=self.scale,
        )

    def penalty(self) -> Tensor | None:
        """Return lambda L_reg."""
        if not self.dual:
            return None
        return self.regularisation * margin_regularisation(
            self._class_margins(), self.relative_rarity, base_margin_cos=self.base_margin_cos
        )

    def margins(self) -> Tensor:
        """Return the present margins D_k ``(c,)`` without gradient, for logs and reports."""
        return self._class_margins().detach()

    def _class_margins(self) -> Tensor:
        if self.gamma is None:
            return torch.zeros_like(self.relative_rarity)
        return class_margins(
            self.relative_rarity,
            exponent=F.softplus(at_least_float32(self.gamma)),
            base_margin_cos=self.base_margin_cos,
        )
