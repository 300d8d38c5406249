"""What becomes of the vectors of classes while a second stage is fitted."""

import numpy as np
from torch import nn

from taxonet.classifier import TrailPoint
from taxonet.data.long_tail import SHOT_GROUPS, shot_groups
from taxonet.losses import ClassCounts
from taxonet.metrics import pairwise_geometry
from taxonet.models import Head

#: Looks at the vectors besides the first: each costs the distances of all pairs of classes.
_LOOKS = 20


class Trail:
    """Looks now and then at the vectors of a head that is fitted; an `OnStep`.

    Args:
        class_counts: Training images of each class, which decide the shot groups.

    Attributes:
        points: What was seen so far.

    Reference:
        Learning Prototype Classifiers for Long-Tailed Recognition, Figure 3.

    Examples:
        >>> from taxonet.models import LinearHead
        >>> trail = Trail([200, 5])
        >>> for done in range(101):
        ...     trail(done, 100, LinearHead(2, 2))
        >>> len(trail.points), trail.points[1].batches, trail.points[1].pairs["many-few"].pairs
        (21, 5, 1)
    """

    def __init__(self, class_counts: ClassCounts) -> None:
        self._groups = [str(group) for group in shot_groups(np.asarray(class_counts))]
        self.points: list[TrailPoint] = []

    def __call__(self, done: int, total: int, module: nn.Module) -> None:
        """Look at the vectors, if the module has any and it is time."""
        due = done == total or done % max(1, total // _LOOKS) == 0
        if not (due and isinstance(module, Head)):
            return
        vectors = module.weight.detach().float().cpu().numpy()
        found = pairwise_geometry(vectors, self._groups, order=SHOT_GROUPS)
        self.points.append(TrailPoint(done, found.by_name()))
