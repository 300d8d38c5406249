"""Two processes of a data-parallel run, on this machine's CPU."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def torchrun(*words: str, seconds: int = 120) -> "subprocess.CompletedProcess[str]":
    """Run a script, or a module after ``-m``, as two processes that know of each other."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_addr", "127.0.0.1", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "127.0.0.1:0", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        command,
        cwd=ROOT,  # where the package `tests` is
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
