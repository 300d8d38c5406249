"""How similar tail classes are to head classes: by prototypes, by the taxonomy, or as given.

Each function returns the block ``(tail classes, head classes)`` that a `HeadChoice` takes; the
taxonomy's is computed block by block, and no matrix over all nodes is ever made.
"""

from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from taxonet.errors import ConfigError, DataError
from taxonet.taxonomy import Taxonomy

#: Pairs of nodes whose common ancestors are looked up at once.
BLOCK_PAIRS = 2**20


def prototype_similarity(
    prototypes: Tensor, tail_classes: ArrayLike, head_classes: ArrayLike
) -> NDArray[np.float32]:
    """Return the cosines of the prototypes of tail and head classes.

    Prototypes are the rows of a head's weight, or embeddings of the names of the classes (the
    paper's offline scheme). One of norm 0 has the cosine 0 with all.

    Shape:
        ``prototypes`` ``(K, d)``; ``(tail classes, head classes)`` comes back, in [-1, 1].

    Examples:
        >>> prototypes = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 4.0]])
        >>> prototype_similarity(prototypes, [2], [0, 1])
        array([[0.6, 0.8]], dtype=float32)
    """
    vectors = prototypes.detach().float().cpu()
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    units = (vectors / torch.where(norms > 0, norms, 1.0)).numpy()
    block: NDArray[np.float32] = units[np.asarray(tail_classes)] @ units[np.asarray(head_classes)].T
    return block


def taxonomy_similarity(
    taxonomy: Taxonomy,
    class_nodes: ArrayLike,
    tail_classes: ArrayLike,
    head_classes: ArrayLike,
    *,
    by: Literal["information", "depth"] = "information",
) -> NDArray[np.float32]:
    """Return how near tail and head classes are in the tree: 1 for one node, 0 if only the root.

    ``2 I(lca) / (I(t) + I(h))``, with I the information of a node (Lin's similarity) or its depth
    (Wu and Palmer's); 0 where both are the root. By information, being in one small genus is
    nearer than being in one large genus; by depth, all genera of a depth are alike.

    Args:
        taxonomy: The tree.
        class_nodes: The node of each class ``(K,)``, at any depth.
        tail_classes: Indices of the tail classes.
        head_classes: Indices of the head classes.
        by: What is compared.

    Raises:
        ConfigError: ``by`` is neither.
        TaxonomyError: A node outside the tree.

    Reference:
        Lin 1998, An Information-Theoretic Definition of Similarity; Wu and Palmer 1994, Verb
        Semantics and Lexical Selection.

    Examples:
        >>> tree = Taxonomy.from_parents(["root", "A", "B", "a", "b", "c"], [-1, 0, 0, 1, 1, 2])
        >>> taxonomy_similarity(tree, [3, 4, 5], [0], [1, 2], by="depth")
        array([[0.5, 0. ]], dtype=float32)
    """
    if by not in ("information", "depth"):
        raise ConfigError(f"by must be 'information' or 'depth', but is {by!r}.")
    values = np.asarray(getattr(taxonomy, by), dtype=np.float32)
    nodes = np.asarray(class_nodes, dtype=np.int64)
    tail, head = nodes[np.asarray(tail_classes)], nodes[np.asarray(head_classes)]
    block = np.zeros((len(tail), len(head)), dtype=np.float32)
    step = max(1, BLOCK_PAIRS // max(1, len(head)))
    for start in range(0, len(tail), step):
        some = tail[start : start + step, None]
        shared = 2 * values[taxonomy.lca(some, head)]
        whole = values[some] + values[head]
        np.divide(shared, whole, out=block[start : start + step], where=whole > 0)
    return block


def read_similarity(
    path: str | PathLike[str],
    class_names: list[str],
    tail_classes: ArrayLike,
    head_classes: ArrayLike,
) -> NDArray[np.float32]:
    """Read similarities of classes from a file: WordNet's, of text embeddings, or any others.

    Args:
        path: A ``.npy`` of shape ``(K, K)`` in class order, or a ``.csv`` whose first row and
            first column are class names, in any order; more classes than needed do no harm.
        class_names: The name of each class, in class order.
        tail_classes: Indices of the tail classes.
        head_classes: Indices of the head classes.

    Returns:
        ``(tail classes, head classes)``, higher is nearer.

    Raises:
        DataError: The file is neither, is not square, or lacks classes; the message names them.
    """
    file = Path(path)
    tail, head = np.asarray(tail_classes), np.asarray(head_classes)
    if file.suffix == ".npy":
        matrix = np.load(file, mmap_mode="r", allow_pickle=False)
        if matrix.shape != (len(class_names), len(class_names)):
            raise DataError(
                f"{file} must hold one similarity for each two of {len(class_names)} classes, but "
                f"its shape is {matrix.shape}."
            )
        return np.asarray(matrix[tail][:, head], dtype=np.float32)
    if file.suffix != ".csv":
        raise DataError(f"A similarity is read from a .npy or .csv file, but got {file}.")
    table = pd.read_csv(file, index_col=0)
    table.index = table.index.astype(str)
    rows = [class_names[index] for index in tail]
    columns = [class_names[index] for index in head]
    _check_names(rows, table.index, f"rows of {file}")
    _check_names(columns, table.columns, f"columns of {file}")
    return table.loc[rows, columns].to_numpy(dtype=np.float32)


def _check_names(names: list[str], known: pd.Index, where: str) -> None:
    if repeated := sorted(set(known[known.duplicated()])):
        raise DataError(f"The {where} hold {repeated[0]!r} more than once.")
    if missing := sorted(set(names) - set(known)):
        raise DataError(
            f"The {where} lack {len(missing)} classes, such as {missing[:5]}. "
            "Give a similarity for every class."
        )
