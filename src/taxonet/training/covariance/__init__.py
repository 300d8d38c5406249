"""SMART: tail classes borrow the covariance of head classes while a network is trained.

Reference: Zhang et al., Semantic Transfer from Head to Tail: Enlarging Tail Margin for Long-Tailed
Visual Recognition.
"""

from taxonet.training.covariance.choice import HeadChoice, split_classes
from taxonet.training.covariance.embeddings import (
    EmbeddingCovariances,
    check_embedding_budget,
    describe_embeddings,
    direction_count,
    embedding_memory,
    transfer_embeddings,
)
from taxonet.training.covariance.memory import check_budget, describe, statistics_memory
from taxonet.training.covariance.pairs import (
    TransferOptions,
    semantic_covariances,
    transfer_matrices,
)
from taxonet.training.covariance.shrinkage import (
    weight_towards_identity,
    weight_towards_sphere,
)
from taxonet.training.covariance.similarity import (
    prototype_similarity,
    read_similarity,
    taxonomy_similarity,
)
from taxonet.training.covariance.statistics import ClassMoments, ClassStatistics
from taxonet.training.covariance.transfer import Transferred, transfer
from taxonet.training.covariance.weights import sample_weights, weight_quantiles

__all__ = [
    "ClassMoments",
    "ClassStatistics",
    "EmbeddingCovariances",
    "HeadChoice",
    "TransferOptions",
    "Transferred",
    "check_budget",
    "check_embedding_budget",
    "describe",
    "describe_embeddings",
    "direction_count",
    "embedding_memory",
    "prototype_similarity",
    "read_similarity",
    "sample_weights",
    "semantic_covariances",
    "split_classes",
    "statistics_memory",
    "taxonomy_similarity",
    "transfer",
    "transfer_embeddings",
    "transfer_matrices",
    "weight_quantiles",
    "weight_towards_identity",
    "weight_towards_sphere",
]
