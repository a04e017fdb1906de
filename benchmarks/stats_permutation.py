"""Times the permutation test against nilearn's permuted_ols, both in one run, and shows how it grows.

    OMP_NUM_THREADS=1 python benchmarks/stats_permutation.py

Both sides get the same arrays, the size of a study: 300 units at 144 features, 10,000 relabelings and the maximum
statistic. Ours computes Welch's t and the step-down procedure besides; nilearn, with one job, Student's. The runs
alternate, and the shortest of each side counts. Then the time over the number of features, and the memory at
20,000 units: each slice of 5,000 features x 10,000 relabelings runs in a process of its own, whose peak is taken
less what it held before the test.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nilearn.mass_univariate import permuted_ols
from numpy.typing import NDArray

from metastable.stats.permutations.permutation import permutation_test

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]


def simulate(n_units: int, n_features: int) -> tuple[Floats, Labels]:
    """Draw `values, condition`, a tenth of the features with an effect."""
    rng = np.random.default_rng(17)
    values = rng.standard_normal((n_units, n_features))
    condition = np.arange(n_units) % 2 == 0
    values[condition, : n_features // 10] += 0.3
    return values, condition


def ours(values: Floats, condition: Labels, **options: Any) -> Floats:
    """Family-wise p of Welch's t."""
    return permutation_test(values, condition, n_permutations=10_000, rng=1, device="cpu", **options).p_fwer


def theirs(values: Floats, condition: Labels) -> Floats:
    """Family-wise p of Student's t, by nilearn."""
    found = permuted_ols(
        condition[:, None].astype(np.float64), values, n_perm=10_000, random_state=1, n_jobs=1, output_type="dict",
        verbose=0,
    )  # fmt: skip
    return np.asarray(10.0 ** -found["logp_max_t"][0])


def seconds(function: Callable[[], Floats]) -> tuple[float, Floats]:
    """Time of one run, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def against_nilearn(n_units: int, n_features: int, repeats: int) -> dict[str, float]:
    """Shortest times of both sides, run in turns."""
    values, condition = simulate(n_units, n_features)
    here, there = [], []
    for _ in range(repeats):
        taken, p = seconds(lambda: ours(values, condition))
        here.append(taken)
        taken, expected = seconds(lambda: theirs(values, condition))
        there.append(taken)
    return {
        "seconds_ours": min(here),
        "seconds_nilearn": min(there),
        "share_of_nilearn": min(here) / min(there),
        "largest_p_gap": float(np.abs(p - expected).max()),
    }


def over_features(n_units: int, repeats: int) -> dict[str, float]:
    """Shortest times by number of features."""
    figures = {}
    for n_features in (144, 288, 576, 1152, 2304):
        values, condition = simulate(n_units, n_features)
        run = partial(ours, values, condition)
        figures[f"seconds_{n_features}_features"] = min(seconds(run)[0] for _ in range(repeats))
    return figures


def peak_mebibytes() -> float:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def slice_figures(n_units: int, n_features: int, n_permutations: int, block_bytes: int) -> dict[str, float]:
    """Time and memory of one slice, in this process."""
    warm, labels = simulate(50, 4)
    permutation_test(warm, labels, n_permutations=20, rng=1, device="cpu")
    values, condition = simulate(n_units, n_features)
    before = peak_mebibytes()
    taken, _ = seconds(
        lambda: (
            permutation_test(
                values, condition, n_permutations=n_permutations, rng=1, device="cpu", block_bytes=block_bytes
            ).p_fwer
        )
    )
    return {"seconds": taken, "input_mebibytes": values.nbytes / 2**20, "working_mebibytes": peak_mebibytes() - before}


def over_slices(n_units: int, block_bytes: int) -> dict[str, dict[str, float]]:
    """Slices of the largest problem, each in a fresh process."""
    slices = [(625, 250), (1250, 250), (2500, 250), (5000, 250), (625, 1000), (625, 4000), (100, 10_000), (600, 10_000)]
    figures = {}
    for n_features, n_permutations in slices:
        arguments = [sys.executable, __file__, "--slice", *map(str, (n_units, n_features, n_permutations, block_bytes))]
        printed = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
        figures[f"{n_units} units x {n_features} features x {n_permutations} relabelings"] = json.loads(printed)
    return figures


def main() -> None:
    """Print the figures and, with --json, keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--block-mebibytes", type=int, default=256, help="block size of the memory slices")
    parser.add_argument("--only", choices=["nilearn", "features", "memory"], help="one part alone")
    parser.add_argument("--slice", nargs=4, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()
    if options.slice:
        print(json.dumps(slice_figures(*options.slice)))
        return
    figures: dict[str, Any] = {"threads": os.environ.get("OMP_NUM_THREADS", "unset"), "cores": os.cpu_count()}
    if options.only in (None, "nilearn"):
        figures |= against_nilearn(300, 144, options.repeats)
    if options.only in (None, "features"):
        figures |= over_features(300, options.repeats)
    if options.only in (None, "memory"):
        figures |= over_slices(20_000, options.block_mebibytes << 20)
    for name, figure in figures.items():
        if isinstance(figure, dict):
            print(name, *(f"{key} {value:.4g}" for key, value in figure.items()), sep="   ")
        else:
            print(f"{name:24} {figure:.4g}" if isinstance(figure, float) else f"{name:24} {figure}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
