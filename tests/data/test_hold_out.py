import pandas as pd
import pytest

from taxonet.data import ImageTable, images_of_taxa, split_images
from taxonet.errors import ConfigError, DataError, TaxonomyError
from tests.helpers import ragged_taxonomy

LABELS = ["dog rose", "French rose", "bramble", "maple", "red maple", "birch"]


def table_of(labels: list[str | None], groups: list[str] | None = None) -> ImageTable:
    frame = pd.DataFrame({"image": [f"{i}.jpg" for i in range(len(labels))], "taxon": labels})
    return ImageTable(frame if groups is None else frame.assign(group=groups))


def held_out(*taxa: str) -> list[str]:
    mask = images_of_taxa(table_of([*LABELS, None]), ragged_taxonomy(), taxa)
    assert not mask[-1]
    return [label for label, held in zip(LABELS, mask[:-1], strict=True) if held]


def test_a_taxon_takes_all_below_it_and_nothing_above() -> None:
    assert held_out("species=Rosa canina") == ["dog rose"]
    assert held_out("genus=Rosa") == ["dog rose", "French rose"]
    assert held_out("family=Rosaceae") == ["dog rose", "French rose", "bramble"]
    assert held_out("species=Acer rubrum") == ["red maple"]  # the genus "maple" may be another
    assert held_out("genus=Acer") == ["maple", "red maple"]


def test_taxa_add_up_and_may_overlap() -> None:
    assert held_out("genus=Rosa", "family=Betulaceae") == ["dog rose", "French rose", "birch"]
    assert held_out("genus=Rosa", "species=Rosa canina") == ["dog rose", "French rose"]


@pytest.mark.parametrize(
    ("taxa", "says"),
    [
        (["genus=Roza"], "No genus is called 'Roza'. Did you mean 'Rosa'?"),
        (["gens=Rosa"], "no rank 'gens'. Did you mean 'genus'?"),
        (["Rosa"], "Expected rank=name"),
    ],
)
def test_a_taxon_that_is_not_there_gives_the_nearest(taxa: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        held_out(*taxa)
    assert says in str(error.value)


def test_something_must_be_held_out_and_something_left() -> None:
    with pytest.raises(DataError, match="No image is of species=Rubus idaeus"):
        held_out("species=Rubus idaeus")
    everything = ["family=Rosaceae", "family=Betulaceae", "family=Sapindaceae"]
    with pytest.raises(
        DataError, match=r"All 6 labelled images are of .* nothing is left to train"
    ):
        held_out(*everything)
    with pytest.raises(TaxonomyError, match="1 of 1 labels"):
        images_of_taxa(table_of(["rose"]), ragged_taxonomy(), ["genus=Rosa"])


def test_the_rest_is_split_as_if_the_others_were_not_there() -> None:
    labels: list[str | None] = [label for label in LABELS for _ in range(10)]
    table = table_of(labels)
    mask = images_of_taxa(table, ragged_taxonomy(), ["genus=Rosa"])
    done = split_images(table, seed=3, held_out=mask)
    assert done.split_counts()["unknown"] == 20
    assert set(done.split("unknown").frame["taxon"]) == {"dog rose", "French rose"}
    rest = split_images(table.rows(~mask), seed=3)
    pd.testing.assert_frame_equal(done.rows(~mask).frame, rest.frame)
    assert not split_images(table, seed=3).split_counts().get("unknown")


def test_a_group_of_both_gives_its_unknown_images_alone() -> None:
    table = table_of(["dog rose", "birch", "birch"], ["g", "g", "h"])
    mask = images_of_taxa(table, ragged_taxonomy(), ["genus=Rosa"])
    split = split_images(table, seed=0, held_out=mask).frame["split"].tolist()
    assert split[0] == "unknown"
    assert "unknown" not in split[1:]
