import subprocess
import sys

import pytest

# What takes seconds to import, and no help text, name or taxonomy needs.
_SLOW = ("torch", "torchvision", "timm", "accelerate", "matplotlib")


def slow_modules_after(code: str) -> list[str]:
    """Run code in a new process and return which slow modules it has imported."""
    report = f"import sys; print(*(m for m in {_SLOW} if m in sys.modules), file=sys.stderr)"
    found = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, check=True, text=True
    )
    return found.stderr.split()


def test_the_light_rooms_stay_light() -> None:
    rooms = "taxonet, taxonet.cli, taxonet.taxonomy, taxonet.errors, taxonet.recipes"
    names = "from taxonet import Taxonomy, ImageTable, TaxonetError"
    assert slow_modules_after(f"import {rooms}\n{names}") == []


def test_help_and_version_import_nothing_slow() -> None:
    code = """
import sys
from taxonet.cli import main
verbs = ["train", "evaluate", "predict", "embed", "list", "doctor", "demo"]
verbs += ["data inspect", "data split", "data match", "data flora", "benchmark chat"]
for words in ["--help", "--version", *(f"{verb} --help" for verb in verbs)]:
    sys.argv = ["taxonet", *words.split()]
    try:
        main()
    except SystemExit as stopped:
        assert stopped.code == 0, words
"""
    assert slow_modules_after(code) == []


def test_public_names_are_found_and_others_are_not() -> None:
    import taxonet
    from taxonet.classifier import TaxonClassifier

    assert taxonet.TaxonClassifier is TaxonClassifier
    assert set(taxonet.__all__) <= {*dir(taxonet)}
    for name in taxonet.__all__:
        assert getattr(taxonet, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Taxonmy'"):
        _ = taxonet.Taxonmy
