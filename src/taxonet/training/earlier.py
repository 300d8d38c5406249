"""An earlier classifier to go on from: its photos as features, and its taxonomy with more taxa."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taxonet.classifier import ClassifierParts, Embedder, split_file
from taxonet.classifier.embedder import space_of
from taxonet.classifier.folder import load_parts
from taxonet.data.features import PLAIN, photo_digests
from taxonet.data.splitting import split_images
from taxonet.data.table import STORED, ImageTable
from taxonet.errors import CheckpointError, ConfigError
from taxonet.recipes.verbs import TaxonomySource
from taxonet.taxonomy import Taxonomy

_SPLITS = ("train", "val", "calibration")


@dataclass(frozen=True)
class EarlierPhotos:
    """What an earlier classifier was trained, validated and calibrated with.

    Attributes:
        folder: Of the classifier.
        parts: The classifier.
        frame: A row per photo: image, label, split, and the digest of its bytes.
        features: Of each photo, ``(N, f)``.
    """

    folder: Path
    parts: ClassifierParts
    frame: pd.DataFrame
    features: NDArray[np.float32]

    @classmethod
    def of(cls, folder: Path) -> "EarlierPhotos":
        """Read the index of a classifier's folder.

        Raises:
            ConfigError: A classifier that did not learn from stored features alone.
            CheckpointError: An incomplete or changed folder.
        """
        parts = load_parts(folder)
        recipe = parts.recipe
        if recipe.features is None or recipe.model.neck != "none":
            raise ConfigError(
                f"Photos can be added to a classifier whose head learned from the features of a "
                f"frozen backbone, and {folder} was not trained that way (its recipe has "
                f"features: {recipe.features!r}, model.neck: {recipe.model.neck!r}). Train on all "
                "photos together."
            )
        paths = [parts.taxonomy.path_text(int(node)) for node in parts.class_nodes]
        frames, features = [], []
        for split in _SPLITS:
            file = split_file(folder, split)
            if not file.is_file():
                if split == "train":
                    raise CheckpointError(f"{file} is missing: copy the whole folder again.")
                continue
            table = pq.read_table(file)
            classes = table["class"].to_pylist()
            frames.append(
                pd.DataFrame(
                    {
                        "image": table["image"].to_pylist(),
                        "taxon": [paths[one] for one in classes],
                        "split": split,
                        STORED: table["sha256"].to_pylist(),
                    }
                )
            )
            values = table["embedding"].combine_chunks().flatten().to_numpy()
            features.append(values.reshape(len(table), -1))
        return cls(folder, parts, pd.concat(frames), np.concatenate(features))

    def store(self, embedder: Embedder) -> None:
        """Put the features into the store of an embedder of the same backbone.

        Raises:
            ConfigError: A recipe with another backbone, other weights or preprocessing.
        """
        old = self.parts
        space = space_of(old.network, old.preprocessing, model=old.recipe.model)
        if space != embedder.store.space:
            raise ConfigError(
                f"{self.folder} has features of {space.backbone} as it was used there "
                f"({space.preprocessing}), and this recipe would make others with "
                f"{embedder.store.space.backbone} ({embedder.store.space.preprocessing}): leave "
                "the recipe and its changes out, or train on all photos together."
            )
        digests = self.frame[STORED].tolist()
        missing = embedder.store.missing(digests, PLAIN)
        if missing:
            with embedder.store.writer() as writer:
                writer.add([digests[row] for row in missing], PLAIN, self.features[missing])

    def joined(self, images: ImageTable, *, seed: int) -> ImageTable:
        """Return these photos and more of them, which get splits if they have none.

        Photos that the classifier knows already are left out of the new ones, whatever their
        names, so that none of them is both trained on and tested on.
        """
        new = images if "split" in images.frame else split_images(images, seed=seed)
        digests, _ = photo_digests([new.source(row) for row in range(len(new))])
        known = set(self.frame[STORED])
        fresh = np.array([digest not in known for digest in digests], dtype=bool)
        new = new.rows(fresh)
        old = self.frame.copy()
        taken = old["image"].isin(set(new.frame["image"])) | old["image"].duplicated()
        old.loc[taken, "image"] += " " + old.loc[taken, STORED].str[:12]
        notes = new.notes
        if not fresh.all():
            notes += (
                f"{int((~fresh).sum())} of {len(fresh)} photos are known to {self.folder} already "
                "and keep their splits there.",
            )
        blob_rows = new.blob_rows
        if blob_rows is not None:  # no blob is read of a photo that is not at hand
            blob_rows = np.concatenate([np.zeros(len(old), dtype=np.int64), blob_rows])
        frame = pd.concat([old, new.frame], ignore_index=True)
        return replace(new, frame=frame, blob_rows=blob_rows, notes=notes)

    def taxonomy_with(self, source: TaxonomySource) -> Taxonomy:
        """Return the classifier's taxonomy, and the taxa of a table or edge list besides.

        Raises:
            ConfigError: Two taxonomies of different ranks.
        """
        old = self.parts.taxonomy
        if source.taxonomy is None:
            return old
        new = Taxonomy.from_file(
            source.taxonomy, ranks=source.ranks or None, label=source.label_column
        )
        if old.ranks != new.ranks:
            raise ConfigError(
                f"{source.taxonomy} has the ranks {', '.join(new.ranks) or '(none)'}, and the "
                f"taxonomy of {self.folder} has {', '.join(old.ranks) or '(none)'}: give a table "
                "with the same ranks. (A classifier that was trained without a taxonomy has "
                "the one rank `taxon`: train on all photos together to give it a tree.)"
            )
        if not old.ranks:
            return Taxonomy.from_edges(_together(old.to_edges(), new.to_edges()))
        return Taxonomy.from_table(_together(old.to_table(), new.to_table()), ranks=old.ranks)


def _together(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([old, new], ignore_index=True).drop_duplicates()
