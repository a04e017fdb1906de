"""Times the mixed models of all heads against a loop of statsmodels MixedLM, both in one run.

    OMP_NUM_THREADS=1 python benchmarks/stats_mixed.py

The loop is timed on some of the heads, evenly spaced, and multiplied up; every head has the same work. Both sides
are given the same arrays; the data have the size of a study, 300 sequences of 20 tokens at 144 heads, and variance
ratios from 0 to 4, so that singular fits are among them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLM

from metastable.stats.mixed_models.joint import fit_joint_model
from metastable.stats.mixed_models.mixed import MixedModels, fit_mixed_models

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def simulate(n_groups: int, n_rows: int, n_heads: int) -> tuple[Floats, Floats, Ints]:
    """Draw `values, design, group`: condition between groups, one covariate of the groups."""
    rng = np.random.default_rng(11)
    group = np.repeat(np.arange(n_groups), n_rows)
    condition = (np.arange(n_groups) % 2 == 0)[group]
    covariate = rng.normal(size=n_groups)[group]
    shared = rng.normal(size=(n_groups, n_heads)) * np.linspace(0.0, 2.0, n_heads)
    values = 10.0 + 0.1 * condition[:, None] + shared[group] + rng.normal(size=(group.size, n_heads))
    design = np.column_stack([np.ones(group.size), condition, covariate])
    return values, design, group


def seconds(function: Callable[[], T], repeats: int) -> tuple[float, T]:
    """Shortest of some runs, and what the last one returned."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        taken.append(time.perf_counter() - start)
    return min(taken), result


def statsmodels_loop(values: Floats, design: Floats, group: Ints) -> list[tuple[float, float, float, bool]]:
    """Estimate, standard error, criterion and convergence of each head, as a loop of fits gives them."""
    rows = []
    for column in values.T:
        fit = MixedLM(column, design, group).fit(reml=True)
        rows.append((fit.fe_params[1], fit.bse_fe[1], -2.0 * fit.llf, bool(fit.converged)))
    return rows


def main() -> None:
    """Print the table and, with --json, keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=144)
    parser.add_argument("--loop-heads", type=int, default=24, help="heads that the loop is timed on")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()
    warnings.simplefilter("ignore")

    values, design, group = simulate(300, 20, options.heads)
    some = np.linspace(0, options.heads - 1, options.loop_heads).round().astype(int)
    fit_mixed_models(values[:, :2], design, group)
    ours, models = seconds(lambda: fit_mixed_models(values, design, group), options.repeats)
    loop, rows = seconds(lambda: statsmodels_loop(values[:, some], design, group), 1)
    whole = loop / some.size * options.heads
    figures: dict[str, float | int | str] = {
        "threads": os.environ.get("OMP_NUM_THREADS", "unset"),
        "heads": options.heads,
        "loop_heads": int(some.size),
        "seconds_all_heads": ours,
        "seconds_loop_measured": loop,
        "seconds_loop_all_heads": whole,
        "times_faster": whole / ours,
        **agreement(models, some, rows),
    }
    for n_heads in (144, 288, 576, 1152):
        more = np.tile(values, (1, -(-n_heads // options.heads)))[:, :n_heads]
        figures[f"seconds_{n_heads}_heads"], _ = seconds(partial(fit_mixed_models, more, design, group), 3)
    figures["seconds_nested_cluster"], _ = seconds(
        lambda: fit_mixed_models(values, design, group, cluster=group // 6), 1
    )
    figures["seconds_slope_by_cluster"], _ = seconds(
        lambda: fit_mixed_models(values, design, group, cluster=group // 6, slope=1), 1
    )
    crossing = np.random.default_rng(12).integers(0, 60, group.size)
    figures["seconds_crossed_60_levels"], _ = seconds(
        lambda: fit_mixed_models(values, design, group, cluster=crossing), 1
    )
    means = values.reshape(300, 20, -1).mean(axis=1)
    figures["seconds_joint_model"], _ = seconds(
        lambda: fit_joint_model(means, design[::20, 1] == 1.0, np.arange(options.heads) // 12), 1
    )
    for name, figure in figures.items():
        print(f"{name:28} {figure:.4g}" if isinstance(figure, float) else f"{name:28} {figure}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def agreement(
    models: MixedModels, some: NDArray[np.intp], rows: list[tuple[float, float, float, bool]]
) -> dict[str, float | int]:
    """How far the two sides are apart on the heads that both fitted, and who found the lower criterion."""
    estimate, se, criterion, converged = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "loop_not_converged": int((~converged).sum()),
        "ours_not_converged": int((~models.converged).sum()),
        "ours_singular": int(models.singular.sum()),
        "largest_estimate_gap_in_se": float(np.abs((models.estimate[some] - estimate) / models.se[some]).max()),
        "largest_se_ratio_gap": float(np.abs(se / models.se[some] - 1.0)[converged].max()),
        "loop_criterion_excess": float((criterion - models.criterion[some]).max()),
        "loop_criterion_deficit": float((models.criterion[some] - criterion).max()),
    }


if __name__ == "__main__":
    main()
