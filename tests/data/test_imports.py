import subprocess
import sys

import pytest

import taxonet.data


@pytest.mark.parametrize("module", ["taxonet.data", "taxonet.data.table", "taxonet.data.sampling"])
def test_tables_come_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there() -> None:
    assert all(getattr(taxonet.data, name) is not None for name in taxonet.data.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        taxonet.data.lod  # noqa: B018
