"""From scores to answers: one flat row an image, in Darwin Core terms where there is one."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.classifier.naming import Naming
from taxonet.classifier.predicted_groups import lowest_classes
from taxonet.errors import ConfigError
from taxonet.taxonomy import Taxonomy

Row = dict[str, Any]

NODE_PROBS = "nodeProbs"
"""Key of a row, beside its columns: the likely nodes as ``(node, probability)``, ascending."""


class RowMaker:
    """Turns node probabilities into rows.

    Args:
        taxonomy: The classifier's tree.
        class_nodes: Node of each class, ``(c,)``.
        naming: Which node is named, and which photo is too novel for a name.
        top_k: Candidates at every rank.
        node_probs_from: Rows also hold every node but the root with at least this probability, in
            [0, 1] and above 0, under `NODE_PROBS`; None: they do not.

    Attributes:
        columns: The names of a row's fields, in order.

    Raises:
        ConfigError: ``top_k`` below 1.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        class_nodes: NDArray[np.int64],
        *,
        naming: Naming,
        top_k: int = 1,
        node_probs_from: float | None = None,
    ) -> None:
        self.taxonomy, self.class_nodes = taxonomy, class_nodes
        self.naming = naming
        if top_k < 1:
            raise ConfigError(f"top_k must be at least 1, got {top_k}.")
        self.top_k, self.node_probs_from = top_k, node_probs_from
        self.levels = levels_with_classes(taxonomy, class_nodes)
        self.columns = _columns(list(self.levels), top_k)
        self._leaf_classes = frozenset(lowest_classes(taxonomy, class_nodes).tolist())

    def rows(self, images: list[str], node_probs: Tensor, novelty: Tensor) -> list[Row]:
        """Make the rows of a batch.

        Args:
            images: Name of each image.
            node_probs: Node probabilities ``(B, n)``.
            novelty: Novelty scores ``(B,)``, higher is more novel.
        """
        # Something is certainly in the picture, also where a restriction took away what it is.
        node_probs = node_probs.clone()
        node_probs[:, 0] = 1.0
        named = self.naming.decide(node_probs).tolist()
        by_rank = {rank: self._best_of(node_probs, nodes) for rank, nodes in self.levels.items()}
        rows = []
        for index, (image, node) in enumerate(zip(images, named, strict=True)):
            row: Row = dict.fromkeys(self.columns)
            row |= {"image": image, "promise": self.naming.promise}
            row["noveltyScore"] = float(novelty[index])
            row |= self._decision(node, float(node_probs[index, node]), row["noveltyScore"])
            for rank, (names, values) in by_rank.items():
                for place in range(min(self.top_k, len(values[index]))):
                    if values[index][place] == 0:
                        break  # a restriction left no candidate more
                    name_column, probability_column = _rank_columns(rank, place + 1)
                    row[name_column] = names[index][place]
                    row[probability_column] = values[index][place]
            rows.append(row)
        if self.node_probs_from is not None:
            likely = _nodes_from(node_probs, self.node_probs_from)
            for row, found in zip(rows, likely, strict=True):
                row[NODE_PROBS] = found
        return rows

    def unreadable(self, image: str, reason: str) -> Row:
        """Make the row of an image that cannot be read."""
        return dict.fromkeys(self.columns) | {
            "image": image,
            "rule": "unreadable",
            "error": reason,
        }

    def _decision(self, node: int, probability: float, novelty: float) -> Row:
        threshold = self.naming.novelty_threshold
        too_novel = threshold is not None and novelty > threshold
        if too_novel or node == 0:
            return {"rule": "unknown"}
        rank = self.taxonomy.rank_name(node)
        return {
            "scientificName": self.taxonomy.names[node],
            "taxonRank": rank,
            "probability": probability,
            "rule": "leaf"
            if node in self._leaf_classes
            else f"rolled up to {rank or 'an inner node'}",
        }

    def _best_of(
        self, node_probs: Tensor, nodes: NDArray[np.int64]
    ) -> tuple[list[list[str]], list[list[float]]]:
        probs = node_probs[:, torch.from_numpy(nodes).to(node_probs.device)].cpu()
        columns = _best_columns(probs, min(self.top_k, len(nodes)))
        names = [
            [str(self.taxonomy.names[nodes[column]]) for column in row] for row in columns.tolist()
        ]
        return names, probs.gather(1, torch.from_numpy(columns)).tolist()


def _best_columns(probs: Tensor, k: int) -> NDArray[np.int64]:
    """Return the k largest entries of each row ``(B, k)``, of equal ones the first.

    Which of equals `torch.topk` takes, and in which order, is left open and differs by the batch.
    """
    bars = probs.topk(k, dim=1).values[:, -1:]
    row, column = (probs >= bars).nonzero(as_tuple=True)
    order = np.lexsort((column.numpy(), -probs[row, column].numpy(), row.numpy()))
    starts = np.searchsorted(row.numpy(), np.arange(len(probs)))
    best: NDArray[np.int64] = column.numpy()[order[starts[:, None] + np.arange(k)]]
    return best


def levels_with_classes(
    taxonomy: Taxonomy, class_nodes: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Return, for each rank, the nodes that are a class or have one below; coarse to fine.

    A tree without ranks gets its depths instead, called ``level_1`` and so on.
    """
    held = np.zeros(len(taxonomy), dtype=bool)
    for node in class_nodes:
        held[taxonomy.ancestors(int(node))] = True
    if taxonomy.ranks:
        every = {rank: np.asarray(taxonomy.at_rank(rank)) for rank in taxonomy.ranks}
    else:
        depths = range(1, int(taxonomy.depth.max()) + 1)
        every = {f"level_{depth}": np.flatnonzero(taxonomy.depth == depth) for depth in depths}
    return {
        rank: nodes[held[nodes]].astype(np.int64)
        for rank, nodes in every.items()
        if held[nodes].any()
    }


def _nodes_from(node_probs: Tensor, smallest: float) -> list[list[tuple[int, float]]]:
    likely = (node_probs[:, 1:] >= smallest) & (node_probs[:, 1:] > 0)
    places, nodes = likely.nonzero(as_tuple=True)
    nodes = nodes + 1  # the root is left out
    found: list[list[tuple[int, float]]] = [[] for _ in node_probs]
    probs = node_probs[places, nodes]
    for place, node, prob in zip(places.tolist(), nodes.tolist(), probs.tolist(), strict=True):
        found[place].append((node, prob))
    return found


def is_figure(column: str) -> bool:
    """Say whether a column of the rows holds figures; the others hold text.

    Examples:
        >>> is_figure("genus_2_probability"), is_figure("genus_2")
        (True, False)
    """
    return column.endswith("_probability") or column in {"probability", "noveltyScore"}


def _columns(ranks: list[str], top_k: int) -> list[str]:
    first = ["image", "scientificName", "taxonRank", "probability", "rule", "noveltyScore"]
    candidates = [
        column
        for rank in ranks
        for place in range(1, top_k + 1)
        for column in _rank_columns(rank, place)
    ]
    return [*first, *candidates, "promise", "error"]


def _rank_columns(rank: str, place: int) -> tuple[str, str]:
    suffix = "" if place == 1 else f"_{place}"
    return f"{rank}{suffix}", f"{rank}{suffix}_probability"
