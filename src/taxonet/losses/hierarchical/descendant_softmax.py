"""A softmax over all nodes in which every node on the way to the target shall win."""

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.branches import log1p_exp, logsumexp_by_depth
from taxonet.losses.hierarchical.common_ancestor import depths_of_common_ancestors
from taxonet.losses.hierarchical.node_softmax import subtree_probabilities
from taxonet.losses.hierarchical.picked import picked_log_softmax
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to

Form = Literal["root", "cousin"]


@HIERARCHICAL_LOSSES.register("descendant_softmax")
class DescendantSoftmaxLoss(HierarchicalLoss):
    """Cross entropy over nodes of the target and all its ancestors, the root included.

    The energy of a node is ``E(v) = log(e^{s_v} + sum of e^{E(u)} over its children u)``: a node
    stands for itself and all below it. With ``w_a = 1 / leaves below a``, the loss is the mean
    over the batch of

    - ``"root"``: ``L = sum_a w_a (E(root) - s_a)`` over the target's ancestors and itself;
    - ``"cousin"``: ``L = sum_a w_a (log(e^{s_a} + sum of e^{E(u)}) - s_a)``, u running over the
      siblings of a and of a's ancestors: neither ancestors nor descendants compete with a.

    At prediction, ``P(v) = e^{E(v) - E(root)}``.

    Shape:
        Node scores ``(B, n)``, the root's counts; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.
        form: ``"root"``, that of the author's code, or ``"cousin"``, that of the paper.

    Raises:
        ConfigError: Another form.
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Valmadre 2022, Hierarchical Classification at Multiple Operating Points, section 4.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> loss = DescendantSoftmaxLoss(tree)
        >>> loss(torch.zeros(1, 5), torch.tensor([3]))  # (1/3 + 1/2 + 1) log 5
        tensor(2.9506)
        >>> DescendantSoftmaxLoss(tree, form="cousin")(torch.zeros(1, 5), torch.tensor([3]))
        tensor(1.4452)
        >>> loss.node_probabilities(torch.zeros(1, 5))
        tensor([[1.0000, 0.6000, 0.2000, 0.2000, 0.2000]])
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "nodes"
    reads_root: ClassVar[bool] = True
    weights: Tensor

    def __init__(self, taxonomy: Taxonomy, *, form: Form = "root") -> None:
        super().__init__(taxonomy)
        if form not in ("root", "cousin"):
            raise ConfigError(f"form must be 'root' or 'cousin', but is {form!r}.")
        self.form = form
        weights = torch.tensor(1 / taxonomy.leaf_count.astype(np.float64), dtype=torch.float32)
        self.register_buffer("weights", weights, persistent=False)

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the weighted terms of the path of each image, summed ``(B,)``."""
        paths, on_path = paths_to(self.taxonomy, target_nodes)
        terms = self._against_all if self.form == "root" else self._against_cousins
        return (terms(scores, paths) * self.weights.to(scores)[paths] * on_path).sum(1)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax over all nodes, summed upwards ``(B, n)``."""
        return subtree_probabilities(self.taxonomy, scores)

    def _against_all(self, scores: Tensor, paths: Tensor) -> Tensor:
        rows = torch.arange(len(paths), device=paths.device).repeat_interleave(paths.shape[1])
        return -picked_log_softmax(scores, rows, paths.flatten()).view_as(paths)

    def _against_cousins(self, scores: Tensor, paths: Tensor) -> Tensor:
        length = paths.shape[1]
        depths = depths_of_common_ancestors(self.taxonomy, paths)
        # The nodes of the path go to depths of their own, so that only what turns off it is left.
        depths.scatter_(1, paths, depths.gather(1, paths) + length)
        sums = logsumexp_by_depth(scores, depths, 2 * length)
        turning, path = torch.split(sums, length, dim=1)
        below_root = log1p_exp(turning[:, :-1].logcumsumexp(1) - path[:, 1:])
        return torch.cat((torch.zeros_like(scores[:, :1]), below_root), dim=1)
