from pathlib import Path

import pytest

from taxonet.errors import ConfigError
from taxonet.recipes import (
    PartChoice,
    Recipe,
    dump_recipe,
    load_recipe,
    load_recipe_and_notes,
    preset_names,
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def complaint(source: str | Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_recipe(source, overrides)
    return str(error.value)


#: Halves of a recipe, which others extend.
HALVES = ("data/", "protocol/")


@pytest.mark.parametrize("name", [name for name in preset_names() if not name.startswith(HALVES)])
def test_every_preset_survives_writing_and_reading(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = write(tmp_path / "recipe.yaml", dump_recipe(recipe))
    assert load_recipe(path) == recipe


def test_the_presets_say_what_they_are() -> None:
    at_the_top = [name for name in preset_names() if "/" not in name]
    assert at_the_top == [
        "am_softmax",
        "cross_entropy",
        "finetune",
        "quick",
        "taxonet",
        "tiny",
    ]
    assert {"method/dbm-bs", "dbm/cifar100-lt/dbm-bs"} <= set(preset_names())
    # A data set and a method, and nothing that the method does not say.
    recipe = load_recipe("dbm/cifar100-lt/dbm-bs", ["data.imbalance=50"])
    assert recipe.data == PartChoice(name="cifar100-lt", imbalance=50)
    assert recipe.loss == PartChoice(name="dbm", base="bs")
    assert (recipe.model.backbone, recipe.epochs) == ("resnet32", 200)
    taxonet = load_recipe("taxonet")
    assert taxonet.loss.name == "dual_margin"
    assert taxonet.loss.options["base_margin_cos"] == 0.15
    assert taxonet.selection is not None
    assert (taxonet.model.head, taxonet.batch_size) == ("cosine", 32)
    assert load_recipe("cross_entropy").selection is None


def test_an_odd_recipe_survives_writing_and_reading(tmp_path: Path) -> None:
    recipe = load_recipe(
        "taxonet",
        [
            "optimiser.learning_rate=1e-7",
            "optimiser.clip_norm=null",
            "augment={name: augmix, severity: 2}",
            'model.backbone="ünï: #1"',
            "loss.normalise=mean",
        ],
    )
    text = dump_recipe(recipe)
    assert "ünï: #1" in text
    assert load_recipe(write(tmp_path / "r.yaml", text)) == recipe


def test_overrides_change_single_keys() -> None:
    base = load_recipe("taxonet")
    recipe = load_recipe("taxonet", ["epochs=3", "loss.scale=16", " selection.extra = 4"])
    assert recipe.epochs == 3
    assert recipe.loss.options == base.loss.options | {"scale": 16}
    assert recipe.selection is not None
    assert (recipe.selection.extra, recipe.selection.tail_shots) == (4, 100)
    assert (
        recipe.model_copy(
            update={"epochs": base.epochs, "loss": base.loss, "selection": base.selection}
        )
        == base
    )


def test_an_override_can_take_a_section_away_or_give_one() -> None:
    assert load_recipe("taxonet", ["selection=null"]).selection is None
    given = load_recipe("cross_entropy", ["selection.keep=random"]).selection
    assert given is not None
    assert (given.keep, given.extra) == ("random", 8)


@pytest.mark.parametrize("number", ["1e-2", "0.01", "1.0e-2", "1E-2"])
def test_numbers_are_read_as_people_write_them(number: str, tmp_path: Path) -> None:
    # YAML 1.1 takes 1e-2 for text.
    assert (
        load_recipe("taxonet", [f"optimiser.learning_rate={number}"]).optimiser.learning_rate
        == 0.01
    )
    path = write(tmp_path / "r.yaml", f"extends: taxonet\noptimiser: {{learning_rate: {number}}}\n")
    assert load_recipe(path).optimiser.learning_rate == 0.01


def test_the_options_of_another_part_do_not_leak() -> None:
    recipe = load_recipe("taxonet", ["loss.name=am_softmax"])
    assert recipe.loss == PartChoice(name="am_softmax")
    assert recipe.model.head == "cosine"
    # The same part by name keeps its options.
    same = load_recipe("taxonet", ["loss.name=dual_margin", "loss.scale=16"]).loss.options
    assert same == {"base_margin_cos": 0.15, "scale": 16, "regularisation": 1.0}


def test_options_of_parts_inside_sections_do_not_leak_either() -> None:
    stage = "second_stage={stage: {name: crt, learning_rate: 0.5, epochs: 30}}"
    recipe = load_recipe("cross_entropy", [stage, "second_stage.stage={name: max_norm}"])
    assert recipe.second_stage is not None
    assert recipe.second_stage.stage == PartChoice(name="max_norm")
    contrast = load_recipe("method/supcon", ["contrast.loss.temperature=0.3"])
    other = load_recipe("method/supcon", ["contrast.loss.name=dro"])
    assert contrast.contrast is not None
    assert other.contrast is not None
    assert contrast.contrast.loss.options["temperature"] == 0.3
    assert other.contrast.loss == PartChoice(name="dro")


def test_an_optimiser_keeps_its_rate_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: [protocol/taxonet, method/ce]\n", encoding="utf-8")
    before = load_recipe(path).optimiser
    after = load_recipe(path, ["optimiser.name=adamw"]).optimiser
    assert before.learning_rate == 0.01
    assert after == before.model_copy(update={"name": "adamw"})


def test_the_order_of_overrides_makes_no_difference() -> None:
    one = load_recipe("taxonet", ["loss.name=am_softmax", "loss.margin_cos=0.2", "epochs=2"])
    other = load_recipe("taxonet", ["loss.margin_cos=0.2", "epochs=2", "loss.name=am_softmax"])
    assert one == other
    assert one.loss == PartChoice.model_validate({"name": "am_softmax", "margin_cos": 0.2})


def test_of_two_overrides_of_a_key_the_later_counts() -> None:
    assert load_recipe("taxonet", ["epochs=2", "epochs=3"]).epochs == 3


def test_a_file_extends_a_preset(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml", "extends: taxonet\nepochs: 5\nloss: {name: am_softmax}\n")
    recipe = load_recipe(path)
    assert (recipe.epochs, recipe.batch_size) == (5, 32)
    assert recipe.loss == PartChoice(name="am_softmax")


def test_a_file_extends_a_file_beside_it_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a" / "base.yaml", "extends: ../root.yaml\nepochs: 5\n")
    write(tmp_path / "root.yaml", "extends: taxonet\nepochs: 4\nseed: 9\n")
    write(tmp_path / "a" / "mine.yaml", "extends: base.yaml\nbatch_size: 7\n")
    for place, name in ((tmp_path, "a/mine.yaml"), (tmp_path / "a", "mine.yaml")):
        monkeypatch.chdir(place)
        recipe = load_recipe(name)
        assert (recipe.epochs, recipe.seed, recipe.batch_size) == (5, 9, 7)


def test_a_circle_of_recipes_is_shown(tmp_path: Path) -> None:
    one = write(tmp_path / "one.yaml", "extends: sub/../two.yaml\n")
    (tmp_path / "sub").mkdir()
    two = write(tmp_path / "two.yaml", f"extends: {one}\n")
    says = complaint(one)
    assert "extend each other in a circle" in says
    assert f"{one} -> {two} -> {one}" in says


def test_all_wrong_keys_come_at_once_with_the_nearest(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.yaml",
        "extends: taxonet\nepoch: 3\nmodel: {bakbone: resnet32}\nbatch_size: 1\n"
        "selection: {keep: highest_norm}\nprecision: fp8\n",
    )
    says = complaint(path)
    assert says.startswith(f"5 problem(s) in recipe {path}:\n")
    assert "  epoch: unknown key. Did you mean 'epochs'? Known here: data, model," in says
    assert "  model.bakbone: unknown key. Did you mean 'backbone'? Known here: backbone, w" in says
    assert "  batch_size: Input should be greater than or equal to 2 (got 1)." in says
    assert (
        "  selection.keep: Input should be 'lowest_norm' or 'random' (got 'highest_norm')" in says
    )
    assert "  precision: Input should be 'auto', 'no', 'bf16' or 'fp16' (got 'fp8')." in says


def test_a_missing_key_is_asked_for(tmp_path: Path) -> None:
    says = complaint(
        write(
            tmp_path / "r.yaml", "model: {backbone: resnet10}\nepochs: 3\nselection: {extra: 0}\n"
        )
    )
    assert "  loss: this key is required." in says
    assert "  selection.extra: Input should be greater than 0 (got 0)." in says


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("epochs", "An override reads path.to.key=value, got 'epochs'"),
        ("=3", "An override reads"),
        ("loss..scale=3", "An override reads"),
        ("loss.scale=[1", "The value of the override 'loss.scale=[1' is not YAML"),
        ("epoch=3", "epoch: unknown key. Did you mean 'epochs'?"),
        ("epochs.many=3", "epochs: Input should be a valid integer"),
        ("optimiser.learning_rat=1", "Did you mean 'learning_rate'?"),
        ("extends=taxonet", "extends: unknown key"),
    ],
)
def test_a_wrong_override_is_refused(override: str, says: str) -> None:
    assert says in complaint("taxonet", override)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must be a mapping of keys, got None"),
        (b"- 1\n", "must be a mapping of keys, got [1]"),
        (b"loss: [", "is not valid YAML"),
        (b"loss: \xff\n", "is not valid YAML"),
        (b"loss: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        (b"extends: nowhere.yaml\n", "nowhere.yaml', and no such file exists"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    assert says in complaint(path)


def test_an_unknown_name_gives_the_nearest_preset() -> None:
    says = complaint("taxnet")
    assert "No recipe is called 'taxnet', and no such file exists. Did you mean 'taxonet'?" in says
    assert "`taxonet list recipes` prints all." in says


def test_loading_leaves_no_trace_in_the_next_loading() -> None:
    before = load_recipe("taxonet")
    load_recipe("taxonet", ["loss.scale=99", "model.head=linear", "selection.extra=1"])
    assert load_recipe("taxonet") == before


def test_a_recipe_never_changes() -> None:
    recipe = load_recipe("taxonet")
    with pytest.raises(ValueError, match="frozen"):
        recipe.epochs = 3  # type: ignore[misc] # the mistake that is meant
    assert Recipe.model_validate(recipe.model_dump()) == recipe


def test_no_precision_survives_yaml_which_reads_no_as_false() -> None:
    assert load_recipe("taxonet", ["precision=no"]).precision == "no"


def test_a_recipe_may_extend_several_and_the_later_ones_win(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("batch_size: 8\nepochs: 3\nloss: cross_entropy\n")
    (tmp_path / "long.yaml").write_text("epochs: 9\nloss: {name: am_softmax, scale: 16}\n")
    (tmp_path / "both.yaml").write_text(
        "extends: [small.yaml, long.yaml]\nloss: {margin_cos: 0.2}\nmodel: {head: cosine}\n"
    )
    recipe = load_recipe(tmp_path / "both.yaml")
    assert (recipe.batch_size, recipe.epochs) == (8, 9)
    assert recipe.loss == PartChoice(name="am_softmax", scale=16, margin_cos=0.2)


def test_a_part_may_be_its_name_alone_and_take_options_later(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text("loss: am_softmax\nmodel: {head: cosine}\n")
    assert load_recipe(tmp_path / "short.yaml").loss == PartChoice(name="am_softmax")
    changed = load_recipe(tmp_path / "short.yaml", ["loss.margin_cos=0.3"])
    assert changed.loss == PartChoice(name="am_softmax", margin_cos=0.3)
    other = load_recipe(tmp_path / "short.yaml", ["loss=cross_entropy", "model.head=linear"])
    assert other.loss == PartChoice(name="cross_entropy")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["mixing={name: cmo}", "selection={}"],
            "selection and mixing each decide what a batch holds",
        ),
        (["reweighting={from_epoch: 9}", "epochs=5"], "it would never act"),
        (["schedule={name: steps}"], "steps needs milestones"),
        (["schedule={milestones: [3]}"], "a cosine has no milestones"),
        (["schedule={name: steps, milestones: [8, 6]}"], "milestones must rise"),
        (["schedule={name: steps, milestones: [0]}"], "milestones must rise from above 0"),
        (["optimiser.nesterov=true", "optimiser.momentum=0"], "set momentum above 0"),
        (["transfer={similarity: names.csv}"], "set similar to how many"),
        (["model.image_size=0"], r"^1 problem.*\n.*at least 1, got 0: write 224 or \[614, 512\]"),
        (["model.image_size=[8]"], r"height and width, .* got \[8\]"),
        (["model.image_size=[8, 8, 3]"], r"height and width, .* got \[8, 8, 3\]"),
        (["model.image_size=8.5"], r"in whole pixels .* got 8\.5"),
        (["model.crop_share=0"], "model.crop_share: .* greater than 0"),
        (["model.crop_share=1.5"], "model.crop_share: .* less than or equal to 1"),
        (["model.interpolation=box"], "model.interpolation: .* 'bilinear' or 'bicubic'"),
    ],
)
def test_what_cannot_work_together_is_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_recipe("cross_entropy", overrides)


def test_a_recipe_without_a_backbone_stands_on_quick(tmp_path: Path) -> None:
    recipe = load_recipe("method/dbm-ce")
    assert (recipe.model.backbone, recipe.model.weights) == (
        "efficientnet_lite0.packaged",
        "pretrained",
    )
    assert recipe.features is not None
    assert recipe.loss == PartChoice(name="dbm", base="ce")
    # Nor does a loss of its own get the head of quick's.
    assert load_recipe(write(tmp_path / "r.yaml", "loss: cross_entropy\n")).model.head == "linear"
    assert load_recipe("dbm/cifar100-lt/dbm-bs").features is None


def test_later_recipes_change_earlier_ones_and_a_change_of_backbone_is_said(
    tmp_path: Path,
) -> None:
    recipe, notes = load_recipe_and_notes("quick,method/cb", ["epochs=3"])
    assert (recipe.loss.name, recipe.model.head, recipe.epochs) == ("class_balanced", "linear", 3)
    assert notes == ()
    write(tmp_path / "other.yaml", "model: {backbone: resnet50}\n")
    both = write(tmp_path / "both.yaml", "extends: [quick, other.yaml]\n")
    recipe, notes = load_recipe_and_notes(both)
    assert recipe.model.backbone == "resnet50"
    (note,) = notes
    assert note.endswith(
        "other.yaml changes the backbone from efficientnet_lite0.packaged to resnet50."
    )


def test_quick_without_features_trains_all_layers_gently() -> None:
    recipe = load_recipe("quick", ["features=null"])
    assert (recipe.optimiser.name, recipe.optimiser.learning_rate) == ("adamw", 1e-4)
    quick = load_recipe("quick")
    assert (quick.optimiser.name, quick.optimiser.learning_rate, quick.epochs) == ("sgd", 0.1, 40)


def test_an_input_is_a_side_or_a_height_and_a_width(tmp_path: Path) -> None:
    for given, size, written in (("32", (32, 32), "32"), ("[614, 512]", (614, 512), "- 614")):
        recipe = load_recipe("tiny", [f"model.image_size={given}"])
        assert recipe.model.input_size == size
        text = dump_recipe(recipe)
        assert written in text.partition("image_size:")[2].partition("fit:")[0]
        assert load_recipe(write(tmp_path / "recipe.yaml", text)) == recipe
    assert load_recipe("protocol/taxonet", ["loss=cross_entropy"]).model.input_size == (614, 512)
