"""Differentiable diffusion for a classifier: a map fitted to what its index holds."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from taxonet.classifier import (
    TaxonClassifier,
    TrainingIndex,
    copy_beside,
)
from taxonet.files import atomic_folder, require_free
from taxonet.inference.learned_diffusion import centred_log_probs, fit_learned_diffusion
from taxonet.progress import Progress
from taxonet.recipes.verbs import FitDiffusionConfig
from taxonet.training.second_stage.embeddings import check_embeddings


def fit_diffusion(config: FitDiffusionConfig, *, show_progress: bool = False) -> Path:
    """Fit a learned rollup to a classifier; return the folder of the new one, which has it.

    What the head says of the training photos is computed from their stored embeddings: no photo
    is read. Network, thresholds and their meaning stay as they are.

    Raises:
        CheckpointError: The folder is no complete classifier, or has no index.
        ConfigError: Options that cannot work, or a folder that is taken.
    """
    require_free(config.out)
    classifier = TaxonClassifier.load(config.classifier, device=config.device)
    stored = TrainingIndex(config.classifier, wanted_by="a learned rollup").read()
    embeddings, targets = torch.from_numpy(stored.embeddings), torch.from_numpy(stored.targets)
    reading, head = classifier.reading, classifier.network.head
    check_embeddings(embeddings, targets, len(reading.class_nodes))
    temperature = classifier.calibration.temperature

    @torch.no_grad()
    def scores_of(rows: Tensor) -> Tensor:
        # Readings work on the CPU, as in prediction; the map is fitted where the network is.
        logits = head.scale * head(rows).float().cpu()
        scores = centred_log_probs(reading.tree_scores(logits / temperature).node_probs)
        return scores.to(rows.device)

    with Progress("fitting diffusion", None, shown=show_progress) as progress:
        learned = fit_learned_diffusion(
            embeddings.to(classifier.device),
            reading.class_places[targets].to(classifier.device),
            reading.tree,
            scores_of=scores_of,
            form=config.form,
            rank=config.rank,
            epochs=config.epochs,
            learning_rate=config.learning_rate,
            seed=config.seed,
            on_step=lambda done, total: progress.advance(1, note=f"{done}/{total} batches"),
        )
    new = TaxonClassifier(replace(classifier.parts, learned=learned.cpu()), device=config.device)
    with atomic_folder(config.out) as folder:
        new.save(folder)
        copy_beside(config.classifier, folder)
    return config.out
