"""The names of the taxa that a run learns, as its text tower reads them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from taxonet.classifier.reading import TreeReading
from taxonet.errors import ConfigError, DataError
from taxonet.models import (
    LevelCosineHead,
    Network,
    TextTower,
    embed_texts,
    keyed_weights,
    load_towers,
    prompts,
)
from taxonet.models.clip import is_clip
from taxonet.recipes import Recipe, WordsRecipe
from taxonet.taxonomy import Taxonomy


@dataclass(frozen=True)
class TaxonNames:
    """A text tower and what it is told of every node of a tree.

    Attributes:
        tower: The text tower.
        texts: A sentence for each template, of each node.
    """

    tower: TextTower
    texts: list[tuple[str, ...]]

    @classmethod
    def of(cls, tower: TextTower, taxonomy: Taxonomy, words: WordsRecipe) -> "TaxonNames":
        """Make the sentences of a tree of n nodes.

        Raises:
            ConfigError: A file of common names that is not there.
            DataError: A file of common names that has other columns.
        """
        common = None
        if words.common_names is not None:
            common = read_common_names(Path(words.common_names))
        texts = prompts(taxonomy, templates=words.templates, form=words.names, common=common)
        return cls(tower, texts)

    def tokens(self) -> Tensor:
        """Return the sentences as tokens, int32 ``(n, templates, T)`` on the CPU."""
        tokens = self.tower.tokenize([text for group in self.texts for text in group])
        return tokens.int().view(len(self.texts), len(self.texts[0]), -1)

    def vectors(self, *, cache: Path | None = None, shown: bool = False) -> Tensor:
        """Return the unit vector of each node's name ``(n, d)``, by the tower as it now is."""
        return embed_texts(self.tower, self.texts, cache=cache, shown=shown)


def text_tower(recipe: Recipe) -> TextTower:
    """Return the text tower beside the image tower that a recipe has as its backbone.

    Without pretrained weights it starts at random ones that the recipe's seed decides.

    Raises:
        ConfigError: The backbone is of no CLIP model.
    """
    if not is_clip(recipe.model.backbone):
        raise ConfigError(
            f"`words` are read by the text tower of a CLIP model, and the backbone is "
            f"{recipe.model.backbone!r}: choose model.backbone=clip:..., or set words to null."
        )
    with keyed_weights("text tower", recipe.seed):
        pretrained = recipe.model.weights == "pretrained"
        return load_towers(recipe.model.backbone, pretrained=pretrained).text


def start_head_at(names: TaxonNames, network: Network, class_places: Tensor) -> None:
    """Let the head begin at the vectors of the names.

    Args:
        names: Of the nodes of the tree that the classes span.
        network: Its head scores the nodes of that tree level by level, or the classes.
        class_places: The node of that tree of each class, ``(c,)``.
    """
    head, vectors = network.head, names.vectors()
    with torch.no_grad():
        if isinstance(head, LevelCosineHead):
            head.vectors = vectors
            head.set_scales(names.tower.logit_scale)
        else:
            head.weight.copy_(vectors[class_places])


def check_head_for_names(network: Network, reading: object) -> None:
    """Raise a ConfigError unless the head has a vector for each class or node."""
    head: nn.Module = network.head
    tree_head = isinstance(reading, TreeReading) and not isinstance(head, LevelCosineHead)
    if tree_head or not isinstance(getattr(head, "weight", None), Tensor):
        raise ConfigError(
            "`words` give a vector to each class or to each node level by level: choose a loss "
            "over classes with the head 'linear' or 'cosine', or the head 'level_cosine'."
        )


def read_common_names(path: Path) -> dict[str, str]:
    """Read common names by scientific name.

    Raises:
        ConfigError: The file is not there.
        DataError: It is no table, or lacks the columns ``name`` and ``common_name``.
    """
    try:
        frame = pd.read_csv(path, dtype=str)
    except FileNotFoundError:
        raise ConfigError(f"There is no file of common names {path}.") from None
    except ValueError as error:  # no CSV, or no UTF-8
        raise DataError(f"{path} is no table of common names: {error}.") from None
    missing = [column for column in ("name", "common_name") if column not in frame]
    if missing:
        raise DataError(
            f"{path} has no column {' and no column '.join(missing)}: common names stand in a CSV "
            "file with the columns name and common_name."
        )
    frame = frame.dropna(subset=["name", "common_name"])
    return dict(zip(frame["name"], frame["common_name"], strict=True))
