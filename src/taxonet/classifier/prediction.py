"""Prediction of any number of photos into files: streamed, resumable, whole or absent.

Rows are spooled as JSON lines into ``<out>.partial`` while the photos are read; the finished files
are written from the spool. So every format resumes in the same way, and memory does not grow with
the number of photos.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.classifier.calibration_scores import read_calibration_scores
from taxonet.classifier.classifier import TaxonClassifier
from taxonet.classifier.embedder import NamedImage
from taxonet.classifier.fingerprint import fingerprint
from taxonet.classifier.folder import identity
from taxonet.classifier.naming import Circumstances, Naming, naming_by_rule
from taxonet.classifier.node_table import NODE_COLUMNS, node_lines
from taxonet.classifier.restriction import classes_listed, classes_within, read_species_list
from taxonet.classifier.rows import Row, RowMaker
from taxonet.classifier.score_table import ScoreHeader, write_scores
from taxonet.classifier.source_prior import PriorChange, implied_prior, prior_weights
from taxonet.classifier.spanned import SpannedTree
from taxonet.classifier.species_weights import read_species_weights, weights_of_classes
from taxonet.classifier.spool import Spool
from taxonet.classifier.writers import writer_for
from taxonet.data.finding import count_images, find_images
from taxonet.devices import pick_workers
from taxonet.errors import ConfigError
from taxonet.files import file_digest, readable_path
from taxonet.inference.decision import RiskControlled
from taxonet.inference.rollup_choice import Rollup
from taxonet.progress import Progress
from taxonet.recipes import read_overrides
from taxonet.recipes.verbs import PredictConfig
from taxonet.registry import ROLLUPS
from taxonet.version import __version__

_OWN = "own"


@dataclass(frozen=True)
class PredictionSummary:
    """What a prediction run did."""

    out: Path
    images: int
    unreadable: int
    unknown: int
    resumed_from: int
    promise: str
    """What holds for the names, as every row says it."""
    notes: tuple[str, ...] = ()


def predict_to_file(config: PredictConfig, *, show_progress: bool = False) -> PredictionSummary:
    r"""Name photos into ``config.out``, a row each; likely taxa and scores into files of theirs.

    A photo is called by its path as it was given; bytes of a file name that are not UTF-8 stand
    as ``\udcNN`` (see `readable_path`), since none of the formats could hold them.

    Raises:
        ConfigError: A format is unknown, a file is there that must not be overwritten, the rollup
            or its options do not go with the classifier, or the restrictions leave no taxon.
        CheckpointError: The classifier's folder is incomplete or changed, or it has seen no
            calibration photos that a risk could rest on.
        DataError: A resume with another classifier, other options or other photos.
    """
    spool = Spool(config.out)
    _check_files(config, spool)
    classifier = TaxonClassifier.load(
        config.classifier, device=config.device, features=config.features
    )
    allowed, notes = _allowed(config, classifier)
    priors, about_priors = _priors(config, classifier)
    rollup = _rollup(config, classifier, restricted=allowed is not None)
    naming, more = _naming(config, classifier)
    given = Circumstances(
        rollup=rollup is not None,
        some_taxa=allowed is not None,
        renormalised=config.renormalise,
        other_shares=priors is not None,
    )
    naming = naming.under(given)
    maker = classifier.row_maker(
        naming=naming, top_k=config.top_k, node_probs_from=_node_probs_from(config)
    )
    workers = pick_workers(config.workers, count_images(config.images))
    if config.resume:
        rows_at_once = classifier.rows_at_once(config.batch_size)
        spool.go_on(_header(config), batch_size=rows_at_once)
    else:
        spool.begin(_header(config))
    rows = classifier.rows(
        _photos(config, spool),
        maker=maker,
        rollup=rollup,
        allowed=allowed,
        renormalise=config.renormalise,
        priors=priors,
        batch_size=config.batch_size,
        workers=workers,
    )
    with spool, Progress("naming photos", None, shown=show_progress, done=spool.done) as progress:
        for row in rows:
            spool.write(row)
            progress.advance()
    rules = _write_tables(config, spool, maker)
    if config.scores is not None:
        write_scores(spool.rows(), _score_header(config, classifier, given), config.scores)
    spool.remove()
    return PredictionSummary(
        out=config.out,
        images=rules.total(),
        unreadable=rules["unreadable"],
        unknown=rules["unknown"],
        resumed_from=spool.done,
        promise=naming.promise,
        notes=(*notes, *about_priors, *more),
    )


def _check_files(config: PredictConfig, spool: Spool) -> None:
    """Refuse what cannot be, before anything slow is done."""
    writer_for(config.out, "--out")
    spool.check(resume=config.resume)
    if config.node_probs is not None:
        writer_for(config.node_probs, "--node-probs")
    if config.scores is not None and config.scores.suffix.lower() != ".parquet":
        raise ConfigError(f"--scores must end in .parquet, got {config.scores}.")
    # A resumed run may find its own files: it was killed before it could remove the spool. Then
    # the rows, which are written first, are there too.
    may_be_ours = config.resume and config.out.exists()
    for option, path in (("--node-probs", config.node_probs), ("--scores", config.scores)):
        if path is not None and path.exists() and not may_be_ours:
            raise ConfigError(f"{path} exists already. Remove it or choose another {option}.")


def _write_tables(config: PredictConfig, spool: Spool, maker: RowMaker) -> Counter[str]:
    """Write the finished files from the spool; return how often each rule named a photo."""
    rules: Counter[str] = Counter()
    write = writer_for(config.out, "--out")
    write(_counting(spool.rows(), rules), maker.columns, config.out)
    if config.node_probs is not None:
        write = writer_for(config.node_probs, "--node-probs")
        write(node_lines(spool.rows(), maker.taxonomy), NODE_COLUMNS, config.node_probs)
    return rules


def _node_probs_from(config: PredictConfig) -> float | None:
    wanted = config.node_probs is not None or config.scores is not None
    return config.node_probs_from if wanted else None


def _naming(config: PredictConfig, classifier: TaxonClassifier) -> tuple[Naming, tuple[str, ...]]:
    """Return how names are chosen, and what the user should know of it."""
    if config.risk is None:
        return classifier.naming, ()
    scores = read_calibration_scores(config.classifier, wanted_by="--risk")
    policy = RiskControlled(config.risk, 1 - config.confidence)
    spanned = SpannedTree.of(classifier.taxonomy, classifier.class_nodes)
    rule = scores.fit(policy, spanned, source=classifier.calibration.source)
    naming = naming_by_rule(
        rule,
        classifier.taxonomy,
        classifier.class_nodes,
        classifier.class_counts,
        novelty_threshold=classifier.calibration.novelty_threshold,
    )
    return naming, policy.notes


def _score_header(
    config: PredictConfig, classifier: TaxonClassifier, given: Circumstances
) -> ScoreHeader:
    return ScoreHeader(
        classifier.taxonomy,
        classifier.class_nodes,
        classifier.class_counts,
        config.node_probs_from,
        classifier.calibration.novelty_threshold,
        fingerprint(classifier.parts),
        given,
    )


def _photos(config: PredictConfig, spool: Spool) -> Iterator[NamedImage]:
    for photo in spool.skip_done(find_images(config.images)):
        yield readable_path(photo), Path(photo)


def _counting(rows: Iterable[Row], rules: Counter[str]) -> Iterator[Row]:
    for row in rows:
        rules[row["rule"]] += 1
        yield row


_NOTE_ON_THRESHOLD = (
    "Probabilities are among the taxa that are left; the share of right names that the threshold "
    "was chosen for does not hold for them (--no-renormalise keeps it)."
)


def _header(config: PredictConfig) -> dict[str, Any]:
    listed = config.species_list
    return {
        "classifier": identity(config.classifier),
        "taxonet": __version__,
        "top_k": config.top_k,
        "rollup": config.rollup,
        "set": read_overrides(config.set),
        # By its name, so that the folder may move.
        "node_probs": None if config.node_probs is None else config.node_probs.name,
        "scores": None if config.scores is None else config.scores.name,
        "node_probs_from": _node_probs_from(config),
        "risk": config.risk,
        "confidence": config.confidence,
        "within": list(config.within),
        "species_list": None if listed is None else file_digest(listed),
        "renormalise": config.renormalise,
        "list_weights": config.list_weights,
        "source_prior": config.source_prior,
    }


def _rollup(
    config: PredictConfig, classifier: TaxonClassifier, *, restricted: bool
) -> Rollup | None:
    """Return the rollup, checked before the first photo; None for the head's own way."""
    rollup: Rollup = ROLLUPS.build(config.rollup, read_overrides(config.set))
    if config.rollup == _OWN:
        return None
    if restricted:
        raise ConfigError(
            "With --within or --species-list the probabilities of the classes that are left are "
            f"summed up, so that --rollup {config.rollup} has nothing to do: leave one of them out."
        )
    blank = classifier.reading.tree_scores(torch.zeros(1, classifier.reading.columns))
    if reason := rollup.why_not(blank):
        raise ConfigError(f"--rollup {config.rollup} makes no sense for this classifier: {reason}")
    rollup(blank)  # options out of range
    return rollup


def _priors(
    config: PredictConfig, classifier: TaxonClassifier
) -> tuple[PriorChange | None, tuple[str, ...]]:
    """Return the priors that the weights of the species list make, and what to say of them."""
    if config.species_list is None or config.list_weights is None:
        return None, ()
    kind = config.source_prior or implied_prior(classifier.parts.recipe)
    source = prior_weights(kind, classifier.class_counts)
    target = weights_of_classes(
        classifier.taxonomy,
        classifier.class_nodes,
        read_species_weights(config.species_list, config.list_weights),
        source=source,
    )
    note = (
        f"Probabilities are as if {int((target > 0).sum())} taxa were as common as "
        f"{config.list_weights} in {config.species_list} says, and not as the classifier has them "
        f"({kind}; see --source-prior)."
    )
    return PriorChange(source, target), (note,)


def _allowed(
    config: PredictConfig, classifier: TaxonClassifier
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return the classes that may be named, None for all, and what the user should know."""
    taxonomy, class_nodes = classifier.taxonomy, classifier.class_nodes
    masks, given, notes = [], [f"--within {text}" for text in config.within], []
    if config.within:
        masks.append(classes_within(taxonomy, class_nodes, config.within))
    if config.species_list is not None:
        names = read_species_list(config.species_list)
        listed, unknown = classes_listed(taxonomy, class_nodes, names)
        masks.append(listed)
        given.append(f"--species-list {config.species_list}")
        notes.append(
            f"The species list allows {int(listed.sum())} of {len(listed)} taxa; {len(unknown)} of "
            f"its {len(names)} names are not in the classifier"
            + (f" (first: {', '.join(unknown[:3])})." if unknown else ".")
        )
    if masks and config.renormalise:
        notes.append(_NOTE_ON_THRESHOLD)
    if not masks:
        return None, ()
    allowed = np.logical_and.reduce(masks)
    if not allowed.any():
        raise ConfigError(
            f"No taxon that the classifier can name is left by {' and '.join(given)}."
        )
    return allowed, tuple(notes)
