"""The verb `benchmark chat`: a chat model names photos, and is judged as a classifier is."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taxonet.benchmark.chat.answering import AnsweredPhoto, Answering, AskedAs
from taxonet.benchmark.chat.asking import Asker
from taxonet.benchmark.chat.beside import (
    classes_in_tree,
    counts_of_classifier,
    named_by_classifier,
)
from taxonet.benchmark.chat.budget import Budget
from taxonet.benchmark.chat.cache import AnswerCache
from taxonet.benchmark.chat.endpoints import PROTOCOLS, Endpoint, key_from_environment
from taxonet.benchmark.chat.figures import level_figures
from taxonet.benchmark.chat.judged import (
    LEVELS,
    IntArray,
    JudgedPhotos,
    below,
    counts_of_photos,
    photos_to_judge,
    require_levels,
)
from taxonet.benchmark.chat.pace import Pace
from taxonet.benchmark.chat.parsing import OUTCOMES, ReplyReader
from taxonet.benchmark.chat.prompts import PERSONA, question_text
from taxonet.benchmark.chat.rows import write_rows
from taxonet.benchmark.chat.workers import in_threads
from taxonet.classifier import TaxonClassifier
from taxonet.errors import ConfigError
from taxonet.files import write_json
from taxonet.progress import Progress
from taxonet.recipes import read_overrides
from taxonet.recipes.verbs import ChatConfig
from taxonet.taxonomy import Synonyms, Taxonomy
from taxonet.version import __version__


@dataclass(frozen=True)
class ChatBenchmark:
    """What a run found.

    Args:
        rows: The file with a row for each photo.
        metrics: What ``metrics.json`` holds.
    """

    rows: Path
    metrics: dict[str, Any]


def benchmark_chat(
    config: ChatConfig,
    *,
    show_progress: bool = False,
    sleep: Callable[[float], object] | None = None,
) -> ChatBenchmark:
    """Ask a chat model about labelled photos; write a row for each, and figures over all.

    Every finished question is kept on the disk at once. A run that ends early, by Ctrl-C, a spent
    limit or a kill, goes on with the same call and asks nothing twice.

    Args:
        config: The verb's options.
        show_progress: Show how far it has come and what it has cost.
        sleep: How to wait between attempts; by default really.

    Raises:
        ConfigError: Options that cannot work, or an endpoint that refuses the key or the model.
        DataError: No photo to judge by, a spent limit, or an endpoint that does not answer.
        TaxonomyError: The taxonomy or the synonyms cannot be read.
    """
    prepared = _prepare(config)
    photos, taxonomy = prepared.photos, prepared.taxonomy
    budget = Budget(
        config.price_per_million_input, config.price_per_million_output, max_cost=config.max_cost
    )
    pace = Pace(config.requests_per_minute, sleep=sleep)
    reader = ReplyReader(taxonomy, prepared.synonyms)
    timeout, seed = config.timeout_seconds, config.seed
    with Asker(prepared.endpoint, pace, timeout_seconds=timeout, seed=seed) as asker:
        answering = Answering(
            photos.table,
            prepared.asked_as,
            asker=asker,
            cache=AnswerCache(config.out / "cache" if config.cache is None else config.cache),
            budget=budget,
            reader=reader,
            retry_failed=config.retry_failed,
        )
        answered = _ask_all(config, answering, len(photos.table), pace, budget, show_progress)
    metrics = _metrics(config, prepared, answered, budget)
    if prepared.classifier is not None:
        named = named_by_classifier(
            prepared.classifier,
            photos,
            taxonomy,
            batch_size=config.batch_size,
            show_progress=show_progress,
        )
        metrics["classifier"] = _figures(config, prepared, named)
    rows = config.out / f"answers.{config.rows}"
    write_rows(photos, answered, taxonomy, rows)
    write_json(config.out / "metrics.json", metrics)
    return ChatBenchmark(rows, metrics)


@dataclass(frozen=True)
class _Prepared:
    """All that a run needs, checked before the first question."""

    endpoint: Endpoint
    asked_as: AskedAs
    taxonomy: Taxonomy
    synonyms: Synonyms
    photos: JudgedPhotos
    train_counts: IntArray | None
    """Training photos at or below each node, where they are known."""
    classifier: TaxonClassifier | None


def _prepare(config: ChatConfig) -> _Prepared:
    endpoint = Endpoint(config.endpoint, config.protocol, key_from_environment(config.key_variable))
    settings = _settings(config)
    classifier = _classifier(config)
    taxonomy = _taxonomy(config, classifier)
    require_levels(taxonomy)
    known, counts = _known_taxa(config, classifier, taxonomy)
    species = sorted({taxonomy.names[node] for node in taxonomy.at_rank("species").tolist()})
    return _Prepared(
        endpoint=endpoint,
        asked_as=AskedAs(
            protocol=config.protocol,
            model=config.model,
            system=PERSONA,
            user=question_text(config.prompt, species if config.candidates else None),
            max_side=config.max_side,
            temperature=config.temperature,
            settings=settings,
        ),
        taxonomy=taxonomy,
        synonyms=Synonyms() if config.synonyms is None else Synonyms.from_table(config.synonyms),
        photos=photos_to_judge(config.images, taxonomy, split=config.split, known=known),
        train_counts=None if counts is None else below(counts, taxonomy),
        classifier=classifier,
    )


def _settings(config: ChatConfig) -> dict[str, Any]:
    """Return the further keys of the request, which have to be JSON and nobody else's."""
    settings = read_overrides(config.set)
    if taken := sorted(PROTOCOLS[config.protocol].reserved & set(settings)):
        raise ConfigError(f"--set cannot change {', '.join(taken)}: taxonet sets that itself.")
    try:
        json.dumps(settings, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"--set must hold what JSON can hold: text, finite numbers, true, false, null, lists, "
            f"and mappings with text as keys ({error})."
        ) from None
    return settings


def _classifier(config: ChatConfig) -> TaxonClassifier | None:
    if config.classifier is None:
        return None
    return TaxonClassifier.load(config.classifier, device=config.device)


def _taxonomy(config: ChatConfig, classifier: TaxonClassifier | None) -> Taxonomy:
    if config.taxonomy is not None:
        return Taxonomy.from_file(
            config.taxonomy, ranks=config.ranks or None, label=config.label_column
        )
    assert classifier is not None  # the config asks for one of the two
    return classifier.taxonomy


def _known_taxa(
    config: ChatConfig, classifier: TaxonClassifier | None, taxonomy: Taxonomy
) -> tuple[IntArray | None, IntArray | None]:
    """Return the nodes that are judged, ``(c,)``, and the training photos of each node, ``(n,)``.

    None stands for all nodes, and for no counts.
    """
    if classifier is not None:
        classes = classes_in_tree(classifier, taxonomy)
        return classes, counts_of_classifier(classifier, classes, taxonomy)
    if config.train_images is not None:
        counts = counts_of_photos(config.train_images, taxonomy)
        return np.flatnonzero(counts), counts
    return None, None


def _ask_all(
    config: ChatConfig,
    answering: Answering,
    count: int,
    pace: Pace,
    budget: Budget,
    show_progress: bool,
) -> list[AnsweredPhoto]:
    if config.max_cost is not None:  # else the first questions would not know what is spent
        with Progress("counting earlier answers", count, shown=show_progress) as progress:
            for place in range(count):
                answering.count_kept(place)
                progress.advance()
    answered: dict[int, AnsweredPhoto] = {}
    results = in_threads(answering.answer, count, workers=config.workers, stop=pace.stop)
    with (
        closing(results),
        Progress(f"asking {config.model}", count, shown=show_progress) as progress,
    ):
        for place, one in results:
            answered[place] = one
            cost = budget.cost
            progress.advance(note="" if cost is None else f"cost {cost:.4g}")
    return [answered[place] for place in range(count)]


def _metrics(
    config: ChatConfig, prepared: _Prepared, answered: Sequence[AnsweredPhoto], budget: Budget
) -> dict[str, Any]:
    outcomes = Counter(one.naming.outcome for one in answered)
    asked = prepared.asked_as
    return {
        "taxonet": __version__,
        "images": str(config.images),
        "split": config.split,
        "photos": prepared.photos.facts,
        "endpoint": prepared.endpoint.url,
        "protocol": asked.protocol,
        "model": asked.model,
        "prompt": config.prompt,
        "system": asked.system,
        "user": asked.user,
        "temperature": asked.temperature,
        "settings": dict(asked.settings),
        "max_side": asked.max_side,
        "outcomes": {outcome: outcomes[outcome] for outcome in OUTCOMES},
        "tokens": {
            "input": budget.input_tokens,
            "output": budget.output_tokens,
            "answers_without_count": budget.uncounted,
        },
        "cost": budget.cost,
        "shot_bounds": {"few_below": config.few_below, "many_above": config.many_above},
        "chat": _figures(config, prepared, _named(answered)),
    }


def _named(answered: Sequence[AnsweredPhoto]) -> dict[str, IntArray]:
    pairs = [(one.naming.genus, one.naming.species) for one in answered]
    nodes = np.array([[-1 if node is None else node for node in pair] for pair in pairs])
    return {rank: nodes[:, place] for place, rank in enumerate(LEVELS)}


def _figures(config: ChatConfig, prepared: _Prepared, named: dict[str, IntArray]) -> dict[str, Any]:
    return level_figures(
        prepared.photos.truth,
        named,
        prepared.taxonomy,
        train_counts=prepared.train_counts,
        few_below=config.few_below,
        many_above=config.many_above,
    )
