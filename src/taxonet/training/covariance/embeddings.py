"""Covariance transfer between classes of stored embeddings, whose statistics are known at once."""

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.training.covariance.memory import readable_bytes
from taxonet.training.covariance.shrinkage import weight_towards_identity, weight_towards_sphere


class EmbeddingCovariances(nn.Module):
    """Mean and shrunk covariance of each class of embeddings.

    With ``S_k`` the covariance of the ``n_k`` embeddings of class k, divided by ``n_k - 1``:

        T = (1 - b) S + b (tr S / d) I,    S = sum_k (n_k - 1) S_k / sum_k (n_k - 1),
        Sigma_k = (1 - a_k) S_k + a_k T.

    T is the covariance pooled within the classes, and b its weight by `weight_towards_sphere`: T
    can be inverted however few embeddings there are. The weights ``a_k`` are those of
    `weight_towards_identity` in the coordinates in which T is the identity. A class of 1 or 2
    embeddings has the weight 1, which is T alone.

    In those coordinates a class is ``M_k = U diag(m) U^T + s (I - U U^T)``: ``columns`` leading
    directions, and one value for all others, the mean of their eigenvalues, so that the trace is
    kept. It is exact where ``columns`` is at least ``n_k - 1``. No class takes d x d values.

    Everything is estimated in float64 and kept in float32, in buffers outside the state: they
    are functions of the embeddings.

    Args:
        embeddings: Finite, ``(N, d)``.
        targets: The class of each, int64 ``(N,)`` in 0..K-1.
        classes: The number K of classes.
        columns: Directions of a class; see `direction_count`.

    Raises:
        ConfigError: The embeddings of each class are all equal.

    Reference:
        Friedman (1989), Regularized Discriminant Analysis, shrinks the covariance of a class to
        the pooled one; Tipping and Bishop (1999), Probabilistic Principal Component Analysis,
        gives the directions left out the mean of their eigenvalues.

    Examples:
        >>> embeddings = torch.tensor([[0.0, 1.0], [2.0, -1.0], [5.0, 0.0]])
        >>> one = EmbeddingCovariances(embeddings, torch.tensor([0, 0, 1]), 2, columns=1)
        >>> one.mean.tolist()
        [[1.0, 0.0], [5.0, 0.0]]
        >>> bool(torch.allclose(one.covariance(1), 2 * torch.eye(2)))  # S = [[2, -2], [-2, 2]]
        True
    """

    mean: Tensor
    images: Tensor
    basis: Tensor
    scale: Tensor
    directions: Tensor
    roots: Tensor
    rest: Tensor

    def __init__(self, embeddings: Tensor, targets: Tensor, classes: int, *, columns: int) -> None:
        super().__init__()
        size = embeddings.shape[1]
        images = torch.bincount(targets, minlength=classes)
        self.register_buffer("images", images, persistent=False)
        self._keep("mean", torch.zeros(classes, size))
        order, ends = targets.argsort(stable=True), images.cumsum(0).tolist()
        rows = [order[end - count : end] for end, count in zip(ends, images.tolist(), strict=True)]
        scatter = torch.zeros(size, size, dtype=torch.float64)
        for label, here in enumerate(rows):
            if len(here):
                self.mean[label] = embeddings[here].double().mean(0)
                centred = _centred(embeddings[here])
                scatter += centred.T @ centred
        basis, scale = _pooled_axes(scatter, freedom=len(targets) - int((images > 0).sum()))
        self._keep("basis", basis)
        self._keep("scale", scale)
        self._keep("directions", torch.zeros(classes, size, columns))
        self._keep("roots", torch.ones(classes, columns))
        self._keep("rest", torch.ones(classes))
        for label, here in enumerate(rows):
            if len(here) > 2:
                white = _centred(embeddings[here]) @ basis / scale
                kept, values, rest = _leading(white, columns)
                self.directions[label, :, : kept.shape[1]] = kept
                self.roots[label, : len(values)] = values.sqrt()
                self.rest[label] = rest.sqrt()

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.float(), persistent=False)

    def covariance(self, label: int) -> Tensor:
        """Return ``Sigma_k`` of a class as it is used, ``(d, d)``."""
        directions, rest = self.directions[label], self.rest[label].square()
        white = (directions * (self.roots[label].square() - rest)) @ directions.T
        white.diagonal().add_(rest)
        axes = self.basis * self.scale
        return axes @ white @ axes.T

    def whiten(self, deviations: Tensor, labels: Tensor) -> Tensor:
        """Return deviations ``(B, d)`` from class means in coordinates without covariance."""
        pooled = deviations @ self.basis / self.scale
        return self._stretched(pooled, labels, self.roots.reciprocal(), self.rest.reciprocal())

    def colour(self, white: Tensor, labels: Tensor) -> Tensor:
        """Return the deviations ``(B, d)`` that have the covariances of classes: undo `whiten`."""
        pooled = self._stretched(white, labels, self.roots, self.rest)
        return (pooled * self.scale) @ self.basis.T

    def _stretched(self, values: Tensor, labels: Tensor, roots: Tensor, rest: Tensor) -> Tensor:
        """Return values ``(B, d)`` times a power of ``M_k``, by its roots and the rest's."""
        change = rest[labels, None] * values
        # One class at a time: its directions are read where they lie, and not copied per image.
        for label in sorted(set(labels.tolist())):
            here = (labels == label).nonzero().flatten()
            directions = self.directions[label]
            along = (values[here] @ directions) * (roots[label] - rest[label])
            change.index_add_(0, here, along @ directions.T)
        return change


def transfer_embeddings(
    embeddings: Tensor, targets: Tensor, head_classes: Tensor, covariances: EmbeddingCovariances
) -> Tensor:
    """Lend tail embeddings the covariance of head classes.

    ``x~ = mu_t + C_h C_t^-1 (x - mu_t)`` with ``C_k C_k^T = Sigma_k``: what has the covariance of
    class t gets that of class h. Between classes of equal covariance nothing changes.

    A class of one photo has no deviation from its mean: it borrows the mean alone, which is the
    photo itself, and its embeddings stay as they are (also augmented views, whose distance from
    the photo is no variation within the class).

    Args:
        embeddings: ``(B, d)``.
        targets: Class of each, int64 ``(B,)``.
        head_classes: Class that lends, int64 ``(B,)``; -1 where an embedding stays as it is.
        covariances: Of the classes.

    Returns:
        ``(B, d)`` in the dtype of the embeddings; gradients flow through them.

    Reference:
        Zhang et al., Semantic Transfer from Head to Tail, has the idea. The exact change of
        covariance is that of Sun, Feng and Saenko (2016), Return of Frustratingly Easy Domain
        Adaptation (CORAL).

    Examples:
        >>> embeddings = torch.tensor([[-3.0], [0.0], [3.0], [9.0], [10.0], [11.0], [7.0]])
        >>> targets = torch.tensor([0, 0, 0, 1, 1, 1, 2])
        >>> covariances = EmbeddingCovariances(embeddings, targets, 3, columns=1)
        >>> heads = torch.tensor([-1, -1, -1, 0, 0, 0, 0])
        >>> changed = transfer_embeddings(embeddings, targets, heads, covariances)
        >>> print([f"{value:.2f}" for value in changed.flatten()])  # the one photo stays
        ['-3.00', '0.00', '3.00', '8.54', '10.00', '11.46', '7.00']
    """
    able = (head_classes >= 0) & (covariances.images[targets] > 1)
    rows = able.nonzero().flatten()
    if len(rows) == 0:
        return embeddings
    with torch.autocast(embeddings.device.type, enabled=False):
        mean = covariances.mean[targets[rows]]
        white = covariances.whiten(embeddings[rows].to(mean) - mean, targets[rows])
        new = mean + covariances.colour(white, head_classes[rows])
    return embeddings.index_copy(0, rows, new.to(embeddings.dtype))


def direction_count(images: Tensor, size: int, *, rank: int) -> int:
    """Return the directions that each class keeps: the rank, or all where there are fewer.

    Args:
        images: Embeddings of each class, ``(K,)``.
        size: Values d of an embedding.
        rank: Most directions, at least 1.

    Examples:
        >>> direction_count(torch.tensor([200, 3]), 1280, rank=32)
        32
        >>> direction_count(torch.tensor([20, 3]), 1280, rank=32)
        19
    """
    return max(1, min(rank, size, int(images.max()) - 1))


def embedding_memory(classes: int, size: int, *, columns: int) -> int:
    """Return the bytes of an `EmbeddingCovariances`: ``4 (K (d r + d + r + 3) + d^2 + d)``.

    Examples:
        >>> embedding_memory(100, 1280, columns=32)
        23468720
    """
    return 4 * (classes * (size * columns + size + columns + 3) + size * size + size)


def describe_embeddings(classes: int, size: int, *, columns: int) -> str:
    """Return one line that says what the covariances hold and take.

    Examples:
        >>> describe_embeddings(100, 1280, columns=32)
        'Covariances (32 directions) of 100 classes of 1280 values per embedding take 23.5 MB.'
    """
    needed = readable_bytes(embedding_memory(classes, size, columns=columns))
    what = f"Covariances ({columns} directions) of {classes} classes of {size} values per embedding"
    return f"{what} take {needed}."


def check_embedding_budget(classes: int, size: int, *, columns: int, budget_bytes: int) -> None:
    """Raise a ConfigError where the covariances take more than a budget.

    Examples:
        >>> check_embedding_budget(100, 1280, columns=999, budget_bytes=10**8)
        Traceback (most recent call last):
        ...
        taxonet.errors.ConfigError: Covariances (999 directions) of 100 classes of 1280 values per \
embedding take 519.0 MB. That is beyond the budget of 100.0 MB (transfer.budget_gb): set a lower \
transfer.rank.
    """
    if embedding_memory(classes, size, columns=columns) > budget_bytes:
        raise ConfigError(
            f"{describe_embeddings(classes, size, columns=columns)} That is beyond the budget of "
            f"{readable_bytes(budget_bytes)} (transfer.budget_gb): set a lower transfer.rank."
        )


def _centred(embeddings: Tensor) -> Tensor:
    exact = embeddings.double()
    return exact - exact.mean(0)


def _pooled_axes(scatter: Tensor, *, freedom: int) -> tuple[Tensor, Tensor]:
    """Return eigenvectors ``(d, d)`` of T, and the roots of its eigenvalues ``(d,)``."""
    trace, size = float(scatter.trace()), len(scatter)
    if not trace > 0:
        raise ConfigError(
            "The embeddings of each class are all equal, so that no class has a covariance to "
            "lend: set transfer to null."
        )
    pooled, trace = scatter / freedom, trace / freedom
    weight = weight_towards_sphere(trace, float(pooled.square().sum()), size=size, freedom=freedom)
    values, basis = torch.linalg.eigh(pooled)
    return basis, ((1 - weight) * values.clamp_min(0) + weight * trace / size).sqrt()


def _leading(white: Tensor, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the directions ``(d, q)`` of one class, their eigenvalues ``(q,)`` and the rest's.

    Args:
        white: Deviations ``(n, d)`` in the coordinates in which T is the identity.
        columns: Most directions; as many as have a variance where these are fewer.
    """
    images, size = white.shape
    by_image = images < size
    gram = (white @ white.T if by_image else white.T @ white) / (images - 1)
    values, vectors = torch.linalg.eigh(gram)
    trace, square = float(values.sum()), float(values.square().sum())
    weight = weight_towards_identity(trace, square, size=size, freedom=images - 1)
    values, vectors = values[-columns:], vectors[:, -columns:]
    real = values > 1e-10 * max(trace, torch.finfo(torch.float64).tiny)
    values, vectors = values[real], vectors[:, real]
    directions = white.T @ vectors if by_image else vectors
    directions = nn.functional.normalize(directions, dim=0)
    others = max(1, size - len(values))
    rest = (trace - values.sum()).clamp_min(0) / others
    return directions, weight + (1 - weight) * values, weight + (1 - weight) * rest
