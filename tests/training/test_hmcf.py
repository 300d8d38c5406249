"""Runs that train both towers by names: what they leave, and that they can be repeated."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from taxonet.classifier import TaxonClassifier
from taxonet.errors import CheckpointError
from taxonet.models import Network, TextTower, embed_texts, load_towers, prompts, save_towers
from taxonet.recipes import load_recipe
from taxonet.taxonomy import Taxonomy
from taxonet.training import Interrupted, train
from taxonet.training.objectives.image_text import ImageTextObjective
from tests.small_set import config
from tests.tiny_clip import hmcf
from tests.torchrun import torchrun
from tests.training.test_resume import assert_same_run, ctrl_c_counts, patch_recall, steps_of

__all__ = ["ctrl_c_counts"]  # a fixture that acts by itself

GENTLE = ("batch_size=8", "keep_epoch=last")
WORDS = "words={templates: ['a photo of a {name}', '{name}, wild']}"
MCF = "loss={name: image_text, levels: [3]}"


@pytest.fixture(scope="module")
def plain(
    photos: Path, tiny_clips: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Every level, both towers, the whole batch at once."""
    run = tmp_path_factory.mktemp("plain") / "run"
    return train(config(photos, run, *hmcf(tiny_clips["vit"]), *GENTLE)).folder


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "classifier" / "model.safetensors")


def towers_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "towers" / "open_clip_model.safetensors")


def losses_of(run: Path) -> list[float]:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == "epoch"]


def assert_close(run: Path, other: Path, *, atol: float = 1e-4) -> None:
    for read in (weights_of, towers_of):
        found, expected = read(run), read(other)
        assert found.keys() == expected.keys()
        for name, tensor in found.items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=atol, msg=name)


def photo_paths(photos: Path) -> list[Path]:
    return sorted((photos / "images").glob("*_test_*.png"))


def names_by_exported_tower(run: Path, templates: tuple[str, ...]) -> torch.Tensor:
    tower = load_towers(f"clip:local-dir:{run / 'towers'}", weights="pretrained").text
    table = pd.read_csv(run / "classifier" / "taxonomy.csv", dtype=str)
    tree = Taxonomy.from_table(table, ranks=("family", "genus", "species"))
    return embed_texts(tower, prompts(tree, templates=templates))


def test_the_loss_falls_and_every_level_has_its_projection(plain: Path) -> None:
    first, second = losses_of(plain)
    assert second < first
    weights = weights_of(plain)
    eye = torch.eye(16)
    for level in range(3):
        projection = weights[f"head.projections.{level}.weight"]
        assert 0 < (projection - eye).abs().max() < 0.5
    assert sum(name.startswith("head.projections") for name in weights) == 3
    assert weights["head.log_scales"].exp().max() <= 100.001


def test_towers_hold_what_the_classifier_was_made_of(plain: Path) -> None:
    weights, towers = weights_of(plain), towers_of(plain)
    for name, tensor in towers.items():
        if name.startswith("visual."):
            assert torch.equal(weights[f"backbone.{name}"], tensor), name
    assert towers["logit_scale"].item() == pytest.approx(weights["head.log_scales"][-1].item())
    assert torch.equal(
        names_by_exported_tower(plain, ("a photo of a {name}",)), weights["head.weight"]
    )


@pytest.mark.parametrize("ema", ["null", "0.9"])
def test_the_kept_epochs_text_tower_is_the_exported_one(
    photos: Path,
    tmp_path: Path,
    tiny_clips: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    ema: str,
) -> None:
    """The first of two epochs is better: all that is left must be of the first."""
    patch_recall(monkeypatch, iter([0.6, 0.4]))
    given = (*hmcf(tiny_clips["vit"]), "batch_size=8", WORDS, f"ema={ema}")
    result = train(config(photos, tmp_path / "run", *given))
    assert result.kept_epoch == 1
    found = names_by_exported_tower(tmp_path / "run", ("a photo of a {name}", "{name}, wild"))
    assert torch.equal(found, weights_of(tmp_path / "run")["head.weight"])
    last = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))[-1]
    later = load_file(last / "model.safetensors")["tower.model.text_projection"]
    assert not torch.equal(later, towers_of(tmp_path / "run")["text_projection"])


def test_an_average_of_the_towers_has_names_of_its_own(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path], plain: Path
) -> None:
    """The names are read again by the averaged text tower, not averaged themselves."""
    given = (*hmcf(tiny_clips["vit"]), *GENTLE, "ema=0.9")
    run = train(config(photos, tmp_path / "run", *given)).folder
    weights = weights_of(run)
    found = names_by_exported_tower(run, ("a photo of a {name}",))
    assert torch.equal(found, weights["head.weight"])
    assert losses_of(run) == losses_of(plain)
    assert not torch.equal(weights["head.weight"], weights_of(plain)["head.weight"])


def test_mcf_is_the_leaf_level_alone(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path]
) -> None:
    given = (*hmcf(tiny_clips["vit"]), MCF, *GENTLE)
    run = train(config(photos, tmp_path / "run", *given)).folder
    weights = weights_of(run)
    assert not any(name.startswith("head.projections") for name in weights)
    assert weights["head.log_scales"].shape == (1,)
    first, second = losses_of(run)
    assert second < first
    classifier = TaxonClassifier.load(run / "classifier", device="cpu")
    rows = classifier.predict(photo_paths(photos)[:2])
    species = rows["species_probability"].tolist()
    assert all(0 < prob <= 1 for prob in species)
    assert (rows["family_probability"] >= rows["species_probability"] - 1e-6).all()


def test_what_counts_as_a_duplicate(photos: Path, tmp_path: Path, plain: Path) -> None:
    """Positives and negatives are one where namesakes have one text; masked is another."""
    recipe = load_recipe(plain / "recipe.yaml")
    runs = {}
    for treatment in ("negatives", "masked"):
        given = (*hmcf(recipe.model.backbone.removeprefix("clip:")), *GENTLE)
        loss = f"loss={{name: image_text, duplicates: {treatment}}}"
        runs[treatment] = train(config(photos, tmp_path / treatment, *given, loss)).folder
    assert_close(runs["negatives"], plain)
    assert losses_of(runs["masked"])[0] < losses_of(plain)[0] - 1


@pytest.mark.parametrize("tower", ["text", "image"])
def test_a_frozen_tower_stays(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path], plain: Path, tower: str
) -> None:
    given = (*hmcf(tiny_clips["vit"]), *GENTLE)
    freeze = "words.frozen=true" if tower == "text" else "model.frozen=true"
    run = train(config(photos, tmp_path / "run", *given, freeze)).folder
    longer = train(config(photos, tmp_path / "longer", *given, freeze, "epochs=3")).folder
    one, other = towers_of(run), towers_of(longer)
    for name, tensor in one.items():
        is_frozen = name.startswith("visual.") == (tower == "image") and name != "logit_scale"
        if is_frozen:
            assert torch.equal(tensor, other[name]), name
    moves = "text_projection" if tower == "image" else "visual.proj"
    assert not torch.equal(one[moves], other[moves])
    assert torch.equal(
        names_by_exported_tower(run, ("a photo of a {name}",)), weights_of(run)["head.weight"]
    )


def test_in_chunks_as_at_once(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path], plain: Path
) -> None:
    given = (*hmcf(tiny_clips["vit"]), *GENTLE, "words.chunk=3")
    run = train(config(photos, tmp_path / "run", *given)).folder
    assert_close(run, plain)


def test_a_recipe_and_a_seed_are_a_run(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path], plain: Path
) -> None:
    """Whatever the state of torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        run = train(config(photos, tmp_path / "run", *hmcf(tiny_clips["vit"]), *GENTLE)).folder
    assert_same_run(run, plain)


@pytest.mark.parametrize(("in_batch", "ema"), [(3, "null"), (5, "null"), (8, "null"), (8, "0.9")])
def test_ctrl_c_and_resume(
    photos: Path,
    tmp_path: Path,
    tiny_clips: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    in_batch: int,
    ema: str,
) -> None:
    """With two templates to draw from, and an epoch kept by its recall."""
    given = (*hmcf(tiny_clips["vit"]), "batch_size=8", WORDS, f"ema={ema}")
    alone = train(config(photos, tmp_path / "alone", *given))
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, in_batch=in_batch)
        with pytest.raises(Interrupted):
            train(config(photos, tmp_path / "stopped", *given))
    assert steps_of(tmp_path / "stopped")[-1] == in_batch
    resumed = train(config(photos, tmp_path / "stopped", *given, resume=True))
    assert_same_run(tmp_path / "alone", tmp_path / "stopped")
    assert resumed.kept_epoch == alone.kept_epoch
    one, other = towers_of(tmp_path / "alone"), towers_of(tmp_path / "stopped")
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, *, in_batch: int) -> None:
    forward = ImageTextObjective.forward
    batches: Iterator[int] = iter(range(1, 10_000))

    def forward_and_press(self: ImageTextObjective, *given: Any, **named: Any) -> Any:
        if next(batches) == in_batch:
            signal.raise_signal(signal.SIGINT)
        return forward(self, *given, **named)

    monkeypatch.setattr(ImageTextObjective, "forward", forward_and_press)


def test_prediction_needs_no_text_tower_and_not_the_folder_it_came_from(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = tmp_path / "origin"
    save_towers(load_towers(f"clip:{tiny_clips['vit']}", weights="none"), origin, logit_scale=30)
    given = (*hmcf(f"local-dir:{origin}"), "model.weights=pretrained", *GENTLE, "epochs=1")
    folder = train(config(photos, tmp_path / "run", *given)).classifier
    before = TaxonClassifier.load(folder, device="cpu").predict(photo_paths(photos))

    def refuse(*given: object, **named: object) -> None:
        raise AssertionError("a text tower was asked for")

    for room in ("models.clip", "training.taxon_names"):
        monkeypatch.setattr(f"taxonet.{room}.load_towers", refuse)
    monkeypatch.setattr(TextTower, "__init__", refuse)
    shutil.rmtree(origin)
    shutil.rmtree(tmp_path / "run" / "towers")
    shutil.copytree(folder, tmp_path / "elsewhere")
    classifier = TaxonClassifier.load(tmp_path / "elsewhere", device="cpu")
    pd.testing.assert_frame_equal(classifier.predict(photo_paths(photos)), before)
    # And it can be written again as it was read.
    classifier.save(tmp_path / "copy")
    again = TaxonClassifier.load(tmp_path / "copy", device="cpu")
    pd.testing.assert_frame_equal(again.predict(photo_paths(photos)), before)


def test_scores_of_one_level_are_those_of_the_exported_towers(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path]
) -> None:
    """MCF has no projection, so that anybody with open_clip gets the same answers."""
    given = (*hmcf(tiny_clips["vit"]), MCF, *GENTLE, "epochs=1")
    run = train(config(photos, tmp_path / "run", *given)).folder
    model = open_clip.create_model(f"local-dir:{run / 'towers'}", require_pretrained=True).eval()
    classifier = TaxonClassifier.load(run / "classifier", device="cpu")
    photo = Image.open(photo_paths(photos)[0])
    (embedding,) = torch.from_numpy(classifier.embed([photo]))
    network: Network = classifier.parts.network
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        seen = model.encode_image(network.normalise(pixels))
        torch.testing.assert_close(seen, network.embed(pixels))
        texts = open_clip.get_tokenizer(f"local-dir:{run / 'towers'}")(["a photo of a Acer rubrum"])
        text = model.encode_text(texts, normalize=True)[0]
        score = model.logit_scale.exp() * torch.nn.functional.normalize(embedding, dim=0) @ text
        found = network.head(embedding[None])[0]
    tree = Taxonomy.from_table(
        pd.read_csv(run / "classifier" / "taxonomy.csv", dtype=str),
        ranks=("family", "genus", "species"),
    )
    (node,) = tree.find("Acer rubrum")
    torch.testing.assert_close(found[node], score, rtol=1e-4, atol=1e-4)


def test_a_damaged_architecture_is_named(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    shutil.copytree(plain / "classifier", folder)
    settings = json.loads((folder / "classifier.json").read_text())
    assert settings["architecture"]["model_cfg"]["embed_dim"] == 16
    del settings["architecture"]["model_cfg"]["embed_dim"]
    (folder / "classifier.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=r"classifier.json: .*there is no embed_dim"):
        TaxonClassifier.load(folder, device="cpu")


@pytest.mark.parametrize("vision", ["modified_resnet", "timm"])
def test_towers_of_other_kinds(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path], vision: str
) -> None:
    gentle = ("optimiser.learning_rate=0.001", "precision=bf16")
    given = (*hmcf(tiny_clips[vision]), *GENTLE, *gentle)
    run = train(config(photos, tmp_path / "run", *given)).folder
    classifier = TaxonClassifier.load(run / "classifier", device="cpu")
    assert len(classifier.predict(photo_paths(photos)[:3])) == 3
    towers = load_towers(f"clip:local-dir:{run / 'towers'}", weights="pretrained")
    expected = classifier.parts.network.backbone.state_dict()
    for name, tensor in towers.image.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("changes", [(), ("words.chunk=3",), ("words.frozen=true",)], ids=str)
def test_two_processes_are_one_with_the_whole_batch(
    photos: Path, tmp_path: Path, tiny_clips: dict[str, Path], changes: tuple[str, ...]
) -> None:
    """Two with four photos at a step each have the eight that one has."""
    given = (*hmcf(tiny_clips["vit"]), "keep_epoch=last", WORDS, *changes)
    alone = train(config(photos, tmp_path / "alone", *given, "batch_size=8")).folder
    both = config(photos, tmp_path / "both", *given, "batch_size=4")
    words = ["-m", "taxonet", "train", str(both.images), "--taxonomy", str(both.taxonomy)]
    words += ["--recipe", "cross_entropy", "--out", str(both.out), "--device", "cpu"]
    words += [word for change in both.set for word in ("--set", change)]
    done = torchrun(*words)
    assert done.returncode == 0, done.stderr
    assert_close(both.out, alone)
    assert losses_of(both.out) == pytest.approx(losses_of(alone), rel=1e-4)
