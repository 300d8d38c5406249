"""Other priors, image by image and class by class."""

from collections.abc import Sequence

Row = Sequence[float]


def slow_with_priors(probs: Sequence[Row], source: Row, target: Row) -> list[list[float]]:
    """Bayes' theorem with the likelihoods p(k|x) p(x) / source_k, in which p(x) cancels."""
    found = []
    for row in probs:
        joint = [
            target[k] / sum(target) * row[k] / (source[k] / sum(source)) for k in range(len(row))
        ]
        evidence = sum(joint)
        found.append([part / evidence for part in joint])
    return found


def slow_em(probs: Sequence[Row], source: Row, iterations: int) -> list[float]:
    """Let every image vote for its classes, and call the mean vote the next prior."""
    priors = [share / sum(source) for share in source]
    for _ in range(iterations):
        votes = [0.0] * len(source)
        for row in slow_with_priors(probs, source, priors):
            for k, part in enumerate(row):
                votes[k] += part
        priors = [vote / len(probs) for vote in votes]
    return priors
