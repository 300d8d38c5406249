"""Weights of shrinkage: how far to pull an estimated covariance towards a target, in closed form.

Both weights assume roughly normal samples and minimise the expected squared Frobenius distance
between ``(1 - a) S + a target`` and the true covariance. ``S`` is divided by its degrees of
freedom f: the samples less the means that were estimated from them.
"""


def weight_towards_sphere(trace: float, square: float, *, size: int, freedom: int) -> float:
    """Return the weight of ``(tr S / d) I``, in (0, 1]: oracle approximating shrinkage.

    ``a = ((1 - 2/d) tr S^2 + (tr S)^2) / ((f + 1 - 2/d) (tr S^2 - (tr S)^2 / d))``, at most 1.

    Args:
        trace: ``tr S``.
        square: ``tr S^2``.
        size: The rows d of S.
        freedom: Degrees of freedom f, at least 1.

    Reference:
        Chen, Wiesel, Eldar and Hero (2010), Shrinkage Algorithms for MMSE Covariance Estimation,
        eq. 23.

    Examples:
        >>> weight_towards_sphere(4.0, 10.0, size=2, freedom=9)  # eigenvalues 3 and 1: 16 / 18
        0.8888888888888888
        >>> weight_towards_sphere(4.0, 8.0, size=2, freedom=9)  # a sphere already
        1.0
    """
    above = (1 - 2 / size) * square + trace**2
    below = (freedom + 1 - 2 / size) * (square - trace**2 / size)
    return above / below if above < below else 1.0


def weight_towards_identity(trace: float, square: float, *, size: int, freedom: int) -> float:
    """Return the weight of the identity, in [1 / (f + 1), 1].

    ``a = (q + t^2) / (q + t^2 + f (q - 2 t + d))`` with the unbiased estimates ``t = tr S`` of the
    true covariance's trace and ``q = f^2 (tr S^2 - t^2 / f) / ((f - 1) (f + 2))`` of its square's.
    Below 2 degrees of freedom there is no such estimate, and the weight is 1. The lower bound
    keeps the identity in every estimate, also where all samples are equal: it can be inverted.

    Args:
        trace: ``tr S``.
        square: ``tr S^2``.
        size: The rows d of S.
        freedom: Degrees of freedom f.

    Reference:
        Touloumis (2015), Nonparametric Stein-type shrinkage covariance matrix estimators in
        high-dimensional settings, the optimal weight of the identity as target; the estimate q of
        normal samples is that of Srivastava (2005), Some tests concerning the covariance matrix
        in high dimensional data.

    Examples:
        >>> weight_towards_identity(6.0, 26.0, size=2, freedom=9)  # q = 20.25: 56.25 / 148.5
        0.3787878787878788
        >>> weight_towards_identity(6.0, 36.0, size=2, freedom=1)  # two samples say too little
        1.0
    """
    if freedom < 2:
        return 1.0
    squares = freedom**2 * (square - trace**2 / freedom) / ((freedom - 1) * (freedom + 2))
    noise = squares + trace**2
    apart = max(0.0, squares - 2 * trace + size)
    weight = noise / (noise + freedom * apart) if noise > 0 else 0.0
    return max(weight, 1 / (freedom + 1))
