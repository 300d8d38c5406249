"""What users with real weights run, on random weights of the same architectures."""

from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from taxonet.classifier import TaxonClassifier
from taxonet.recipes.verbs import TrainConfig, ZeroShotConfig
from taxonet.training import train, zero_shot
from tests.small_set import SPECIES, write_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(
        tmp_path_factory.mktemp("photos"),
        train=dict.fromkeys(SPECIES[:3], 1),
        splits=("train", "val"),
    )


@pytest.mark.parametrize(
    ("model", "form"), [("RN50", "scientific"), ("ViT-B-16", "path"), ("ViT-L-14", "path")]
)
def test_zero_shot_with_the_architectures_of_clip_and_bioclip(
    model: str, form: Literal["scientific", "path"], photos: Path, tmp_path: Path
) -> None:
    """BioCLIP is a ViT-B/16, BioCLIP 2 a ViT-L/14."""
    made = zero_shot(
        ZeroShotConfig(
            model=model,
            weights="none",
            taxonomy=photos / "taxonomy.csv",
            names=form,
            out=tmp_path / "names",
        )
    )
    classifier = TaxonClassifier.load(made.classifier, device="cpu")
    row = classifier.predict([next((photos / "images").iterdir())]).iloc[0]
    assert classifier.parts.preprocessing.image_size == (224, 224)
    assert pd.isna(row["error"])
    assert row["species"] in SPECIES


@pytest.mark.parametrize(
    "recipe",
    [
        "linear-probe",
        "ce",
        "ce-all-levels",
        "mcf",
        "hmcf",
        "hmcf-last-two",
        "supcon",
        "supcon-all-levels",
    ],
)
def test_a_recipe_of_the_paper_trains_its_architecture(
    recipe: str, photos: Path, tmp_path: Path
) -> None:
    result = train(
        TrainConfig(
            images=photos / "images.csv",
            taxonomy=photos / "taxonomy.csv",
            recipe=f"hmcf/{recipe}",
            set=("model.backbone=clip:RN50", "model.weights=none", "epochs=1", "batch_size=3"),
            out=tmp_path / "run",
            device="cpu",
            calibration_share=0,
        )
    )
    folder = TaxonClassifier.load(result.classifier, device="cpu")
    assert folder.network.architecture is not None
    assert folder.network.architecture.embedding_size == 1024
    assert (tmp_path / "run" / "towers").is_dir() == ("mcf" in recipe)
