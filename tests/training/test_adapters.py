"""A frozen CLIP tower with an adapter and a head that starts at names, from photos to answers."""

import doctest
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate import Accelerator

from taxonet.classifier import TaxonClassifier, adapter_of
from taxonet.data.sources import open_images
from taxonet.errors import ConfigError
from taxonet.models import build_network, embed_texts, load_towers, save_towers
from taxonet.models.adapters import LoRA
from taxonet.recipes import Recipe, load_recipe
from taxonet.taxonomy import Taxonomy
from taxonet.training import train
from taxonet.training.building import build
from taxonet.training.data import TrainingData, open_training_data
from taxonet.training.objectives import Objective, build_objective
from tests.small_set import SPECIES, config
from tests.tiny_clip import tiny_clip

ADAPTERS = (
    "{name: adaptformer, bottleneck_size: 4}",
    "{name: lora, rank: 2}",
    "bias",
    "layer_norm",
)
BALANCED = "{name: dbm, base: bs, max_margin_rad: 0.0}"
MARGINS = "{name: dbm, base: bs}"


def lift(
    backbone: str, *, adapter: str = "bias", head: str = "cosine", loss: str = MARGINS
) -> tuple[str, ...]:
    model = f"{{backbone: '{backbone}', head: {head}, adapter: {adapter}}}"
    return (f"model={model}", f"loss={loss}", "words={}", "model.image_size=32")


def objective_of(recipe: Recipe, photos: Path) -> tuple[Objective, TrainingData]:
    data = open_training_data(
        open_images(photos / "images.csv"),
        Taxonomy.from_table(photos / "taxonomy.csv"),
        seed=0,
        val_share=0,
        calibration_share=0,
    )
    network, loss = build(recipe, data)
    accelerator = Accelerator(cpu=True)
    return build_objective(recipe, network, loss, data=data, accelerator=accelerator), data


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_classifier_with_an_adapter_is_saved_and_read(
    adapter: str, photos: Path, tmp_path: Path
) -> None:
    changes = lift(tiny_clip(tmp_path, layers=2), adapter=adapter)
    given = config(photos, tmp_path / "run", *changes, "epochs=1", "model.test_crops=5")
    read = TaxonClassifier.load(train(given).classifier, device="cpu")
    assert read.parts.preprocessing.test_crops == 5
    model = read.parts.recipe.model
    start = build_network(
        backbone=model.backbone, head="cosine", classes=5, seed=0, adapter=adapter_of(model)
    ).backbone
    moved = {
        key
        for key, one in read.network.backbone.state_dict().items()
        if not torch.equal(one, start.state_dict()[key])
    }
    assert moved == {key for key, one in start.named_parameters() if one.requires_grad}
    read.save(tmp_path / "again")
    again = TaxonClassifier.load(tmp_path / "again", device="cpu")
    images = [photos / "images" / f"Rosa_canina_test_{number}.png" for number in range(2)]
    pd.testing.assert_frame_equal(again.predict(images), read.predict(images))


@pytest.mark.parametrize(
    ("head", "loss"),
    [("cosine", BALANCED), ("cosine", MARGINS), ("linear", "balanced_softmax")],
)
def test_the_head_starts_at_the_names(head: str, loss: str, photos: Path, tmp_path: Path) -> None:
    towers = load_towers(tiny_clip(tmp_path, layers=2), weights="none")
    save_towers(towers, tmp_path / "towers", logit_scale=20.0)
    backbone = f"clip:local-dir:{tmp_path / 'towers'}"
    changes = [*lift(backbone, adapter="lora", head=head, loss=loss), "model.weights=pretrained"]
    objective, data = objective_of(load_recipe("tiny,cross_entropy", changes), photos)
    names = [data.taxonomy.names[node] for node in data.classes.class_nodes]
    assert names == list(SPECIES)
    read = embed_texts(towers.text, [(f"a photo of a {name}",) for name in names])
    torch.testing.assert_close(objective.network.head.weight.detach(), read)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = towers.image.eval()(objective.network.normalise(images))
        torch.testing.assert_close(objective.network.eval().embed(images), seen)


def test_balanced_softmax_of_cosines_is_that_of_the_scaled_ones(
    photos: Path, tmp_path: Path
) -> None:
    """The loss of LIFT-BS is cross entropy of scaled cosines with the classes' log shares."""
    changes = lift(tiny_clip(tmp_path, layers=2), loss=BALANCED)
    objective, data = objective_of(load_recipe("tiny,cross_entropy", changes), photos)
    counts = torch.tensor(data.classes.class_counts.tolist())
    cosines = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    target = torch.tensor([0, 1, 2, 3, 4, 0])
    plain = torch.nn.functional.cross_entropy(32 * cosines + (counts / counts.sum()).log(), target)
    torch.testing.assert_close(objective.loss(cosines, target), plain)


def test_an_adapter_freezes_the_rest_whatever_frozen_says(photos: Path, tmp_path: Path) -> None:
    backbone = tiny_clip(tmp_path, layers=2)
    for frozen in ("true", "false"):
        changes = [*lift(backbone, adapter="layer_norm"), f"model.frozen={frozen}"]
        objective, _ = objective_of(load_recipe("tiny,cross_entropy", changes), photos)
        trained = [key for key, one in objective.network.named_parameters() if one.requires_grad]
        assert trained[-1] == "head.weight"
        assert len(trained) == 12 + 1
        assert all("ln_" in key for key in trained[:-1])


@pytest.mark.parametrize("adapter", ADAPTERS[:2])
def test_towers_that_open_clip_could_not_read_are_refused(
    adapter: str, photos: Path, tmp_path: Path
) -> None:
    changes = lift(
        tiny_clip(tmp_path, layers=2), adapter=adapter, head="level_cosine", loss="image_text"
    )
    with pytest.raises(ConfigError, match=r"'image_text' writes .*set model.adapter to bias"):
        train(config(photos, tmp_path / "run", *changes))
    assert not (tmp_path / "run").exists()


def test_names_and_images_meet_by_the_layer_norms_alone(photos: Path, tmp_path: Path) -> None:
    changes = lift(
        tiny_clip(tmp_path, layers=2), adapter="layer_norm", head="level_cosine", loss="image_text"
    )
    result = train(config(photos, tmp_path / "run", *changes, "epochs=1"))
    towers = load_towers(f"clip:local-dir:{result.folder / 'towers'}", weights="pretrained")
    kept = TaxonClassifier.load(result.classifier, device="cpu").network.backbone.state_dict()
    for key, one in towers.image.state_dict().items():
        assert torch.equal(one, kept[key])


def test_a_tower_that_cannot_be_adapted_is_refused(photos: Path, tmp_path: Path) -> None:
    changes = lift(tiny_clip(tmp_path, "modified_resnet"), adapter="lora")
    with pytest.raises(ConfigError, match="a ModifiedResNet, has no transformer blocks"):
        train(config(photos, tmp_path / "run", *changes))


def test_the_page_prints_what_it_says(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "clip.md"
    results = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert results.attempted >= 6
    assert results.failed == 0
    (text,) = re.findall(r"```yaml\n(# lift.yaml.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    (tmp_path / "lift.yaml").write_text(text, encoding="utf-8")
    model = load_recipe(tmp_path / "lift.yaml").model
    assert adapter_of(model) == LoRA(rank=8, alpha=8.0)
    assert model.test_crops == 5
