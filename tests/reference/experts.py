"""The losses of several experts again, slowly, in loops over images, classes and experts."""

from collections.abc import Sequence
from math import acos, cos, exp, log

Scores = Sequence[Sequence[Sequence[float]]]  # experts, images, classes


def softmax(logits: Sequence[float]) -> list[float]:
    powers = [exp(logit) for logit in logits]
    return [power / sum(powers) for power in powers]


def kl(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True))


def dbm_scaled(
    cosines: Sequence[float], y: int, counts: Sequence[int], *, max_margin: float, scale: float
) -> list[float]:
    """Eq. 6 to 9 of the DBM paper, lambda = 1, tau = 1."""
    margin = max_margin * min(counts) / counts[y]
    if max(cosines) > cosines[y]:
        margin += margin * (1 - cosines[y]) / 2
    margined = [*cosines]
    margined[y] = cos(acos(cosines[y]) + margin)
    return [scale * z for z in margined]


def nested_collaborative(
    experts: Scores,
    target: Sequence[int],
    *,
    counts: Sequence[int],
    hard_classes: int,
    factor: float,
    dbm_margin: float | None = None,
) -> float:
    """As the authors' code has it: log counts, zeros outside the hard classes."""
    total = 0.0
    for b, y in enumerate(target):
        first = experts[0][b]
        others = sorted((k for k in range(len(counts)) if k != y), key=lambda k: -first[k])
        hard = {y, *others[: hard_classes - 1]}
        kinds: tuple[list[list[float]], list[list[float]]] = ([], [])
        for expert in experts:
            scores = list(expert[b])
            if dbm_margin is not None:
                scores = dbm_scaled(scores, y, counts, max_margin=dbm_margin, scale=32.0)
            adjusted = [score + log(n) for score, n in zip(scores, counts, strict=True)]
            kinds[0].append(adjusted)
            kinds[1].append([a if k in hard else 0.0 for k, a in enumerate(adjusted)])
        for kind in kinds:
            probs = [softmax(logits) for logits in kind]
            total += sum(-log(p[y]) for p in probs)
            mutual = 0.0
            for i in range(len(probs)):
                for j in range(len(probs)):
                    if i != j:
                        mutual += kl(probs[j], probs[i])
            total += factor * mutual / (len(probs) - 1)
    return total / len(target)


def ride(
    experts: Scores,
    target: Sequence[int],
    *,
    counts: Sequence[int],
    margins: Sequence[float],
    scale: float,
    diversity_weight: float,
    temperature: float,
    frequency_share: float,
    class_weights: Sequence[float] | None = None,
) -> float:
    classes, images = len(counts), sum(counts)
    raw = [frequency_share * classes * n / images + 1 - frequency_share for n in counts]
    temperatures = [temperature * b / max(raw) for b in raw]
    mean_temperature = sum(temperatures) / classes
    weights = class_weights or [1.0] * classes
    total = 0.0
    for expert in experts:
        weighed, divergence = 0.0, 0.0
        for b, y in enumerate(target):
            logits = [scale * z for z in expert[b]]
            margined = [*logits]
            margined[y] -= scale * margins[y]
            weighed += weights[y] * -log(softmax(margined)[y])
            mean = [sum(scale * e[b][k] for e in experts) / len(experts) for k in range(classes)]
            common = softmax([m / t for m, t in zip(mean, temperatures, strict=True)])
            own = softmax([m / t for m, t in zip(logits, temperatures, strict=True)])
            divergence += kl(common, own)
        total += weighed / sum(weights[y] for y in target)
        total -= diversity_weight * mean_temperature**2 * divergence / len(target)
    return total


def ace(
    experts: Scores,
    target: Sequence[int],
    *,
    counts: Sequence[int],
    most_images: Sequence[int],
    suppression: float,
) -> float:
    total = 0.0
    for expert, bound in zip(experts, [max(counts), *most_images], strict=True):
        own_classes = [k for k, count in enumerate(counts) if count <= bound]
        own = [b for b, y in enumerate(target) if y in own_classes]
        for b in own:
            squares = sum(expert[b][k] ** 2 for k in range(len(counts)) if k not in own_classes)
            cost = -log(softmax(expert[b])[target[b]]) + suppression * squares
            total += cost / len(own)
    return total
