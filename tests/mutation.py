"""Proves that the tests can fail: break one formula, and expect a red test.

    python -m tests.mutation                 # all of them, as many at a time as there are cores
    python -m tests.mutation --file losses   # those of files whose path has this in it

Works on copies; slow, so it runs with `make check-all` and not with `make test`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run every mutant and say which survived; the exit code is their number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--file", default="", help="only mutants of files with this in their path")
    asked = parser.parse_args().file
    mutants = [mutant for mutant in MUTANTS if asked in mutant.file]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        caught = list(pool.map(_is_caught, mutants))
    survivors = [mutant for mutant, is_caught in zip(mutants, caught, strict=True) if not is_caught]
    for mutant in survivors:
        _say(f"SURVIVED {mutant.file}: {mutant.right.strip()!r} -> {mutant.wrong.strip()!r}")
    _say(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants were caught.")
    return len(survivors)


def _is_caught(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("src", "tests", "docs"):
            shutil.copytree(ROOT / part, copy / part)
        shutil.copy(ROOT / "pyproject.toml", copy)
        target = copy / "src" / "taxonet" / mutant.file
        text = target.read_text(encoding="utf-8")
        if mutant.right not in text:
            _say(f"STALE {mutant.file}: {mutant.right!r} is not there; mend the list of mutants.")
            return False
        target.write_text(text.replace(mutant.right, mutant.wrong, 1), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        found = subprocess.run(
            [*command, "-m", "not slow and not real_data", f"tests/{mutant.tests}"],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    caught = found.returncode == 1
    _say(f"{'caught' if caught else 'NOT CAUGHT'}: {mutant.file} {mutant.right.strip()!r}")
    return caught


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
