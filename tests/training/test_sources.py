"""A run from the name of a recipe that names its data."""

import shutil
from pathlib import Path

import pytest

from taxonet.errors import ConfigError
from taxonet.recipes import ModelRecipe
from taxonet.recipes.verbs import TrainConfig
from taxonet.training.sources import open_sources


def config(**options: object) -> TrainConfig:
    return TrainConfig.model_validate({"images": "dbm/cifar100-lt/dbm-bs", **options})


@pytest.mark.real_data
def test_a_recipe_names_data_and_all_else(real_data: Path) -> None:
    sources = open_sources(config(data_folder=real_data, set=("data.imbalance=50",)))
    assert sources.recipe.loss.name == "dbm"
    assert sources.images.split_counts() == {"train": 12608, "test": 10000}
    assert len(sources.taxonomy.leaves) == 100


def test_a_missing_set_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="taxonet data fetch cifar100-lt"):
        open_sources(config(data_folder=tmp_path / "none"))


def test_a_recipe_without_data_asks_for_photos(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="taxonet train PHOTOS --recipe method/dbm-bs"):
        open_sources(config(images="method/dbm-bs"))


def test_two_recipes_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="Give photos, or one recipe"):
        open_sources(config(recipe="taxonet"))


def test_a_folder_of_a_benchmark_set_beside_photos_is_refused(photos: Path) -> None:
    given = TrainConfig(images=photos / "images.csv", data_folder=photos)
    with pytest.raises(ConfigError, match="--data-folder says where the benchmark set"):
        open_sources(given)


def test_photos_may_lie_in_a_folder_named_as_a_recipe(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(photos, tmp_path / "am_softmax")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "am_softmax" / "images.csv").rename(tmp_path / "am_softmax" / "other.txt")
    (tmp_path / "am_softmax" / "images").rename(tmp_path / "am_softmax" / "Rosa canina")
    assert len(open_sources(TrainConfig(images=Path("am_softmax"))).images) == 100


def test_photos_come_with_the_usual_recipe(photos: Path) -> None:
    sources = open_sources(
        TrainConfig(images=photos / "images.csv", taxonomy=photos / "taxonomy.csv")
    )
    assert sources.recipe.loss.name == "dual_margin"
    assert len(sources.taxonomy.leaves) == 5


def model_of(**options: object) -> ModelRecipe:
    return open_sources(TrainConfig.model_validate(options)).recipe.model


def test_a_backbone_of_the_table_brings_options_and_weights(photos: Path) -> None:
    given = {"images": photos / "images.csv", "taxonomy": photos / "taxonomy.csv"}
    model = model_of(**given, backbone="dinov2-small")
    assert model.backbone == "vit_small_patch14_dinov2.lvd142m"
    assert model.weights == "pretrained"
    assert model.options == {"img_size": 224, "dynamic_img_size": True}
    # Whatever --set says comes after it.
    changes = ("model.weights=none", "model.options.drop_path_rate=0.1")
    model = model_of(**given, backbone="dinov2-small", set=changes)
    assert model.weights == "none"
    assert model.options == {"img_size": 224, "dynamic_img_size": True, "drop_path_rate": 0.1}
    assert model.head == "cosine"  # of the recipe, which stays as it is


def test_any_other_backbone_is_taken_as_it_is_named(photos: Path, tmp_path: Path) -> None:
    given: dict[str, object] = {
        "images": photos / "images.csv",
        "taxonomy": photos / "taxonomy.csv",
    }
    model = model_of(**given, backbone="test_resnet")
    assert (model.backbone, model.weights, model.options) == ("test_resnet", "none", {})
    # Options are those of the recipe's backbone, and not for another one.
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "extends: taxonet\nmodel: {backbone: test_vit, options: {img_size: 96}, weights: none}\n"
    )
    given["recipe"] = str(recipe)
    assert model_of(**given).options == {"img_size": 96}
    assert model_of(**given, backbone="test_vit").options == {"img_size": 96}
    assert model_of(**given, backbone="resnet32").options == {}
    assert model_of(**given, backbone="efficientnet_lite0.packaged").weights == "pretrained"
