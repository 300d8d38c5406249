"""The weights of tail images in the loss (SMART, eq. 11)."""

import torch
from torch import Tensor

#: The quantiles that are logged, by name.
QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


def sample_weights(shared: Tensor, *, lowest: float, highest: float) -> Tensor:
    """Return ``(1/C) sum_jk Sigma_th[j, k]`` of each pair, clipped to a range.

    Shape:
        ``shared`` ``(P, C, C)``, the ``Sigma_th`` of P pairs; ``(P,)`` comes back.

    Reference:
        Zhang et al., Semantic Transfer from Head to Tail, eq. 11; the range is ours.

    Examples:
        >>> shared = torch.tensor([[[1.0, 0.5], [0.5, 1.0]], [[-1.0, 0.0], [0.0, -1.0]]])
        >>> sample_weights(shared, lowest=0.25, highest=10.0).tolist()
        [1.5, 0.25]
    """
    return (shared.sum((1, 2)) / shared.shape[1]).clamp(lowest, highest)


def weight_quantiles(weights: Tensor) -> dict[str, float]:
    """Return the minimum, quartiles and maximum of the weights ``(n,)``; nothing for none.

    Examples:
        >>> weight_quantiles(torch.tensor([1.0, 2.0, 3.0, 4.0, 9.0]))
        {'min': 1.0, 'q25': 2.0, 'median': 3.0, 'q75': 4.0, 'max': 9.0}
        >>> weight_quantiles(torch.ones(0))
        {}
    """
    if weights.numel() == 0:
        return {}
    shares = torch.tensor(list(QUANTILES.values()), dtype=torch.float64, device=weights.device)
    values = torch.quantile(weights.detach().double(), shares)
    return dict(zip(QUANTILES, values.tolist(), strict=True))
