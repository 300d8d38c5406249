"""The heads that are compared on stored features: of taxonet by recipe, of scikit-learn by name."""

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taxonet.metrics import HitCounts, macro_recall

Features = NDArray[np.float32]
Labels = NDArray[np.str_]


@dataclass(frozen=True)
class HeadRow:
    """One row of the tables.

    Args:
        name: As the tables call it.
        recipe: A recipe of taxonet; empty for a row of scikit-learn.
        changes: Overrides of the recipe.
        parts: How many parts it has besides linear cross entropy: cosines, a correction by class
            counts, each margin, a setting of its own, a schedule of weights, a selection, a neck.
        may_be_default: Whether it is one stage of the trainer, as the head of ``quick`` has to be.
    """

    name: str
    recipe: str = ""
    changes: tuple[str, ...] = ()
    parts: int = 0
    may_be_default: bool = True


LINEAR_CE = "linear CE"

#: Logit adjustment has a tau of 1.5: with 1, the recipe's own, it is balanced softmax.
ROWS: tuple[HeadRow, ...] = (
    HeadRow(LINEAR_CE, "method/ce", parts=0),
    HeadRow("cosine CE", "method/cosine", parts=1),
    HeadRow("linear BS", "method/bs", parts=1),
    HeadRow("cosine BS", "method/dbm-bs", ("loss.max_margin_rad=0.0",), parts=2),
    HeadRow("linear LA", "method/la", ("loss.tau=1.5",), parts=2),
    HeadRow("CB", "method/cb", parts=1),
    HeadRow("focal", "method/focal", parts=1),
    HeadRow("LDAM", "method/ldam", parts=2),
    HeadRow("LDAM-DRW", "method/ldam-drw", parts=3),
    HeadRow("AM-Softmax", "method/cosface", parts=2),
    HeadRow("dual margin, sum", "method/dual-margin", parts=3),
    HeadRow("dual margin, max", "method/dual-margin", ("loss.normalise=max",), parts=3),
    HeadRow("DBM-CE", "method/dbm-ce", parts=2),
    HeadRow("DBM-BS", "method/dbm-bs", parts=3),
    HeadRow("DBM-DRW", "method/dbm-drw", parts=3),
    HeadRow("class-balanced sampling", "method/class-balanced-sampling", parts=1),
    HeadRow("mixup of embeddings", "method/mixup", parts=1),
    HeadRow(
        "dual margin, sum, norm-guided, linear neck",
        "taxonet",
        ("model.neck=linear", "batch_size=64"),
        parts=5,
    ),
    HeadRow("NCM", "method/ncm", may_be_default=False),
    HeadRow("PC", "method/pc", may_be_default=False),
    HeadRow("PC + CDT", "method/pc-cdt", may_be_default=False),
    HeadRow("PC + LA", "method/pc-la", may_be_default=False),
    HeadRow("PC + CDT + LA", "method/pc-cdt-la", may_be_default=False),
    HeadRow("cRT", "method/crt", may_be_default=False),
    HeadRow("tau-norm", "method/tau-norm", may_be_default=False),
    HeadRow("LWS", "method/lws", may_be_default=False),
    HeadRow("kNN", may_be_default=False),
    HeadRow("logistic regression", may_be_default=False),
    HeadRow("logistic regression, balanced", may_be_default=False),
)

_NEIGHBOURS = (1, 3, 5, 10, 20)
_STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)


def of_scikit_learn(name: str) -> Iterable[tuple[str, Any]]:
    """Return the models among which validation chooses, each with what tells it apart."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "kNN":
        for count in _NEIGHBOURS:
            yield f"k={count}", KNeighborsClassifier(count, metric="cosine")
        return
    weight = "balanced" if "balanced" in name else None
    for strength in _STRENGTHS:
        model = LogisticRegression(C=strength, class_weight=weight, max_iter=2000)
        yield f"C={strength:g}", make_pipeline(StandardScaler(), model)


def best_of_scikit_learn(
    name: str, train: tuple[Features, Labels], val: tuple[Features, Labels]
) -> tuple[str, Any]:
    """Fit all candidates and return the one of the highest validation macro recall.

    Of equals the first wins: fewer neighbours, stronger regularisation. A fit that did not
    converge says so, on the terminal and in what tells the model apart.
    """
    found = []
    for choice, model in of_scikit_learn(name):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(*train)
        if caught:
            choice += f" ({caught[0].category.__name__})"
            print(f"{name}, {choice}: {caught[0].message}", file=sys.stderr)
        found.append((macro_recall_of(val[1], model.predict(val[0])), choice, model))
    _, choice, model = max(found, key=lambda one: one[0])
    return choice, model


def macro_recall_of(truth: Labels, predicted: Labels) -> float:
    """Return the mean recall of the classes that have photos, as all tables define it.

    Scikit-learn's would count a class that is only predicted as one of recall 0.

    Examples:
        >>> macro_recall_of(np.array(["ash", "ash", "elm"]), np.array(["ash", "oak", "elm"]))
        0.75
    """
    labels, true_class = np.unique(truth, return_inverse=True)
    tally = HitCounts(len(labels))
    tally.update(true_class, truth == predicted)
    recall = macro_recall(tally)
    assert recall is not None
    return recall
