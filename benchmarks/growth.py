"""How time and memory grow with sequences, tokens, layers, heads and thresholds: `python benchmarks/growth.py`.

Every cell is a fresh process: a BERT of random weights reads random tokens, every measure of every run is taken and
written (the extraction), then all heads are tested with a maximum over them (the statistics). From a common base one
number grows at a time. Times are those that the process used on all threads, so that other work on the machine counts
little; memory is the most that the process held beyond what it held before the extraction; the cube is what lies on
disk. What is printed is the table of docs/large_runs.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from metastable.extraction.extracting import extract
from metastable.models.encoders import wrap_model
from metastable.stats import permutation_test
from metastable.study import Sequence

_SIZE_OF_HEAD = 32


@dataclass(frozen=True)
class Case:
    """One cell of the table."""

    sequences: int = 256
    tokens: int = 64
    layers: int = 4
    heads: int = 8
    thresholds: int = 1
    keep: str = "tokens"
    permutations: int = 10_000


@dataclass(frozen=True)
class Found:
    """What a cell took: seconds, MiB held, MB on disk, seconds."""

    extraction: float
    memory: float
    disk: float
    statistics: float


def measure(case: Case) -> Found:
    """Do a cell in this process."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=_SIZE_OF_HEAD * case.heads,
        num_hidden_layers=case.layers,
        num_attention_heads=case.heads,
        intermediate_size=4 * _SIZE_OF_HEAD * case.heads,
        max_position_embeddings=max(64, case.tokens),
        vocab_size=1000,
    )
    encoder = wrap_model(BertModel(config).eval(), device="cpu")
    rng = np.random.default_rng(0)
    words = (-1, *range(case.tokens - 2), -1)
    sequences = [
        Sequence(f"s{row:06d}", "ab"[row % 2], (), "", tuple(map(int, rng.integers(5, 1000, case.tokens))), words)
        for row in range(case.sequences)
    ]
    thresholds = (0.9, 0.5, 0.95, 0.8, 0.7, 0.6, 0.99, 0.3)[: case.thresholds]
    with tempfile.TemporaryDirectory() as folder:
        # what is compiled and loaded once stays out
        extract(encoder, sequences[:2], thresholds=thresholds, path=Path(folder) / "warm.zarr", of_every_run=True)
        before, start = held(), time.process_time()
        with Watching() as watching:
            found = extract(
                encoder, sequences, thresholds=thresholds, path=Path(folder) / "counts.zarr", keep=case.keep,
                of_every_run=True,
            )  # fmt: skip
        extraction = time.process_time() - start
        disk = sum(file.stat().st_size for file in found.path.rglob("*") if file.is_file()) / 1e6
        means = found.dataset["mean_count"].isel(site=0).to_numpy().reshape(case.sequences, -1)
    in_a = np.arange(case.sequences) % 2 == 0
    start = time.process_time()
    permutation_test(means, in_a, n_permutations=case.permutations, rng=0, device="cpu")
    return Found(extraction, (watching.most - before) / 2**20, disk, time.process_time() - start)


def held() -> int:
    """Bytes that this process holds; Linux alone has this file."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Watching:
    """Watches from a thread how much the process holds."""

    def __init__(self) -> None:
        self.most = held()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, held())

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def cell(case: Case, turns: int, threads: int) -> Found:
    """Measure a cell in fresh processes; the least time and the most memory of some turns."""
    found = []
    for _ in range(turns):
        command = [sys.executable, __file__, "--case", json.dumps(asdict(case)), "--threads", str(threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found.append(Found(**json.loads(done.stdout.splitlines()[-1])))
    return Found(
        min(one.extraction for one in found),
        max(one.memory for one in found),
        found[0].disk,
        min(one.statistics for one in found),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2, help="how often each cell is measured (default: 2)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a process (default: 1)")
    parser.add_argument("--tiny", action="store_true", help="a base of 8 sequences of 8 tokens, to try the script")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.case:
        print(json.dumps(asdict(measure(Case(**json.loads(options.case))))))
        return
    base = Case(8, 8, 1, 2, 1, "tokens", 50) if options.tiny else Case()
    print(
        f"{platform.machine()}, {options.threads} of {os.cpu_count()} cores, torch {torch.__version__}, load average "
        f"{os.getloadavg()[0]:.1f}; base: {base.sequences} sequences of {base.tokens} tokens, {base.layers} layers of "
        f"{base.heads} heads of {_SIZE_OF_HEAD}, {base.thresholds} threshold, {base.permutations:,} relabelings\n"
    )
    print("| what grows | extraction, s | memory, MiB | cube, MB | permutation test, s |")
    print("| --- | ---: | ---: | ---: | ---: |")
    rows = {"the base": base}
    for name in ("sequences", "tokens", "layers", "heads", "thresholds"):
        for factor in (2, 4):
            number = factor * getattr(base, name)
            rows[f"{number} {name}"] = replace(base, **{name: number})
    rows["the base, `--keep means`"] = replace(base, keep="means")
    for name, case in rows.items():
        found = cell(case, options.turns, options.threads)
        print(
            f"| {name} | {found.extraction:.2f} | {found.memory:.0f} | {found.disk:.2f} | {found.statistics:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
