"""The procedural flora: its taxonomy, its plan, its pixels and its folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from taxonet.data.flora import Flora, FloraConfig, draw, make_flora, write_flora
from taxonet.data.flora.drawing import draw_photo
from taxonet.data.flora.names import family_name, genus_name, species_name
from taxonet.data.flora.taxa import TRAITS
from taxonet.errors import ConfigError, DataError
from taxonet.seeds import generator

TINY = FloraConfig(
    species=6,
    genera=4,
    families=2,
    image_size=32,
    train_images=8,
    imbalance_factor=4,
    val_images=2,
    calibration_images=2,
    test_images=3,
    region_images=2,
    unknown_species=5,
    unknown_images=3,
)


@pytest.fixture(scope="module")
def tiny() -> Flora:
    return make_flora(TINY)


@pytest.fixture(scope="module")
def default() -> Flora:
    return make_flora()


def test_taxa_are_as_many_as_asked_for(default: Flora) -> None:
    taxonomy = default.taxonomy
    assert list(taxonomy.columns) == ["family", "genus", "species"]
    assert taxonomy.nunique().to_dict() == {"family": 8, "genus": 24, "species": 60}
    assert (taxonomy.groupby("genus")["family"].nunique() == 1).all()
    assert taxonomy["family"].str.endswith("aceae").all()
    assert (taxonomy["species"].str.split(" ").str[0] == taxonomy["genus"]).all()


def test_a_family_is_named_after_one_of_its_genera(default: Flora) -> None:
    for family, rows in default.taxonomy.groupby("family"):
        assert family in {family_name(genus) for genus in rows["genus"]}


def test_names_are_distinct_and_epithets_agree_in_gender() -> None:
    rng = generator("test names", 0)
    taken: set[str] = set()
    genera = [genus_name(rng, taken) for _ in range(300)]
    assert len({family_name(genus) for genus in genera}) == 300
    for genus in genera:
        epithet = species_name(rng, genus, set()).split(" ")[1]
        neuter = genus.endswith("um")
        assert epithet.endswith(("um", "ense")) == neuter, (genus, epithet)
        assert epithet.endswith("us") == (genus.endswith("us") and not epithet.endswith("ensis"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_relatives_look_alike(seed: int) -> None:
    flora = make_flora(FloraConfig(seed=seed))
    traits = np.stack([flora.species[s].morphology.traits for s in flora.taxonomy["species"]])
    distance = np.abs(traits[:, None] - traits[None]).mean(-1)
    genus = _same(flora.taxonomy["genus"])
    family = _same(flora.taxonomy["family"])
    others = ~np.eye(len(traits), dtype=bool)
    within_genus = distance[genus & others].mean()
    between_genera = distance[family & ~genus].mean()
    between_families = distance[~family].mean()
    assert within_genus * 1.2 < between_genera
    assert between_genera * 1.1 < between_families


def test_forms_are_shared_by_a_family_and_individuals_are_near_their_species(tiny: Flora) -> None:
    for _, rows in tiny.taxonomy.groupby("family"):
        assert len({tiny.species[name].morphology.forms for name in rows["species"]}) == 1
    species = tiny.species[tiny.taxonomy["species"][0]].morphology
    plants = np.stack([species.plant(generator("test plant", i)).traits for i in range(200)])
    assert plants.min() >= 0
    assert plants.max() <= 1
    assert 0 < np.abs(plants - species.traits).mean() < 0.05
    assert species["leaf_length"] == pytest.approx(
        np.interp(species.traits[list(TRAITS).index("leaf_length")], [0, 1], TRAITS["leaf_length"])
    )


def test_training_counts_follow_the_exponential_profile(default: Flora) -> None:
    train = default.plan[default.plan["split"] == "train"]
    counts = np.sort(train["taxon"].value_counts().to_numpy())[::-1]
    expected = [int(200 * 50 ** (-i / 59) + 1e-9) for i in range(60)]
    assert counts.tolist() == expected
    assert counts[0] / counts[-1] >= 50


def test_other_splits_are_balanced(tiny: Flora) -> None:
    known = tiny.plan[(tiny.plan["novelty"] == "known") & (tiny.plan["split"] != "train")]
    sizes = known.groupby(["split", "region"])["taxon"].value_counts().unstack()
    assert (sizes.nunique(axis=1) == 1).all()
    assert sizes.iloc[:, 0].to_dict() == {
        ("calibration", "A"): 2,
        ("test", "A"): 3,
        ("test", "B"): 2,
        ("val", "A"): 2,
    }


def test_groups_are_plants_of_one_to_three_photos_in_one_split(default: Flora) -> None:
    groups = default.plan.groupby("group")
    for column in ("taxon", "split", "region", "season", "plant"):
        assert (groups[column].nunique() == 1).all(), column
    assert set(groups.size()) == {1, 2, 3}
    assert default.plan["image"].is_unique


def test_unknown_taxa_are_never_among_the_known(default: Flora) -> None:
    unknown = default.plan[default.plan["novelty"] != "known"]
    assert set(unknown["split"]) == {"test"}
    assert set(unknown["region"]) == {"A"}
    assert unknown["taxon"].nunique() == 12
    assert (unknown["taxon"].value_counts() == 20).all()
    assert not set(unknown["taxon"]) & set(default.taxonomy["species"])
    assert set(default.plan.loc[default.plan["split"] != "test", "novelty"]) == {"known"}


def test_novelty_says_whether_the_genus_is_known(tiny: Flora) -> None:
    genera, families = set(tiny.taxonomy["genus"]), set(tiny.taxonomy["family"])
    novelties = []
    for species in tiny.species.values():
        assert species.family in families
        assert (species.genus in genera) == (species.novelty != "unknown genus")
        novelties.append(species.novelty)
    assert novelties.count("known genus") == 3
    assert novelties.count("unknown genus") == 2


def test_pixels_do_not_depend_on_the_order_of_drawing(tiny: Flora) -> None:
    rows = [0, 7, 20, len(tiny.plan) - 1]
    forwards = [draw(tiny, row) for row in rows]
    again = make_flora(TINY)
    backwards = [draw(again, row) for row in reversed(rows)][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        assert first.dtype == np.uint8
        np.testing.assert_array_equal(first, second)


def test_pixels_do_not_depend_on_the_counts(tiny: Flora) -> None:
    fewer = make_flora(TINY.model_copy(update={"train_images": 5, "unknown_images": 1}))
    columns = ["taxon", "plant", "photo", "region", "season"]
    pairs = tiny.plan.reset_index().merge(fewer.plan.reset_index(), on=columns)
    assert len(pairs) > 10
    for _, pair in pairs[::7].iterrows():
        np.testing.assert_array_equal(
            draw(tiny, int(pair["index_x"])), draw(fewer, int(pair["index_y"]))
        )


def test_everything_that_may_change_a_photo_does(tiny: Flora) -> None:
    first, second = (tiny.species[name] for name in tiny.taxonomy["species"][:2])
    photo = _photo(tiny, first.name)
    others = {
        "species": _photo(tiny, second.name),
        "seed": _photo(tiny, first.name, seed=1),
        "plant": _photo(tiny, first.name, plant=1),
        "photo": _photo(tiny, first.name, photo=1),
        "region": _photo(tiny, first.name, region="B"),
        "season": _photo(tiny, first.name, season="autumn"),
    }
    for what, other in others.items():
        assert np.abs(photo.astype(int) - other.astype(int)).mean() > 2, what


@pytest.mark.parametrize("size", [16, 32, 100, 256])
def test_a_photo_shows_the_same_at_every_size(tiny: Flora, size: int) -> None:
    name = tiny.taxonomy["species"][0]
    photo = Image.fromarray(_photo(tiny, name, size=size))
    assert photo.size == (size, size)
    reference = Image.fromarray(_photo(tiny, name, size=64))
    small = [np.asarray(image.resize((8, 8), Image.Resampling.BOX)) for image in (photo, reference)]
    assert np.abs(small[0].astype(int) - small[1].astype(int)).mean() < 8


@pytest.mark.parametrize("seed", range(8))
def test_every_form_can_be_drawn(seed: int) -> None:
    flora = make_flora(FloraConfig(species=30, genera=30, families=30, seed=seed))
    for species in flora.species.values():
        photo = draw_photo(
            species, size=16, seed=seed, plant=0, photo=0, region="A", season="autumn"
        )
        assert photo.std() > 5


def test_a_folder_holds_the_photos_and_tables(tiny: Flora, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    write_flora(tmp_path / "flora", TINY, progress=lambda done, total: steps.append((done, total)))
    total = len(tiny.plan)
    assert steps == [(i + 1, total) for i in range(total)]
    tables = {
        name: pd.read_csv(tmp_path / "flora" / f"{name}.csv")
        for name in ("taxonomy", "images", "region", "unknown")
    }
    pd.testing.assert_frame_equal(tables["taxonomy"], tiny.taxonomy, check_dtype=False)
    assert set(tables["images"]["split"]) == {"train", "val", "calibration", "test"}
    assert set(tables["images"]["region"]) == {"A"}
    assert set(tables["region"]["split"]) == {"test"}
    assert set(tables["region"]["region"]) == {"B"}
    assert set(tables["region"]["taxon"]) == set(tables["taxonomy"]["species"])
    assert set(tables["unknown"]["split"]) == {"unknown"}
    assert set(tables["unknown"]["novelty"]) == {"known genus", "unknown genus"}
    images = pd.concat([tables[name]["image"] for name in ("images", "region", "unknown")])
    written = {p.relative_to(tmp_path / "flora").as_posix() for p in tmp_path.rglob("*.jpg")}
    assert sorted(images) == sorted(written)
    photo = Image.open(tmp_path / "flora" / tiny.plan["image"][0])
    difference = np.asarray(photo).astype(int) - draw(tiny, 0)
    assert np.abs(difference).mean() < 6
    assert "| imbalance_factor | 4.0 |" in (tmp_path / "flora" / "README.md").read_text()


def test_an_interrupted_run_is_completed_with_the_same_bytes(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    write_flora(whole, TINY)

    def interrupt(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_flora(broken, TINY, progress=interrupt)
    assert not (broken / "README.md").exists()
    kept = sorted(broken.rglob("*.jpg"))
    kept[0].unlink()
    times = {path: path.stat().st_mtime_ns for path in kept[1:]}
    write_flora(broken, TINY)
    assert {path: path.stat().st_mtime_ns for path in kept[1:]} == times
    assert _contents(broken) == _contents(whole)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    write_flora(tmp_path / "flora", TINY.model_copy(update={"species": 4, "unknown_species": 0}))
    with pytest.raises(DataError, match="describes another flora"):
        write_flora(tmp_path / "flora", TINY)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="is not empty"):
        write_flora(tmp_path / "mine", TINY)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_flora_without_unknown_taxa_or_region_is_whole(tmp_path: Path) -> None:
    config = TINY.model_copy(update={"unknown_species": 0, "region_images": 0})
    flora = write_flora(tmp_path, config)
    assert set(flora.plan["split"]) == {"train", "val", "calibration", "test"}
    assert len(pd.read_csv(tmp_path / "unknown.csv")) == 0
    assert len(pd.read_csv(tmp_path / "region.csv")) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"species": 5, "genera": 6, "families": 2}, r"species \(5\) must be at least genera"),
        ({"genera": 3, "families": 4}, r"genera \(3\) must be at least families"),
        ({"train_images": 10}, r"must be at least imbalance_factor \(50\)"),
        ({"imbalance_factor": 0.5}, "option 'imbalance_factor'"),
        ({"image_size": 4}, "option 'image_size'"),
        ({"species": "many"}, r"option 'species'.*got 'many'"),
        ({"imbalance": 3}, "no such option. Did you mean 'imbalance_factor'"),
    ],
)
def test_impossible_configs_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FloraConfig(**options)


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        FloraConfig(species=1, seed=-1, colour="red")
    for option in ("species", "seed", "colour"):
        assert f"option {option!r}" in str(caught.value)


def test_a_row_beyond_the_plan_fails(tiny: Flora) -> None:
    with pytest.raises(IndexError):
        draw(tiny, len(tiny.plan))


def _same(names: "pd.Series[str]") -> NDArray[np.bool_]:
    values = names.to_numpy()
    return np.asarray(values[:, None] == values[None])


def _photo(flora: Flora, name: str, **changes: object) -> NDArray[np.uint8]:
    arguments: dict[str, object] = {
        "size": 32,
        "seed": 0,
        "plant": 0,
        "photo": 0,
        "region": "A",
        "season": "summer",
    }
    return draw_photo(flora.species[name], **(arguments | changes))  # type: ignore[arg-type]


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
