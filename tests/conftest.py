"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiny_clip import write_configs

# How fast an example runs says more of the machine's other work than of the code.
settings.register_profile("taxonet", deadline=None)
settings.load_profile("taxonet")

# Before anything imports torch; see `taxonet.cli.app.main`.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; under CI its absence is a failure, elsewhere a skip."""
    folder = os.environ.get("TAXONET_REAL_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    if os.environ.get("CI"):
        pytest.fail(f"TAXONET_REAL_DATA must name a folder under CI, but is {folder!r}.")
    pytest.skip("TAXONET_REAL_DATA does not name a folder")


@pytest.fixture(scope="session")
def tiny_clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Configs of tiny CLIP models, by their kind of image tower."""
    return write_configs(tmp_path_factory.mktemp("clip"))
