from pathlib import Path

from tests.cli.conftest import Command
from tests.small_set import SPECIES, write_set


def test_what_is_to_be_known_of_the_names_is_said(
    taxonet: Command, tiny_clips: dict[str, Path], tmp_path: Path
) -> None:
    """Two species with one common name, spelled as people spell."""
    photos = write_set(tmp_path / "photos")
    common = tmp_path / "common.csv"
    common.write_text(f"name,common_name\n{SPECIES[0].upper()},rose\n{SPECIES[1]},rose\n")
    ran = taxonet(
        *("zero-shot", "--model", tiny_clips["vit"], "--weights", "none"),
        *("--taxonomy", photos / "taxonomy.csv", "--out", tmp_path / "names"),
        *("--names", "common", "--common-names", common),
    )
    assert ran.code == 0, ran.err
    assert "2 of " in ran.err
    assert " taxa have a common name in " in ran.err
    assert "1 taxa read the same to the text tower as another" in ran.err
    assert ran.out.strip() == str(tmp_path / "names")
