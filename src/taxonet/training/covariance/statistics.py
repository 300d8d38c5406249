"""Running mean and covariance of the feature positions of each class (SMART, eq. 2 and 3)."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.training.covariance.maps import check_maps, positions_of
from taxonet.training.covariance.matrices import (
    Covariances,
    FullCovariances,
    LowRankCovariances,
)
from taxonet.training.covariance.memory import CovarianceForm, check_form
from taxonet.training.covariance.sketch import combined_factor

#: Values of covariances that one step of an update holds beside the statistics: 64 MB in float32.
BLOCK_VALUES = 2**24


class ClassMoments(NamedTuple):
    """Means ``(P, C)``, variances ``(P, C)`` and covariances of P classes, in float32 at least."""

    mean: Tensor
    variance: Tensor
    covariance: Covariances


class ClassStatistics(nn.Module):
    """Running statistics of a feature map for each class, kept in buffers.

    A batch holds ``M`` images of class k; their H W M positions have the mean ``mu_B`` and the
    covariance ``Sigma_B`` (divided by the number of positions, so that it exists for one). Then

        n_k <- n_k + M,  a = M / n_k,
        mu_k <- (1 - a) mu_k + a mu_B,  Sigma_k <- (1 - a) Sigma_k + a Sigma_B.

    ``n`` counts images, as the paper's "samples"; for maps of one size positions give the same a.
    As printed, the rule averages the covariances of batches and leaves out how far apart their
    means are. ``momentum`` as a number is the paper's fixed a (its ablation); the first batch of a
    class sets its statistics either way.

    A class without any variance has no covariance: one position a batch (a map of 1 x 1 and single
    images) never gives one. `has_covariance` tells which classes do. A class whose features in a
    batch are not finite stays as it was, since one overflow would spoil it for good.

    Everything is computed in float32 at least, without gradient, whatever the autocast. Statistics
    of several processes are not merged: all have those of the first, made of its batches.

    Shape:
        Buffers: ``images`` int64 ``(K,)``, ``mean`` and ``variance`` ``(K, C)``, and ``matrix``
        ``(K, C, C)`` for ``full`` or ``factor`` ``(K, C, r)`` for ``lowrank``, which keeps
        ``Sigma = L L^T + diag(variance - diag(L L^T))``: the variances are exact, the rest is as
        exact as rank r allows (see `combined_factor`).

    Args:
        classes: The number K of classes.
        channels: The number C of channels of the map.
        covariance: ``full`` or ``lowrank``; see `statistics_memory` for what they take.
        rank: The columns r of a low-rank factor, 1 to C.
        momentum: ``dynamic`` or the share a of each batch, in (0, 1].
        dtype: What covariances are stored in. Half precision halves the memory and loses updates
            that change a value by less than its step (2^-9 of it in bfloat16, 2^-12 in float16).

    Raises:
        ConfigError: An option out of its range.

    Reference:
        Zhang et al., Semantic Transfer from Head to Tail, eq. 2 and 3, Table 5.

    Examples:
        >>> statistics = ClassStatistics(2, 1)
        >>> statistics.update(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([0]))
        >>> statistics.update(torch.tensor([[[[4.0, 8.0]]]]), torch.tensor([0]))
        >>> statistics.mean.flatten().tolist(), statistics.variance.flatten().tolist()
        ([4.0, 0.0], [2.5, 0.0])
        >>> statistics.has_covariance
        tensor([ True, False])
    """

    images: Tensor
    mean: Tensor
    variance: Tensor
    matrix: Tensor
    factor: Tensor

    def __init__(
        self,
        classes: int,
        channels: int,
        *,
        covariance: CovarianceForm = "full",
        rank: int = 32,
        momentum: float | Literal["dynamic"] = "dynamic",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if classes < 1 or channels < 1:
            raise ConfigError(
                f"Statistics need at least 1 class and 1 channel, but got {classes}, {channels}."
            )
        check_form(channels, covariance=covariance, rank=rank, dtype=dtype)
        self.classes, self.channels = classes, channels
        self.covariance, self.rank = covariance, rank
        self.momentum = _checked_momentum(momentum)
        self.register_buffer("images", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(classes, channels))
        self.register_buffer("variance", torch.zeros(classes, channels))
        if covariance == "full":
            whole = torch.zeros(classes, channels, channels, dtype=dtype)
            self.register_buffer("matrix", whole)
        else:
            self.register_buffer("factor", torch.zeros(classes, channels, rank, dtype=dtype))

    @property
    def has_covariance(self) -> Tensor:
        """Which classes have a covariance to lend or to change, bool ``(K,)``."""
        return self.variance.sum(1) > 0

    @torch.no_grad()
    def update(self, features: Tensor, target: Tensor) -> None:
        """Take in the maps ``(B, C, H, W)`` of a batch and its classes ``(B,)``.

        Raises:
            DataError: Maps or targets of a wrong form.
        """
        check_maps(features, target, classes=self.classes, channels=self.channels)
        with torch.autocast(features.device.type, enabled=False):
            positions = positions_of(features).to(_at_least_float32(self.mean))
            columns = self.channels if self.covariance == "full" else self.rank
            most = max(1, BLOCK_VALUES // (self.channels * columns))
            for classes, rows in _blocks(target, most):
                self._take_in(classes, positions[rows])

    def moments(self, classes: Tensor) -> ClassMoments:
        """Return the statistics of the classes ``(P,)``, which may repeat."""
        mean, variance = self.mean[classes], self.variance[classes]
        wide = _at_least_float32(mean)
        mean, variance = mean.to(wide), variance.to(wide)
        if self.covariance == "full":
            whole = FullCovariances(self.matrix[classes].to(wide))
            return ClassMoments(mean, variance, whole)
        factor = self.factor[classes].to(wide)
        rest = (variance - factor.square().sum(2)).clamp_min(0)
        return ClassMoments(mean, variance, LowRankCovariances(factor, rest))

    def extra_repr(self) -> str:
        """Return the sizes and options."""
        rank = f", rank={self.rank}" if self.covariance == "lowrank" else ""
        return (
            f"{self.classes}, {self.channels}, covariance={self.covariance!r}{rank}, "
            f"momentum={self.momentum!r}"
        )

    def _take_in(self, classes: Tensor, positions: Tensor) -> None:
        """Apply the rule to distinct classes ``(U,)`` with ``(U, M, H W, C)`` positions each."""
        images = positions.shape[1]
        samples = positions.flatten(1, 2)  # (U, m, C)
        mean = samples.mean(1)
        samples = samples - mean.unsqueeze(1)
        variance = samples.square().mean(1)
        sound = variance.sum(1).isfinite()
        classes, samples = classes[sound], samples[sound]
        mean, variance = mean[sound], variance[sound]

        self.images[classes] += images
        share = self._share(classes, images).to(mean.dtype)
        for buffer, new in ((self.mean, mean), (self.variance, variance)):
            blended = torch.lerp(buffer[classes].to(new.dtype), new, share.unsqueeze(1))
            buffer[classes] = blended.to(buffer.dtype)
        if self.covariance == "full":
            covariance = (1 - share)[:, None, None] * self.matrix[classes].to(samples.dtype)
            samples = (share / samples.shape[1]).sqrt()[:, None, None] * samples
            covariance.baddbmm_(samples.transpose(1, 2), samples)
            self.matrix[classes] = covariance.to(self.matrix.dtype)
        else:
            factor = combined_factor(self.factor[classes].to(samples.dtype), samples, share)
            self.factor[classes] = factor.to(self.factor.dtype)

    def _share(self, classes: Tensor, images: int) -> Tensor:
        seen = self.images[classes].double()
        if self.momentum == "dynamic":
            return images / seen
        return torch.full_like(seen, self.momentum).masked_fill(seen == images, 1.0)


def _blocks(target: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield classes ``(U,)`` with equally many images, at most ``most``, and their rows ``(U, M)``.

    Equal numbers need no padding, and a batch has few different ones.
    """
    classes, counts = torch.unique(target, return_counts=True)
    order, starts = target.argsort(stable=True), counts.cumsum(0) - counts
    for images in counts.unique().tolist():
        for some in torch.split((counts == images).nonzero().flatten(), most):
            steps = torch.arange(images, device=target.device)
            yield classes[some], order[starts[some].unsqueeze(1) + steps]


def _at_least_float32(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)


def _checked_momentum(momentum: float | str) -> float | Literal["dynamic"]:
    if momentum == "dynamic":
        return "dynamic"
    if isinstance(momentum, str) or not 0 < momentum <= 1:
        raise ConfigError(f"momentum must be 'dynamic' or lie in (0, 1], but is {momentum!r}.")
    return float(momentum)
