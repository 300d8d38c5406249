"""The trail of a second stage: how far apart the vectors of classes were while it was fitted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from taxonet.errors import CheckpointError
from taxonet.files import read_json, write_json
from taxonet.metrics import PairMeans


@dataclass(frozen=True)
class TrailPoint:
    """Where the vectors were after some batches.

    Attributes:
        batches: Batches done; 0 is the beginning.
        pairs: Mean distances and cosines by kind of pair, as `PairwiseGeometry.by_name` names them.
    """

    batches: int
    pairs: dict[str, PairMeans]


def trail_file(classifier: Path) -> Path:
    """Return where a classifier's folder has its trail, if it has one."""
    return classifier / "second_stage.json"


def write_trail(classifier: Path, points: Sequence[TrailPoint]) -> None:
    """Write the trail into a classifier's folder; a stage that fits nothing leaves none."""
    if points:
        write_json(trail_file(classifier), {"points": [asdict(point) for point in points]})


def read_trail(classifier: Path) -> tuple[TrailPoint, ...]:
    """Read the trail of a classifier's second stage; it is empty where there is none.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = trail_file(classifier)
    if not path.is_file():
        return ()
    try:
        return tuple(
            TrailPoint(
                int(point["batches"]),
                {name: PairMeans(**found) for name, found in point["pairs"].items()},
            )
            for point in read_json(path)["points"]
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} cannot be understood ({error}): remove it, or refit the classifier."
        ) from None
