"""Two processes give the cube that one gives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from metastable.extraction import extract, load_counts
from metastable.extraction.distributed import Processes, current_processes
from metastable.models.encoders import wrap_model
from tests.extraction.oracle import text_sequences
from tests.extraction.tiny_models import tiny_model

LENGTHS = [3, 12, 5, 8, 4, 11, 3, 9, 7, 6, 10, 4, 8, 8, 9]

SCRIPT = """
import sys
from pathlib import Path
from tests.extraction.test_distributed import run_share
run_share(Path(sys.argv[1]))
"""


def run_share(path: Path) -> None:
    """What each process runs; it says what it was told of its share."""
    told: list[tuple[int, int]] = []
    result = extract(
        wrap_model(tiny_model("bert")),
        text_sequences(LENGTHS),
        path=path / "counts.zarr",
        batch_tokens=20,
        callback=lambda done, total: told.append((done, total)),
    )
    sys.stdout.write(f"share {told[-1]} of {result.n_sequences} reused {result.reused}\n")


def test_a_lone_process_is_the_first_of_one() -> None:
    processes = current_processes()
    assert processes == Processes(rank=0, size=1)
    assert processes.from_first(lambda: 5) == 5


def test_two_processes_give_the_cube_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "two")],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for rank in range(2)
    ]
    outputs = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    shares = [out.split("(")[1].split(")")[0] for out, _ in outputs]
    # Every process has a part of the work, and the parts make the whole.
    assert all(int(share.split(",")[1]) > 0 for share in shares)
    assert sum(int(share.split(",")[1]) for share in shares) == len(LENGTHS)
    one = extract(
        wrap_model(tiny_model("bert")), text_sequences(LENGTHS), path=tmp_path / "one.zarr", batch_tokens=20
    ).dataset
    assert load_counts(tmp_path / "two" / "counts.zarr").load().equals(one.load())
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["counts.zarr"]
