"""A head on embeddings that are at hand already, as arrays."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from taxonet.classifier.reading import reading_of
from taxonet.data.features import StoredBatches
from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError, DataError
from taxonet.recipes import Recipe, load_recipe
from taxonet.recipes.verbs import TrainConfig
from taxonet.taxonomy import Taxonomy
from taxonet.training.accelerator import accelerator_on
from taxonet.training.assembly import make_trainer
from taxonet.training.building import build
from taxonet.training.data import TrainingData, flat_taxonomy, open_training_data
from taxonet.training.inputs import Inputs
from taxonet.training.refit import fit_second_stage
from taxonet.training.second_stage import CachedEmbeddings

Arrays = tuple[ArrayLike, ArrayLike]


class EmbeddingClassifier:
    """A head that learns from embeddings, by any recipe that stored features allow.

    Everything is as in ``taxonet train`` with ``features``: loss, sampler, re-weighting, mixing of
    embeddings, selection, neck, second stage, schedule, and the epoch that validation chooses. The
    methods are those of scikit-learn's classifiers.

    Args:
        recipe: A preset, a YAML file, several of them separated by commas, or a `Recipe`; what it
            says of the backbone is not used.
        overrides: ``path.to.key=value`` strings.
        taxonomy: The tree of the labels, for losses over it; None: labels without a tree.
        device: Where to compute.

    Attributes:
        classes_: The labels, in the order of the columns of probabilities, ``(c,)``.

    Raises:
        ConfigError: A recipe that needs photos.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> embeddings = rng.normal(size=(60, 4)) + 4 * np.eye(4)[np.arange(60) % 3]
        >>> labels = np.array(["ash", "beech", "elm"])[np.arange(60) % 3]
        >>> model = EmbeddingClassifier("quick", ["epochs=4"]).fit(embeddings, labels)
        >>> model.predict(4 * np.eye(4)[:3]).tolist()
        ['ash', 'beech', 'elm']
    """

    classes_: NDArray[np.str_]

    def __init__(
        self,
        recipe: str | Path | Recipe = "quick",
        overrides: Iterable[str] = (),
        *,
        taxonomy: Taxonomy | None = None,
        device: str = "auto",
    ) -> None:
        given = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
        if given.features is None:
            raise ConfigError(
                "This recipe learns from photos (features is null), and there are only embeddings: "
                "choose one that extends `quick`, or set features={}."
            )
        self.recipe, self.taxonomy, self.device = given, taxonomy, device

    def fit(self, embeddings: ArrayLike, labels: ArrayLike, *, val: Arrays | None = None) -> Self:
        """Train the head.

        Args:
            embeddings: ``(N, d)`` finite numbers, as a backbone gives them.
            labels: ``(N,)`` taxa, as text.
            val: Embeddings and labels that choose the epoch; None keeps the last.

        Raises:
            DataError: Shapes that do not fit, numbers that are not finite, fewer than two classes.
            TaxonomyError: Labels that the taxonomy does not know.
        """
        train = _checked(embeddings, labels, what="embeddings")
        chooses = None if val is None else _checked(*val, what="val")
        data = self._data(train[1], () if chooses is None else chooses[1])
        network, loss = build(self.recipe, data, feature_size=train[0].shape[1])
        accelerator = accelerator_on(self.device, precision="no")
        _, targets = data.split("train")
        with TemporaryDirectory(prefix="taxonet-") as folder:
            trainer = make_trainer(
                TrainConfig(images=Path(folder), out=Path(folder)),
                recipe=self.recipe,
                data=data,
                inputs=Inputs(
                    network,
                    _source(train, seed=self.recipe.seed),
                    None if chooses is None else _source(chooses),
                    CachedEmbeddings(torch.from_numpy(train[0]), targets),
                ),
                loss=loss,
                accelerator=accelerator,
            )
            trainer.fit()
        if self.recipe.second_stage is not None:
            with torch.no_grad():
                device = next(network.head.parameters()).device
                embedding = network.neck(torch.from_numpy(train[0]).to(device)).cpu()
            fit_second_stage(self.recipe, data, network, CachedEmbeddings(embedding, targets))
        self.network = network.cpu().eval()
        self._reading = reading_of(
            self.recipe, data.taxonomy, data.classes.class_nodes, data.classes.class_counts
        )
        nodes = data.classes.class_nodes
        self.classes_ = np.array([self._label_of[int(node)] for node in nodes])
        return self

    def predict_proba(self, embeddings: ArrayLike) -> NDArray[np.float32]:
        """Return class probabilities ``(N, c)`` of embeddings ``(N, d)``."""
        logits = self.decision_function(embeddings)
        probs: Tensor = self._reading.class_probs(torch.from_numpy(logits))
        return probs.numpy()

    def predict(self, embeddings: ArrayLike) -> NDArray[np.str_]:
        """Return the most probable label of each embedding, ``(N,)``."""
        best: NDArray[np.str_] = self.classes_[self.predict_proba(embeddings).argmax(axis=1)]
        return best

    @torch.no_grad()
    def decision_function(self, embeddings: ArrayLike) -> NDArray[np.float32]:
        """Return the logits ``(N, s)``: scale times scores of the head."""
        values = torch.as_tensor(np.asarray(embeddings, dtype=np.float32))
        logits: Tensor = self.network.head.scale * self.network(values).scores.float()
        return logits.numpy()

    def _data(self, labels: NDArray[np.str_], val_labels: Iterable[str]) -> TrainingData:
        taxa = [*labels.tolist(), *val_labels]
        frame = pd.DataFrame(
            {
                "image": [f"row {row}" for row in range(len(taxa))],
                "taxon": taxa,
                "split": ["train"] * len(labels) + ["val"] * (len(taxa) - len(labels)),
            }
        )
        table = ImageTable(frame)
        taxonomy = flat_taxonomy(table) if self.taxonomy is None else self.taxonomy
        data = open_training_data(
            table, taxonomy, seed=self.recipe.seed, val_share=0, calibration_share=0
        )
        if outside := data.outside():
            raise DataError(
                f"{outside['val']} validation embeddings are of labels without a training one: "
                "leave them out."
            )
        self._label_of: Mapping[int, str] = dict(zip(data.nodes.tolist(), taxa, strict=True))
        return data


def _checked(
    embeddings: Any, labels: Any, *, what: str
) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    values, taxa = np.asarray(embeddings, dtype=np.float32), np.asarray(labels).astype(str)
    if values.ndim != 2 or taxa.shape != values.shape[:1]:
        raise DataError(
            f"{what}: expected embeddings (N, d) and as many labels (N,), got shapes "
            f"{values.shape} and {taxa.shape}."
        )
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise DataError(f"{what}: embeddings must be finite numbers, and row {row} is not.")
    return values, taxa


def _source(given: tuple[NDArray[np.float32], NDArray[np.str_]], *, seed: int = 0) -> StoredBatches:
    names = [f"row {row}" for row in range(len(given[0]))]
    return StoredBatches(names, [given[0]], seed=seed)
