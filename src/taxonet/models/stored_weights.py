"""Weights as they are stored: one file, a folder, a repository of the hub, a taxonet classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from timm.models import load_state_dict
from torch import Tensor

from taxonet.errors import CheckpointError, ConfigError
from taxonet.files import file_digest, read_json
from taxonet.models.hub import WEIGHT_FILES, fetch_file, first_line, without_network
from taxonet.models.weights import CLASSIFIER, WeightsSource

_WEIGHTS = "model.safetensors"
_OF_BACKBONE = "backbone."


def weights_file(source: WeightsSource, name: str, *, files: Sequence[str] = WEIGHT_FILES) -> Path:
    """Return the file that holds the weights of a ``file``, ``folder`` or ``hub`` source.

    Args:
        source: Where they come from.
        name: The backbone, for errors.
        files: What such a file may be called in a folder or repository, the preferred name first.

    Raises:
        CheckpointError: The folder or the hub has no such file, or the hub does not answer.
    """
    if source.kind == "file":
        return source.path
    if source.kind == "hub":
        return fetch_file(
            source.where,
            files,
            wanted=f"The weights of backbone {name!r}",
            instead=without_network(f"{files[0]} of {source.where}"),
        )
    for file in files:
        if (source.path / file).is_file():
            return source.path / file
    raise CheckpointError(
        f"The folder {source.where} holds no weights of backbone {name!r}: there is no "
        f"{' and no '.join(files)} in it."
    )


def stored_config(source: WeightsSource, file: str) -> dict[str, Any]:
    """Return the JSON file that lies next to the weights of a ``folder`` or ``hub`` source.

    Raises:
        CheckpointError: It is missing, is no JSON object, or the hub does not answer.
    """
    if source.kind == "hub":
        path = fetch_file(
            source.where,
            [file],
            wanted=f"The description of the weights {source.where}",
            instead=without_network(f"the weights of {source.where}"),
        )
    else:
        path = source.path / file
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise CheckpointError(
            f"The folder {source.where} has no {file}, which says what its weights belong to. Set "
            "model.weights to the file of weights itself if you know that it fits."
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no JSON object.")
    return content


def read_weights(path: Path, name: str) -> dict[str, Tensor]:
    """Read the tensors of a file by name; no code in it is run.

    Raises:
        CheckpointError: The file cannot be read.
    """
    try:
        state: dict[str, Tensor] = load_state_dict(str(path), weights_only=True)
    except Exception as error:
        # A damaged file fails in whatever way its reader does.
        raise CheckpointError(
            f"The weights of backbone {name!r} cannot be read from {path}: {first_line(error)}"
        ) from error
    return state


def read_classifier(folder: Path) -> dict[str, Any]:
    """Return the settings of a classifier whose backbone is a start for another.

    Raises:
        CheckpointError: The settings cannot be read.
    """
    try:
        settings = read_json(folder / CLASSIFIER)
        settings["recipe"]["model"]["backbone"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / CLASSIFIER} is not what taxonet writes ({first_line(error)}): copy the "
            "folder of the classifier again."
        ) from None
    found: dict[str, Any] = settings
    return found


def classifier_weights(folder: Path) -> Path:
    """Return the file that holds the weights of a classifier."""
    return folder / _WEIGHTS


def read_classifier_backbone(folder: Path, name: str) -> dict[str, Tensor]:
    """Read the tensors of the backbone of a taxonet classifier.

    Args:
        folder: What ``taxonet train`` writes as ``classifier``.
        name: The backbone that they are for.

    Raises:
        ConfigError: The classifier has another backbone; its input would be another one too.
        CheckpointError: A file is missing or changed.
    """
    settings, path = read_classifier(folder), classifier_weights(folder)
    known = settings["recipe"]["model"]["backbone"]
    if known != name:
        raise ConfigError(
            f"The classifier {folder} has the backbone {known!r}, and its weights are asked for "
            f"{name!r}: set model.backbone to {known!r}."
        )
    try:
        digest, state = file_digest(path), load_file(path)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}") from error
    if digest != settings.get("digests", {}).get(path.name):
        raise CheckpointError(
            f"{path} is not the file that was saved with this classifier (its SHA-256 differs). "
            "Copy the whole folder again."
        )
    return {
        key.removeprefix(_OF_BACKBONE): value
        for key, value in state.items()
        if key.startswith(_OF_BACKBONE)
    }
