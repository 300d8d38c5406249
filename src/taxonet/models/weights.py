"""The recipe key `model.weights`: its values, and tensors from files into a module."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from torch import Tensor, nn

from taxonet.errors import CheckpointError, ConfigError, did_you_mean

VALUES: Final = (
    "none, pretrained, a file (.safetensors, .pth or .pt), hf-hub:OWNER/NAME, local-dir:FOLDER, or "
    "the folder of a taxonet classifier"
)
_HUB, _FOLDER = "hf-hub:", "local-dir:"
_FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
#: The file that makes a folder a taxonet classifier.
CLASSIFIER: Final = "classifier.json"
#: Old files lack this counter of batches, which prediction never reads.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a backbone come from.

    Attributes:
        kind: ``none`` random, ``published`` those of the backbone's name, ``file``, ``hub`` a
            repository, ``folder`` one as timm and the hub save it, ``classifier`` one of taxonet.
        where: The path, or ``OWNER/NAME`` on the hub; empty for the first two kinds.
    """

    kind: Literal["none", "published", "file", "hub", "folder", "classifier"]
    where: str = ""

    @property
    def path(self) -> Path:
        """The file or folder."""
        return Path(self.where)


def parse_weights(text: str) -> WeightsSource:
    """Return the source that a value of ``model.weights`` names.

    Args:
        text: ``none``, ``pretrained``, ``hf-hub:OWNER/NAME``, ``local-dir:FOLDER``, a file of
            weights, or the folder of a taxonet classifier.

    Raises:
        ConfigError: None of these, or nothing lies at the path.

    Examples:
        >>> parse_weights("pretrained").kind
        'published'
        >>> parse_weights("hf-hub:timm/resnet18.a1_in1k")
        WeightsSource(kind='hub', where='timm/resnet18.a1_in1k')
        >>> parse_weights("pretraned")
        Traceback (most recent call last):
        ...
        taxonet.errors.ConfigError: model.weights is 'pretraned', and no file or folder has that \
name. Did you mean 'pretrained'? Values: none, pretrained, a file (.safetensors, .pth or .pt), \
hf-hub:OWNER/NAME, local-dir:FOLDER, or the folder of a taxonet classifier.
    """
    if text == "none":
        return WeightsSource("none")
    if text == "pretrained":
        return WeightsSource("published")
    if text.startswith(_HUB):
        return _hub_source(text)
    if text.startswith(_FOLDER):
        folder = text.removeprefix(_FOLDER)
        if not folder or not Path(folder).is_dir():
            raise ConfigError(f"model.weights is {text!r}, and {folder!r} is no folder.")
        return WeightsSource("folder", folder)
    path = Path(text)
    if text and path.is_dir():
        return _classifier_source(path)
    if not text or not path.is_file():
        raise ConfigError(
            f"model.weights is {text!r}, and no file or folder has that name."
            f"{did_you_mean(text, ['none', 'pretrained'])} Values: {VALUES}."
        )
    if path.suffix not in _FILE_ENDINGS:
        raise ConfigError(
            f"model.weights is {text!r}, and a file of weights ends in {', '.join(_FILE_ENDINGS)}."
        )
    return WeightsSource("file", text)


def load_into(module: nn.Module, state: Mapping[str, Tensor], *, name: str, origin: str) -> None:
    """Fill a backbone with tensors that cover it exactly, save for a classifier.

    Where they do not fit as they are, they are first brought into the form of timm's module by
    timm's own conversion for that architecture. It renames the tensors of the original authors,
    and resizes position embeddings to another image size.

    Args:
        module: The backbone, changed in place.
        state: Tensors by name; those of the classifier are left out.
        name: The backbone's name, for errors.
        origin: Where the tensors come from, for errors.

    Raises:
        CheckpointError: Tensors are missing, unknown, or of another shape.
    """
    tensors = _without_classifier(module, state)
    problem = _mismatch(module, tensors)
    convert: Callable[..., Any] | None = getattr(
        sys.modules[type(module).__module__], "checkpoint_filter_fn", None
    )
    if problem and convert is not None:
        try:
            converted = _without_classifier(module, convert(dict(tensors), module))
        except Exception:
            # It takes the forms that it knows; whatever else it meets fails in its own way, and
            # the tensors as they came are what the message is about.
            converted = tensors
        if not _mismatch(module, converted):
            tensors, problem = converted, ""
    if problem:
        raise CheckpointError(f"{origin} does not hold the weights of backbone {name!r}: {problem}")
    module.load_state_dict(tensors)


def _hub_source(text: str) -> WeightsSource:
    repository = text.removeprefix(_HUB)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", repository):
        raise ConfigError(
            f"model.weights is {text!r}, and a model of the hub reads {_HUB}OWNER/NAME."
        )
    return WeightsSource("hub", repository)


def _classifier_source(path: Path) -> WeightsSource:
    if (path / CLASSIFIER).is_file():
        return WeightsSource("classifier", str(path))
    inner = path / "classifier"
    hint = (
        f"Did you mean {str(inner)!r}?"
        if (inner / CLASSIFIER).is_file()
        else f"For a folder as timm and the hub save it, write {_FOLDER}{path}."
    )
    raise ConfigError(
        f"model.weights is {str(path)!r}, a folder without {CLASSIFIER}, so it is no taxonet "
        f"classifier. {hint}"
    )


def _mismatch(module: nn.Module, tensors: Mapping[str, Tensor]) -> str:
    """Return why tensors do not cover a module exactly, or nothing."""
    own = module.state_dict()
    missing = [key for key in own if key not in tensors and not key.endswith(_COUNTER)]
    unknown = [key for key in tensors if key not in own]
    if missing or unknown:
        return (
            f"{len(missing)} are missing (first: {missing[:3]}), {len(unknown)} are unknown to it "
            f"(first: {unknown[:3]})."
        )
    for key, value in own.items():
        if key in tensors and value.shape != tensors[key].shape:
            return (
                f"{key} has the shape {tuple(tensors[key].shape)}, and the backbone needs "
                f"{tuple(value.shape)}."
            )
    return ""


def _without_classifier(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    config = getattr(module, "pretrained_cfg", None) or {}
    classifier = config.get("classifier") or "fc"
    prefixes = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    starts = tuple(f"{prefix}." for prefix in prefixes)
    return {key: value for key, value in state.items() if not key.startswith(starts)}
