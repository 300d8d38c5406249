"""Where the weights of a backbone come from, under which licence: what a classifier records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import timm

from taxonet.errors import CheckpointError
from taxonet.files import file_digest
from taxonet.models.backbone_table import find_row
from taxonet.models.clip_architecture import HUB, LOCAL, PREFIX, is_clip
from taxonet.models.clip_weights import CLIP_FILES, published_file
from taxonet.models.hub import PACKAGED, WEIGHT_FILES, cached_file
from taxonet.models.packaged import DIGEST, LICENCE, PACKAGE, PACKAGE_VERSION
from taxonet.models.stored_weights import classifier_weights, read_classifier, weights_file
from taxonet.models.weights import parse_weights

UNKNOWN: Final = "unknown: see where the weights came from"


@dataclass(frozen=True)
class WeightsOrigin:
    """Where weights came from.

    Attributes:
        source: A package, a model of the hub, or the name of a file, without its folder.
        licence: As whoever published them names it, or that it is unknown.
        sha256: Digest of the file of weights, 64 hexadecimal digits; None: random, or no one file.
    """

    source: str
    licence: str
    sha256: str | None = None


def weights_origin(name: str, weights: str) -> WeightsOrigin:
    """Return where the weights of a backbone come from, once they have been loaded.

    Nothing is fetched: a digest is that of the file in the local cache.

    Args:
        name: The backbone, as `build_backbone` takes it.
        weights: As `taxonet.models.weights.parse_weights` takes it.

    Raises:
        ConfigError: An unknown kind of weights.
        CheckpointError: Weights that are not there any more.

    Examples:
        >>> weights_origin("resnet10", "none").source
        'random (seed in the recipe)'
        >>> weights_origin("efficientnet_lite0.packaged", "pretrained").licence
        'Apache-2.0'
    """
    source = parse_weights(weights)
    if source.kind == "none":
        return WeightsOrigin("random (seed in the recipe)", "none needed")
    if source.kind == "classifier":
        return _of_classifier(source.path)
    if source.kind == "published":
        return _of_published(name)
    files = CLIP_FILES if is_clip(name) else WEIGHT_FILES
    file = weights_file(source, name, files=files)
    text = f"{file.name} of {source.where} on the hub" if source.kind == "hub" else file.name
    return WeightsOrigin(f"file {text}", UNKNOWN, file_digest(file))


def _of_published(name: str) -> WeightsOrigin:
    if name == PACKAGED:
        return WeightsOrigin(f"Python package {PACKAGE} {PACKAGE_VERSION}", LICENCE, DIGEST)
    row = find_row(name)
    licence = UNKNOWN if row is None else row.licence
    if is_clip(name):
        file, bare = published_file(name), name.removeprefix(PREFIX)
        if bare.startswith(LOCAL):
            return WeightsOrigin(f"file {file.name}", licence, file_digest(file))
        text = f"{bare.removeprefix(HUB)} on the hub" if bare.startswith(HUB) else bare
        return WeightsOrigin(f"open_clip {text}", licence, file_digest(file))
    config = timm.get_pretrained_cfg(name)
    licence = (config.license or UNKNOWN) if config is not None else licence
    if config is None or not config.hf_hub_id:
        return WeightsOrigin(f"timm {name}", licence)
    files = [config.hf_hub_filename] if config.hf_hub_filename else list(WEIGHT_FILES)
    cached = cached_file(config.hf_hub_id, files)
    digest = None if cached is None else file_digest(cached)
    return WeightsOrigin(f"timm {config.hf_hub_id} on the hub", licence, digest)


def _of_classifier(folder: Path) -> WeightsOrigin:
    """Say that training went on from a classifier, and repeat what that one recorded."""
    settings, file = read_classifier(folder), classifier_weights(folder)
    recorded = settings.get("weights_origin") or {}
    try:
        digest = file_digest(file)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error}.") from None
    before = recorded.get("source", "no record of where its own weights came from")
    return WeightsOrigin(
        f"backbone of a taxonet classifier (warm start), which started at: {before}",
        str(recorded.get("licence", UNKNOWN)),
        digest,
    )
