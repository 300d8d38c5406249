"""Which candidates of an extended batch to learn from: the lowest embedding norms, or any.

TaxoNet, section 3.3: a batch of B images is extended by b images of tail classes, and of the
B + b candidates the B with the lowest embedding norms are kept. A low norm marks an image that the
network is not yet sure of; that holds only for margin losses of the AM-Softmax family.
"""

import torch
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.losses import ExpertLoss
from taxonet.registry import LOSSES
from taxonet.seeds import generator
from taxonet.training.tree_loss import TrainingLoss


def lowest_norms(embeddings: Tensor, keep: int) -> Tensor:
    """Return the positions of the embeddings with the lowest Euclidean norms.

    Args:
        embeddings: ``(n, d)``, before any normalisation; nothing here carries a gradient.
        keep: How many to keep, 1 to n.

    Returns:
        int64 ``(keep,)`` on the device of the embeddings, ascending, so that the order of the
        batch stays. Of equal norms the earlier position is kept; a norm that is not a number
        comes last.

    Raises:
        ConfigError: ``keep`` outside 1 to n.

    Reference:
        TaxoNet, section 3.3.

    Examples:
        >>> lowest_norms(torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 1.0]]), 2)
        tensor([1, 2])
    """
    _check_keep(keep, len(embeddings))
    # In half precision large norms overflow and near ones round to ties.
    norms: Tensor = torch.linalg.vector_norm(embeddings.detach().float(), dim=1)
    return norms.argsort(stable=True)[:keep].sort().values


def random_keep(count: int, keep: int, *key: int | str) -> Tensor:
    """Return ``keep`` of the positions 0..count-1, drawn without replacement by a key.

    The paper's ablation compares this selection with `lowest_norms` (its Table 1, row D).

    Args:
        count: The number of candidates n.
        keep: How many to keep, 1 to n.
        *key: What the draw depends on, such as the seed, the epoch and the step.

    Returns:
        int64 ``(keep,)``, ascending.

    Raises:
        ConfigError: ``keep`` outside 1 to n.

    Examples:
        >>> random_keep(3, 3, "seed", 0)
        tensor([0, 1, 2])
        >>> random_keep(40, 32, 0, 1).equal(random_keep(40, 32, 0, 1))
        True
    """
    _check_keep(keep, count)
    kept = generator("random selection", *key).choice(count, size=keep, replace=False)
    return torch.from_numpy(kept).sort().values


def check_selection(loss: TrainingLoss, *, experts: int = 1) -> None:
    """Raise a ConfigError unless the norm of an embedding has a meaning under the loss.

    Examples:
        >>> from taxonet.losses import CrossEntropyLoss
        >>> check_selection(CrossEntropyLoss([3, 1]))
        Traceback (most recent call last):
        ...
        taxonet.errors.ConfigError: Norm-guided selection needs a loss under which a low embedding \
norm marks an unsure image, and CrossEntropyLoss is none. Losses that work: am_softmax, \
arcface, dbm, dual_margin, sphereface. Or select at random.
    """
    if experts > 1:
        raise ConfigError(
            "Norm-guided selection needs the embedding of one network: those of several experts "
            "are one vector, whose norm no loss shapes. Set model.experts=1, or select at random."
        )
    if isinstance(loss, ExpertLoss) or not loss.norm_is_meaningful:
        working = [name for name in LOSSES.names() if _norm_is_meaningful(name)]
        raise ConfigError(
            "Norm-guided selection needs a loss under which a low embedding norm marks an unsure "
            f"image, and {type(loss).__name__} is none. Losses that work: {', '.join(working)}. "
            "Or select at random."
        )


def _norm_is_meaningful(name: str) -> bool:
    return bool(getattr(LOSSES.get(name), "norm_is_meaningful", False))


def _check_keep(keep: int, count: int) -> None:
    if not 1 <= keep <= count:
        raise ConfigError(f"Of {count} candidates 1 to {count} can be kept, not {keep}.")
