"""A classifier as a folder: weights, taxonomy, settings, card. Loading runs no code from it."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from taxonet.classifier.adapter import adapter_of
from taxonet.classifier.card import model_card
from taxonet.classifier.decision_rule import DecisionRule, read_rule, write_rule
from taxonet.classifier.fingerprint import fingerprint
from taxonet.classifier.novelty import check_novelty_score, choice_of
from taxonet.classifier.parts import ClassifierParts
from taxonet.classifier.reading import Reading, reading_of
from taxonet.classifier.settings import FORMAT, Calibration, LearnedMap, Settings, Stored
from taxonet.errors import CheckpointError, ConfigError, DataError, TaxonomyError
from taxonet.files import atomic_folder, file_digest, read_json, write_json, write_text
from taxonet.inference.learned_diffusion import LearnedDiffusion
from taxonet.inference.novelty import FittedNovelty
from taxonet.models import Architecture, Head, Network, build_network
from taxonet.recipes import PartChoice, explain
from taxonet.registry import FITTED_NOVELTY_SCORES, HEADS
from taxonet.taxonomy import Taxonomy
from taxonet.version import __version__

Record = TypeVar("Record", bound=Stored)

_WEIGHTS, _TAXONOMY, _SETTINGS = "model.safetensors", "taxonomy.csv", "classifier.json"
_CALIBRATION, _CARD = "calibration.json", "README.md"
_LEARNED = "diffusion.safetensors"  # only where a map was fitted
_RULE = "decision.yaml"  # only where a policy was fitted
_NOVELTY = "novelty.safetensors"  # only where a novelty score was fitted
_NEEDED = (_WEIGHTS, _TAXONOMY, _SETTINGS, _CALIBRATION)
_DIGESTED = (_WEIGHTS, _TAXONOMY)


def save_parts(parts: ClassifierParts, folder: Path) -> None:
    """Write a classifier folder, whole or not at all; an older classifier there is replaced.

    Raises:
        ConfigError: The folder holds something else.
    """
    with atomic_folder(folder, replace=(folder / _SETTINGS).is_file()) as temporary:
        state = {name: tensor.contiguous() for name, tensor in parts.network.state_dict().items()}
        save_file(state, temporary / _WEIGHTS)
        if parts.learned is not None:
            save_file(parts.learned.state_dict(), temporary / _LEARNED)
        if parts.novelty is not None:
            save_file(parts.novelty.state_dict(), temporary / _NOVELTY)
        _write_taxonomy(parts.taxonomy, temporary / _TAXONOMY)
        write_json(temporary / _CALIBRATION, parts.calibration.model_dump())
        if parts.rule is not None:
            write_rule(parts.rule, temporary / _RULE)
        write_json(temporary / _SETTINGS, _settings(parts, temporary).model_dump())
        write_text(temporary / _CARD, model_card(parts))


def load_parts(folder: Path) -> ClassifierParts:
    """Read a classifier folder, checking that it is complete and unchanged.

    Raises:
        CheckpointError: A file is missing, changed, or of another format; the message names it.
    """
    _require_complete(folder)
    settings = _read_settings(folder / _SETTINGS)
    _check_digests(settings, folder)
    calibration = _validated(_read(folder / _CALIBRATION), Calibration, folder / _CALIBRATION)
    taxonomy = _read_taxonomy(folder / _TAXONOMY, ranks=settings.ranks)
    try:
        class_nodes = [taxonomy.node(path) for path in settings.classes]
    except TaxonomyError as error:
        raise CheckpointError(f"{folder / _SETTINGS} does not fit {_TAXONOMY}: {error}") from None
    nodes = np.array(class_nodes, dtype=np.int64)
    counts = np.array(settings.class_counts, dtype=np.int64)
    reading = reading_of(settings.recipe, taxonomy, nodes, counts)
    network = _read_network(folder, settings, reading)
    novelty = _read_novelty(folder, settings, dim=network.head.embedding_size)
    try:
        check_novelty_score(calibration, novelty)
    except ConfigError as error:
        raise CheckpointError(f"{folder / _CALIBRATION}: {error}") from None
    parts = ClassifierParts(
        network=network,
        taxonomy=taxonomy,
        class_nodes=nodes,
        class_counts=counts,
        preprocessing=settings.preprocessing,
        calibration=calibration,
        recipe=settings.recipe,
        learned=_read_learned(folder, settings, reading.tree),
        rule=_read_rule(folder / _RULE, reading.tree),
        novelty=novelty,
        weights_origin=settings.weights_origin,
    )
    if parts.rule is not None and parts.rule.probabilities not in (None, fingerprint(parts)):
        raise CheckpointError(
            f"{folder / _RULE} was fitted to the probabilities of another classifier: run "
            "`taxonet calibrate --policy` on this one."
        )
    return parts


def identity(folder: Path) -> str:
    """Return the hashes of what decides a prediction: weights, taxonomy, settings, decisions."""
    files = [folder / name for name in (*_NEEDED, _RULE)]
    return "-".join(file_digest(file)[:16] for file in files if file.is_file())


def _write_taxonomy(taxonomy: Taxonomy, path: Path) -> None:
    """Write a tree with ranks as a table, and one without as an edge list."""
    if taxonomy.ranks:
        taxonomy.write_table(path)
    else:
        taxonomy.write_edges(path)


def _read_taxonomy(path: Path, *, ranks: tuple[str, ...]) -> Taxonomy:
    return Taxonomy.from_table(path, ranks=ranks) if ranks else Taxonomy.from_edges(path)


def _read_network(folder: Path, settings: Settings, reading: Reading) -> Network:
    model, known = settings.recipe.model, settings.architecture
    network = build_network(
        backbone=model.backbone,
        head=model.head,
        classes=reading.columns,
        seed=settings.recipe.seed,
        experts=model.experts,
        head_options=reading.head_options(model.head),
        options=model.options,
        architecture=None if known is None else _read_architecture(folder, known),
        colours=settings.preprocessing,
        neck=model.neck,
        adapter=adapter_of(model),
    )
    if settings.head is not None:
        choice, size = settings.head, network.head.embedding_size
        network.head = HEADS.build(choice.name, choice.options, size, reading.columns)
    try:
        network.load_state_dict(load_file(folder / _WEIGHTS))
    except RuntimeError as error:
        raise CheckpointError(f"{folder / _WEIGHTS} does not fit {_SETTINGS}: {error}") from None
    return network.eval()


def _read_architecture(folder: Path, values: dict[str, Any]) -> Architecture:
    try:
        return Architecture.from_dict(values)
    except ConfigError as error:
        raise CheckpointError(f"{folder / _SETTINGS}: {error}") from None


def _read_learned(folder: Path, settings: Settings, tree: Taxonomy) -> LearnedDiffusion | None:
    if settings.learned is None:
        return None
    learned = LearnedDiffusion(tree, form=settings.learned.form, rank=settings.learned.rank)
    try:
        learned.load_state_dict(load_file(folder / _LEARNED))
    except RuntimeError as error:
        raise CheckpointError(f"{folder / _LEARNED} does not fit {_SETTINGS}: {error}") from None
    return learned.eval().requires_grad_(False)


def _read_rule(path: Path, tree: Taxonomy) -> DecisionRule | None:
    if not path.is_file():
        return None
    try:
        rule = read_rule(path)
        rule.check(tree)
    except (ConfigError, DataError) as error:
        raise CheckpointError(f"{path} does not fit the classifier: {error}") from None
    return rule


def _read_novelty(folder: Path, settings: Settings, *, dim: int) -> FittedNovelty | None:
    choice, sizes = settings.novelty, (dim, len(settings.classes))
    if choice is None:
        return None
    novelty: FittedNovelty = FITTED_NOVELTY_SCORES.build(choice.name, choice.options, *sizes)
    try:
        novelty.load_state_dict(load_file(folder / _NOVELTY))
    except RuntimeError as error:
        raise CheckpointError(f"{folder / _NOVELTY} does not fit {_SETTINGS}: {error}") from None
    return novelty.eval()


def _settings(parts: ClassifierParts, folder: Path) -> Settings:
    taxonomy, learned, architecture = parts.taxonomy, parts.learned, parts.network.architecture
    return Settings(
        taxonet=__version__,
        digests={name: file_digest(folder / name) for name in _digested(parts)},
        ranks=taxonomy.ranks,
        classes=tuple(taxonomy.path(int(node)) for node in parts.class_nodes),
        class_counts=tuple(parts.class_counts.tolist()),
        preprocessing=parts.preprocessing,
        recipe=parts.recipe,
        architecture=None if architecture is None else architecture.to_dict(),
        head=None if parts.recipe.second_stage is None else _head_choice(parts.network.head),
        learned=None if learned is None else LearnedMap(form=learned.form, rank=learned.rank),
        novelty=None if parts.novelty is None else choice_of(parts.novelty),
        weights_origin=parts.weights_origin,
    )


def _digested(made: ClassifierParts | Settings) -> tuple[str, ...]:
    optional = ((_LEARNED, made.learned), (_NOVELTY, made.novelty))
    return (*_DIGESTED, *(name for name, part in optional if part is not None))


def _head_choice(head: Head) -> PartChoice:
    (name,) = (name for name in HEADS.names() if HEADS.get(name) is type(head))
    options = {option: getattr(head, option) for option in HEADS.options(name).model_fields}
    return PartChoice(name=name, **options)


def _require_complete(folder: Path) -> None:
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} is no complete classifier: {name} is missing. Expected the folder "
                "`classifier` that `taxonet train` writes."
            )


def _read_settings(path: Path) -> Settings:
    content = _read(path)
    found = content if isinstance(content, dict) else {}
    # Before its keys are looked at: those of another format may well be others.
    if found.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {found.get('format')!r}, and this taxonet {__version__} reads "
            f"format {FORMAT}. It was written by taxonet {found.get('taxonet', '(unknown)')}."
        )
    return _validated(content, Settings, path)


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except ValueError as error:  # no JSON, or no UTF-8
        raise CheckpointError(f"{path} is damaged: {error}. Copy the folder again.") from None


def _validated(content: Any, kind: type[Record], path: Path) -> Record:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(explain(error, kind, what=str(path))) from None


def _check_digests(settings: Settings, folder: Path) -> None:
    for name in _digested(settings):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} is no complete classifier: {name} is missing. Copy the whole folder "
                "again."
            )
        if file_digest(folder / name) != settings.digests.get(name):
            raise CheckpointError(
                f"{folder / name} is not the file that was saved with this classifier (its "
                "SHA-256 differs). Copy the whole folder again."
            )
