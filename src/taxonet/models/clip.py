"""CLIP models, by open_clip: an image and a text tower that map to one space."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from taxonet.errors import CheckpointError, ConfigError
from taxonet.files import atomic_folder, write_json
from taxonet.models.clip_architecture import (
    CONFIG,
    HUB,
    LOCAL,
    PREFIX,
    Architecture,
    architecture_of,
    open_clip_module,
)
from taxonet.models.clip_weights import WEIGHTS, model_with_weights, random_model
from taxonet.models.short_texts import encode_texts
from taxonet.models.weights import WeightsSource, parse_weights

_TOKENIZED_AT_ONCE = 1024
#: The smallest text tower there can be, where only the image tower is wanted.
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}


class ImageTower(nn.Module):
    """The image tower of a CLIP model, as a backbone.

    Shape:
        Normalised images ``(B, 3, S, S)``, S as the model was made for; embeddings ``(B, d)`` come
        back, not of unit length.

    Args:
        visual: open_clip's module.
        architecture: Of the whole model.
    """

    def __init__(self, visual: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        self.visual, self.architecture = visual, architecture
        self.embedding_size = architecture.embedding_size

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings ``(B, d)``."""
        found: Tensor = self.visual(images)
        return found


class TextTower(nn.Module):
    """The text tower of a CLIP model.

    Shape:
        Tokens int64 ``(B, T)``; embeddings ``(B, d)`` come back, not of unit length.

    Args:
        model: open_clip's model, whose image tower is taken out.
        tokenizer: From texts to tokens.
        architecture: Of the whole model.

    Attributes:
        logit_scale: The factor on cosines that the model was trained with.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, architecture: Architecture) -> None:
        super().__init__()
        self.logit_scale = float(model.logit_scale.detach().exp().reshape(-1)[0])  # type: ignore[operator] # a parameter
        model.visual = nn.Identity()
        # Whoever trains has a scale of its own; no loss reaches this one.
        for name in ("logit_scale", "logit_bias"):
            model._parameters.pop(name, None)
        self.model, self.tokenizer, self.architecture = model, tokenizer, architecture
        self.embedding_size = architecture.embedding_size

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of texts, int64 ``(B, T)``; what is too long is cut."""
        found: Tensor = self.tokenizer(list(texts))
        return found

    def fits(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether a place is left behind it, so that nothing was cut."""
        unused = self.tokenize([""])[0, -1]
        found: list[bool] = []
        for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
            last = self.tokenize(texts[start : start + _TOKENIZED_AT_ONCE])[:, -1]
            found += (last == unused).tolist()
        return found

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the embeddings ``(B, d)``."""
        return encode_texts(self.model, tokens)


@dataclass(frozen=True)
class Towers:
    """Both towers of a CLIP model."""

    image: ImageTower
    text: TextTower


def load_towers(name: str, *, weights: str = "none") -> Towers:
    """Return both towers of a CLIP model, with its weights or random ones.

    Args:
        name: As for `architecture_of`.
        weights: Where its weights come from, as `taxonet.models.weights.parse_weights` takes it:
            random, those of the name, or a file, folder or repository with both towers.

    Raises:
        ConfigError: An unknown name, a name without weights where they are asked for, or the
            folder of a classifier, which holds no text tower.
        CheckpointError: Weights or a tokenizer that could not be fetched or read.
    """
    source, architecture = parse_weights(weights), architecture_of(name)
    if source.kind == "classifier":
        raise ConfigError(
            f"model.weights is the classifier {source.where!r}, which holds no text tower. Set "
            "model.backbone to clip:local-dir:FOLDER of the folder `towers` of its run, and "
            "model.weights to pretrained."
        )
    if source.kind == "none":
        model = random_model(architecture)
    else:
        model = model_with_weights(name, source, architecture)
    image = ImageTower(model.visual, architecture)  # type: ignore[arg-type] # a module
    return Towers(image, TextTower(model, _tokenizer(name, architecture), architecture))


def load_image_tower(name: str, source: WeightsSource) -> ImageTower:
    """Return the image tower of a CLIP model with stored or published weights.

    Raises:
        ConfigError: An unknown name, or a name without weights where they are asked for.
        CheckpointError: Weights that could not be fetched or read.
    """
    architecture = architecture_of(name)
    visual = model_with_weights(name, source, architecture).visual
    return ImageTower(visual, architecture)  # type: ignore[arg-type] # a module


def build_image_tower(architecture: Architecture) -> ImageTower:
    """Return an image tower with random weights, without a text tower beside it."""
    model = dict(architecture.model) | {"text_cfg": _NO_TEXT}
    model.pop("custom_text", None)
    return ImageTower(random_model(Architecture(model, {})).visual, architecture)  # type: ignore[arg-type] # a module


def save_towers(towers: Towers, folder: Path, *, logit_scale: float) -> None:
    """Write both towers as a folder that open_clip reads as ``local-dir:FOLDER``.

    Args:
        towers: Image and text tower; a tokenizer that is not open_clip's own is written too.
        folder: Where to; an older one is replaced.
        logit_scale: The factor on cosines that they were trained with.

    Raises:
        ConfigError: The folder holds something else.
    """
    replaced = (folder / CONFIG).is_file()
    state = {f"visual.{key}": value for key, value in towers.image.visual.state_dict().items()}
    state |= towers.text.model.state_dict()
    state["logit_scale"] = torch.tensor(logit_scale).log()
    with atomic_folder(folder, replace=replaced) as temporary:
        tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        save_file(tensors, temporary / WEIGHTS)
        write_json(temporary / CONFIG, towers.image.architecture.to_dict())
        # What a Hugging Face tokenizer is called on the hub says nothing to a folder.
        if isinstance(towers.text.tokenizer, open_clip_module().tokenizer.HFTokenizer):
            towers.text.tokenizer.tokenizer.save_pretrained(temporary)


def _tokenizer(name: str, architecture: Architecture) -> Any:
    clip, bare = open_clip_module(), name.removeprefix(PREFIX)
    if bare.endswith(".json"):
        text = architecture.model["text_cfg"]
        if text.get("hf_tokenizer_name"):
            raise ConfigError(
                f"{bare} has a tokenizer that is not open_clip's own. Put it into a folder with "
                f"the tokenizer's files, as {CONFIG}, and write {PREFIX}{LOCAL}FOLDER."
            )
        return clip.SimpleTokenizer(context_length=text.get("context_length", 77))
    try:
        named = bare if bare.startswith((LOCAL, HUB)) else bare.partition(".")[0]
        return clip.get_tokenizer(named)
    except Exception as error:
        # It may be one of the hub, which fails in whatever way its transport does.
        raise CheckpointError(f"The tokenizer of {name!r} could not be loaded: {error}") from error
