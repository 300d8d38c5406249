"""Files of a model hub: from the local cache, or fetched with a single attempt."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub import try_to_load_from_cache as cached_path
from huggingface_hub.errors import EntryNotFoundError

from taxonet.errors import CheckpointError

#: The names that timm and the hub give to a file of weights, the safe format first.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
#: The backbone whose weights are installed with taxonet.
PACKAGED = "efficientnet_lite0.packaged"
_TIMEOUT_SECONDS = 10.0


def cached_file(repository: str, names: Sequence[str]) -> Path | None:
    """Return the first of these files that the local cache holds, without any network.

    Args:
        repository: ``OWNER/NAME``, or ``OWNER/NAME@REVISION``.
        names: Files of the repository, in order of preference.

    Examples:
        >>> cached_file("nobody/nothing", ["model.safetensors"]) is None
        True
    """
    model, _, revision = repository.partition("@")
    for name in names:
        found = cached_path(model, name, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch_file(repository: str, names: Sequence[str], *, wanted: str, instead: str) -> Path:
    """Return a file of the hub: from the local cache, or fetched.

    The hub is asked once. ``hf_hub_download`` alone asks up to seven times for each file, which
    takes most of a minute on a machine without a network.

    Args:
        repository: ``OWNER/NAME``, or ``OWNER/NAME@REVISION``.
        names: Files of the repository, in order of preference; the first that exists is taken.
        wanted: What the file is for, at the start of an error: ``"The weights of 'resnet50'"``.
        instead: What to do without a network, at the end of an error.

    Raises:
        CheckpointError: The hub does not answer, or has none of these files.
    """
    cached = cached_file(repository, names)
    if cached is not None:
        return cached
    model, _, revision = repository.partition("@")
    for name in names:
        try:
            # It does not try again, unlike the download; so it goes first.
            get_hf_file_metadata(
                hf_hub_url(model, name, revision=revision or None), timeout=_TIMEOUT_SECONDS
            )
            return Path(hf_hub_download(model, name, revision=revision or None))
        except EntryNotFoundError:
            continue
        except Exception as error:
            # What a failed download raises depends on the transport below.
            raise CheckpointError(
                f"{wanted} could not be fetched: {name} of {repository} on the hub "
                f"({first_line(error)}). {instead}"
            ) from error
    raise CheckpointError(
        f"{wanted} could not be fetched: {repository} on the hub has no {' and no '.join(names)}. "
        f"{instead}"
    )


def without_network(file: str) -> str:
    """Return the advice for weights that could not be fetched.

    Args:
        file: The file to fetch elsewhere, such as ``"model.safetensors of timm/resnet18.a1_in1k"``.

    Examples:
        >>> without_network("model.safetensors of a/b")[:72]
        'Without a network, fetch model.safetensors of a/b on another machine and'
    """
    return (
        f"Without a network, fetch {file} on another machine and set model.weights to its path, "
        f"or set model.backbone to {PACKAGED}, whose weights are installed."
    )


def first_line(error: Exception) -> str:
    r"""Return the first line of an error's text, or its kind where it has none.

    Examples:
        >>> first_line(OSError("no route\nto host")), first_line(OSError())
        ('no route', 'OSError')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
