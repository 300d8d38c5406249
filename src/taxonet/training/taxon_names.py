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
    alike_texts,
    embed_texts,
    keyed_weights,
    load_towers,
    prompts,
)
from taxonet.models.clip_architecture import is_clip
from taxonet.recipes import Recipe, WordsRecipe
from taxonet.taxonomy import Taxonomy, fold_name


@dataclass(frozen=True)
class TaxonNames:
    """A text tower and what it is told of every node of a tree.

    Attributes:
        tower: The text tower.
        texts: A sentence for each template, of each node.
        notes: What a user should know of them.
    """

    tower: TextTower
    texts: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, tower: TextTower, taxonomy: Taxonomy, words: WordsRecipe) -> "TaxonNames":
        """Make the sentences of a tree of n nodes.

        Raises:
            ConfigError: A file of common names that is not there, or sentences that the tower
                reads as one and the same.
            DataError: A file of common names that has other columns, or none of these taxa.
        """
        common, notes = None, []
        if words.common_names is not None:
            common = _common_names(Path(words.common_names), taxonomy)
            notes.append(
                f"{sum(str(name) in common for name in taxonomy.names[1:])} of "
                f"{len(taxonomy) - 1} taxa have a common name in {words.common_names}; the others "
                "go by their scientific names."
            )
        texts = prompts(
            taxonomy, templates=words.templates, form=words.names, common=common, fits=tower.fits
        )
        return cls(tower, texts, (*notes, *_note_alike(tower, texts, taxonomy)))

    def tokens(self) -> Tensor:
        """Return the sentences as tokens, int32 ``(n, templates, T)`` on the CPU."""
        tokens = self.tower.tokenize([text for group in self.texts for text in group])
        return tokens.int().view(len(self.texts), len(self.texts[0]), -1)

    def vectors(self, *, cache: Path | None = None, shown: bool = False) -> Tensor:
        """Return the unit vector of each node's name ``(n, d)``, by the tower as it now is."""
        return embed_texts(self.tower, self.texts, cache=cache, shown=shown)


def text_tower(recipe: Recipe) -> TextTower:
    """Return the text tower beside the image tower that a recipe has as its backbone.

    With ``model.weights: none`` it starts at random weights that the recipe's seed decides.

    Raises:
        ConfigError: The backbone is of no CLIP model, or its weights come without a text tower.
        CheckpointError: Weights that could not be fetched or read.
    """
    if not is_clip(recipe.model.backbone):
        raise ConfigError(
            f"`words` are read by the text tower of a CLIP model, and the backbone is "
            f"{recipe.model.backbone!r}: choose model.backbone=clip:..., or set words to null."
        )
    with keyed_weights("text tower", recipe.seed):
        return load_towers(recipe.model.backbone, weights=recipe.model.weights).text


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


def _common_names(path: Path, taxonomy: Taxonomy) -> dict[str, str]:
    """Return the common name of each scientific name of a tree that has one, however spelled."""
    listed = {fold_name(name): common for name, common in read_common_names(path).items()}
    own = {str(name) for name in taxonomy.names[1:]}
    found = {name: listed[fold_name(name)] for name in own if fold_name(name) in listed}
    if not found:
        raise DataError(
            f"{path} has a common name for none of the {len(own)} names of the taxonomy (first: "
            f"{min(own)!r}; its own first: {min(listed, default='none')!r}): its column `name` "
            "must hold scientific names as the taxonomy has them."
        )
    return found


def _note_alike(
    tower: TextTower, texts: list[tuple[str, ...]], taxonomy: Taxonomy
) -> tuple[str, ...]:
    alike = alike_texts(tower, texts[1:])
    if not alike:
        return ()
    one, other = (taxonomy.path_text(place + 1) for place in reversed(alike[0]))
    if len(alike) == len(texts) - 2:
        raise ConfigError(
            f"To the text tower all {len(texts) - 1} taxa read the same (first: {texts[1][0]!r}): "
            "it reads no further than its places go. Choose shorter templates."
        )
    return (
        f"{len(alike)} taxa read the same to the text tower as another (first: {one} and {other}): "
        "names alone do not tell them apart.",
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
