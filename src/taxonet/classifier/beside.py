"""What lies in a classifier's folder beside the classifier itself."""

from pathlib import Path
from shutil import copyfile

from taxonet.classifier.calibration_scores import calibration_scores_file
from taxonet.classifier.index import copy_index
from taxonet.classifier.trail import trail_file


def copy_beside(old: Path, new: Path, *, scores: bool = True) -> None:
    """Copy what training left beside a classifier to one that has the same backbone and head.

    Figures of a judgement stay where they are: they are of the old classifier.

    Args:
        old: Folder of the classifier.
        new: Folder of the other one.
        scores: Also what it keeps of its calibration photos.
    """
    copy_index(old, new)
    files = [trail_file, *([calibration_scores_file] if scores else [])]
    for file_of in files:
        if file_of(old).is_file():
            file_of(new).parent.mkdir(exist_ok=True)
            copyfile(file_of(old), file_of(new))
