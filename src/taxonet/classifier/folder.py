"""A classifier as a folder: weights, taxonomy, settings, card. Loading runs no code from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from taxonet.classifier.card import model_card
from taxonet.classifier.settings import Calibration, Preprocessing
from taxonet.errors import CheckpointError
from taxonet.files import atomic_folder, file_digest, read_json, write_json, write_text
from taxonet.models import Network, build_network
from taxonet.recipes import Recipe
from taxonet.taxonomy import Taxonomy
from taxonet.version import __version__

_FORMAT = 1
_WEIGHTS, _TAXONOMY, _SETTINGS = "model.safetensors", "taxonomy.csv", "classifier.json"
_CALIBRATION, _CARD = "calibration.json", "README.md"


@dataclass(frozen=True)
class ClassifierParts:
    """Everything that the folder holds, in memory."""

    network: Network
    taxonomy: Taxonomy
    class_nodes: NDArray[np.int64]
    class_counts: NDArray[np.int64]
    preprocessing: Preprocessing
    calibration: Calibration
    recipe: Recipe


def save_parts(parts: ClassifierParts, folder: Path) -> None:
    """Write a classifier folder, whole or not at all."""
    with atomic_folder(folder) as temporary:
        state = {name: tensor.contiguous() for name, tensor in parts.network.state_dict().items()}
        save_file(state, temporary / _WEIGHTS)
        _write_taxonomy(parts.taxonomy, temporary / _TAXONOMY)
        write_json(temporary / _CALIBRATION, parts.calibration.model_dump())
        write_json(temporary / _SETTINGS, _settings(parts, temporary))
        write_text(temporary / _CARD, model_card(parts))


def load_parts(folder: Path) -> ClassifierParts:
    """Read a classifier folder, checking that it is complete and unchanged.

    Raises:
        CheckpointError: A file is missing, changed, or of a newer format; the message names it.
    """
    for name in (_SETTINGS, _WEIGHTS, _TAXONOMY, _CALIBRATION):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} is no complete classifier: {name} is missing. Expected the folder "
                "`classifier` that `taxonet train` writes."
            )
    settings = read_json(folder / _SETTINGS)
    _check(settings, folder)
    try:
        recipe = Recipe.model_validate(settings["recipe"])
        preprocessing = Preprocessing.model_validate(settings["preprocessing"])
        calibration = Calibration.model_validate(read_json(folder / _CALIBRATION))
    except (ValidationError, KeyError) as error:
        raise CheckpointError(f"{folder / _SETTINGS} cannot be understood: {error}") from None
    taxonomy = _read_taxonomy(folder / _TAXONOMY, ranks=settings["ranks"])
    class_nodes = np.array([taxonomy.node(tuple(path)) for path in settings["classes"]])
    network = build_network(
        backbone=recipe.model.backbone,
        head=recipe.model.head,
        classes=len(class_nodes),
        seed=recipe.seed,
    )
    try:
        network.load_state_dict(load_file(folder / _WEIGHTS))
    except RuntimeError as error:
        raise CheckpointError(f"{folder / _WEIGHTS} does not fit {_SETTINGS}: {error}") from None
    return ClassifierParts(
        network=network.eval(),
        taxonomy=taxonomy,
        class_nodes=class_nodes.astype(np.int64),
        class_counts=np.array(settings["class_counts"], dtype=np.int64),
        preprocessing=preprocessing,
        calibration=calibration,
        recipe=recipe,
    )


def identity(folder: Path) -> str:
    """Return one hash over what decides a prediction: weights, taxonomy, settings, calibration."""
    names = (_WEIGHTS, _TAXONOMY, _SETTINGS, _CALIBRATION)
    return "-".join(file_digest(folder / name)[:16] for name in names)


def _write_taxonomy(taxonomy: Taxonomy, path: Path) -> None:
    """Write a tree with ranks as a table, and one without as an edge list."""
    if taxonomy.ranks:
        taxonomy.write_table(path)
    else:
        taxonomy.write_edges(path)


def _read_taxonomy(path: Path, *, ranks: list[str]) -> Taxonomy:
    return Taxonomy.from_table(path, ranks=ranks) if ranks else Taxonomy.from_edges(path)


def _settings(parts: ClassifierParts, folder: Path) -> dict[str, Any]:
    taxonomy = parts.taxonomy
    return {
        "format": _FORMAT,
        "taxonet": __version__,
        "digests": {name: file_digest(folder / name) for name in (_WEIGHTS, _TAXONOMY)},
        "ranks": list(taxonomy.ranks),
        "classes": [list(taxonomy.path(int(node))) for node in parts.class_nodes],
        "class_counts": parts.class_counts.tolist(),
        "preprocessing": parts.preprocessing.model_dump(),
        "recipe": parts.recipe.model_dump(),
    }


def _check(settings: dict[str, Any], folder: Path) -> None:
    if settings.get("format") != _FORMAT:
        raise CheckpointError(
            f"{folder} has format {settings.get('format')!r}; this taxonet {__version__} "
            f"reads format {_FORMAT}. It was written by taxonet {settings.get('taxonet')}."
        )
    for name, digest in settings["digests"].items():
        if file_digest(folder / name) != digest:
            raise CheckpointError(
                f"{folder / name} is not the file that was saved with this classifier (its "
                "SHA-256 differs). Copy the whole folder again."
            )
