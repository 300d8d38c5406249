from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.small_set import write_set


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Bitwise equality is promised for equal numbers of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set that no test may change."""
    return write_set(tmp_path_factory.mktemp("photos"))
