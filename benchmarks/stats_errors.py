"""Type I error and coverage of the tests and intervals, where the assumptions of the simpler ones do not hold.

OMP_NUM_THREADS=1 python benchmarks/stats_errors.py [--samples N] [--seed S]

Every row is a design: the rate of what this package does, with its Monte Carlo interval, beside that of the simpler
method that it takes the place of, on the same samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.stats import (
    balance_table,
    bootstrap_g,
    bootstrap_slope,
    equivalence_test,
    fit_joint_model,
    hedges_g,
    permutation_test,
    permutation_test_contrast,
)
from metastable.stats.correlation import correlation_effect, partial_correlation
from metastable.stats.effects import EffectSize, hedges_correction
from metastable.stats.samples import sample_moments, split_samples
from metastable.stats.simulation.monte_carlo import estimate_rate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rates = tuple[Bools, Bools | None]

ALPHA = 0.05
SMALL = 0.01
# Features that share one draw of the design, and relabelings of a test.
FEATURES = 40
RELABELINGS = 499


def covers(found: EffectSize, truth: float) -> Bools:
    """Whether each interval holds the true value."""
    return np.asarray((found.low <= truth) & (truth <= found.high))


def coverage_of_g(rng: np.random.Generator, n: int, n_a: int, n_b: int, sd: float, shift: float) -> Rates:
    """BCa, and the noncentral t: two groups of which a has `sd` times the deviation of b."""
    values = rng.normal(size=(n_a + n_b, n))
    values[:n_a] = sd * values[:n_a] + shift
    condition = np.arange(n_a + n_b) < n_a
    truth = shift / np.sqrt(((n_a - 1) * sd**2 + n_b - 1) / (n_a + n_b - 2))
    boot = bootstrap_g(values, condition, n_resamples=1000, rng=rng)
    return covers(boot, truth), covers(hedges_g(values, condition), truth)


def coverage_of_d(rng: np.random.Generator, n: int, n_units: int) -> Rates:
    """BCa over units, and Fisher's z: the error's deviation is 0.5 plus the absolute predictor."""
    first, second = [], []
    truth = 2 * 0.5 / np.sqrt(0.25 + 2 * 0.5 * np.sqrt(2 / np.pi) + 1)
    for _ in range(n // FEATURES):
        x = rng.normal(size=n_units)
        values = 0.5 * x[:, None] + rng.normal(size=(n_units, FEATURES)) * (0.5 + np.abs(x))[:, None]
        first.append(covers(bootstrap_slope(values, x, n_resamples=1000, rng=rng), truth))
        second.append(covers(correlation_effect(partial_correlation(values, x)), truth))
    return np.concatenate(first), np.concatenate(second)


def slopes(rng: np.random.Generator, n: int, n_units: int) -> Rates:
    """HC3, and Student's t: the error's deviation is 0.5 plus the absolute predictor."""
    first, second = [], []
    for _ in range(n // FEATURES):
        x = rng.normal(size=n_units)
        values = rng.normal(size=(n_units, FEATURES)) * (0.5 + np.abs(x))[:, None]
        design = np.column_stack([np.ones(n_units), x])
        test = partial(permutation_test_contrast, values, design, [0, 1], n_permutations=RELABELINGS, rng=rng)
        first.append(test().p_perm <= ALPHA)
        second.append(test(statistic="student").p_perm <= ALPHA)
    return np.concatenate(first), np.concatenate(second)


def small_levels(rng: np.random.Generator, n: int, n_units: int) -> Rates:
    """Residuals flipped, and exchanged, both studentized by HC3, at a level of .01."""
    first, second = [], []
    for _ in range(n // FEATURES):
        x = rng.normal(size=n_units)
        values = rng.normal(size=(n_units, FEATURES)) * (0.5 + np.abs(x))[:, None]
        design = np.column_stack([np.ones(n_units), x])
        test = partial(permutation_test_contrast, values, design, [0, 1], n_permutations=999, rng=rng)
        first.append(test().p_perm <= SMALL)
        second.append(test(errors="exchangeable").p_perm <= SMALL)
    return np.concatenate(first), np.concatenate(second)


def covariates(rng: np.random.Generator, n: int, n_a: int, n_b: int) -> Rates:
    """HC3, and Student's t: groups that differ in size, variance and covariate."""
    first, second = [], []
    condition = np.arange(n_a + n_b) < n_a
    for _ in range(n // FEATURES):
        z = rng.normal(size=n_a + n_b) + condition
        values = rng.normal(size=(n_a + n_b, FEATURES)) * np.where(condition, 2, 1)[:, None] + z[:, None]
        test = partial(permutation_test, values, condition, covariates=z[:, None], n_permutations=RELABELINGS, rng=rng)
        first.append(test().p_perm <= ALPHA)
        second.append(test(statistic="student").p_perm <= ALPHA)
    return np.concatenate(first), np.concatenate(second)


def clusters(
    rng: np.random.Generator, n: int, sizes_a: tuple[int, int], sizes_b: tuple[int, int], spread: float
) -> Rates:
    """Errors of whole clusters, and of units: 12 and 24 clusters of unequal sizes."""
    first, second = [], []
    for _ in range(n // FEATURES):
        sizes = np.r_[rng.integers(*sizes_a, size=12, endpoint=True), rng.integers(*sizes_b, size=24, endpoint=True)]
        cluster = np.repeat(np.arange(36), sizes)
        condition = cluster < 12
        shared = rng.normal(size=(36, FEATURES)) * np.where(np.arange(36) < 12, spread, 1)[:, None]
        values = shared[cluster] + rng.normal(size=(len(cluster), FEATURES))
        test = partial(permutation_test, values, condition, cluster=cluster, n_permutations=RELABELINGS, rng=rng)
        first.append(test().p_perm <= ALPHA)
        second.append(test(statistic="student").p_perm <= ALPHA)
    return np.concatenate(first), np.concatenate(second)


def one_large_cluster(rng: np.random.Generator, n: int) -> Rates:
    """Clusters of which one is larger than all others of its group together."""
    first, second = [], []
    cluster = np.repeat(np.arange(30), [40] + [3] * 9 + [5] * 20)
    for _ in range(n // FEATURES):
        values = rng.normal(size=(30, FEATURES))[cluster] + rng.normal(size=(len(cluster), FEATURES))
        test = partial(permutation_test, values, cluster < 10, cluster=cluster, n_permutations=RELABELINGS, rng=rng)
        first.append(test().p_perm <= ALPHA)
        second.append(test(statistic="student").p_perm <= ALPHA)
    return np.concatenate(first), np.concatenate(second)


def partners(rng: np.random.Generator, n: int, n_pairs: int, rho: float, margin: float) -> Rates:
    """Equivalence at the margin, with the margin's error and with a deviation taken as known."""
    shared, own = rng.normal(size=(2, n_pairs, n))
    values = np.concatenate([shared + margin, rho * shared + np.sqrt(1 - rho**2) * own])
    condition, pair = np.arange(2 * n_pairs) < n_pairs, np.tile(np.arange(n_pairs), 2)
    moments = sample_moments(split_samples(values, condition, pair=pair))
    if moments.var_difference is None:
        raise TypeError("partners have differences")
    from scipy import stats

    t = (margin * moments.standardizer - moments.difference) / np.sqrt(moments.var_difference / n_pairs)
    known = stats.t.sf(t, n_pairs - 1) < ALPHA
    return equivalence_test(values, condition, margin=margin, pair=pair) < ALPHA, np.asarray(known)


def joint(rng: np.random.Generator, n: int) -> Rates:
    """Condition by layer where sequences move whole layers: 40 sequences, 4 layers of 4 heads."""
    layer, condition = np.repeat(np.arange(4), 4), np.arange(40) < 20
    rejected = []
    for _ in range(min(n, 200)):
        values = rng.normal(size=(40, 1)) + rng.normal(size=16) + rng.normal(size=(40, 4))[:, layer]
        model = fit_joint_model(values + rng.normal(size=(40, 16)), condition, layer)
        rejected.append(model.interaction.p_value < ALPHA)
    return np.array(rejected), None


def warnings(rng: np.random.Generator, n: int) -> Rates:
    """Any of 6 balanced covariates called unbalanced, and one beyond the line of 0.1: 60 and 60 units."""
    condition = np.arange(120) < 60
    tables = [balance_table(pd.DataFrame(rng.normal(size=(120, 6))), condition) for _ in range(min(n, 1000))]
    any_called = np.array([not table["balanced"].all() for table in tables])
    return any_called, np.array([(table["smd"].abs() >= 0.1).iloc[0] for table in tables])


DESIGNS: tuple[tuple[str, str, float, Callable[[np.random.Generator, int], Rates]], ...] = (
    ("coverage of g, 50 / 150, SD 2 : 1", "noncentral t", 0.95,
     partial(coverage_of_g, n_a=50, n_b=150, sd=2.0, shift=1.0)),
    ("coverage of g, 12 / 12, alike", "noncentral t", 0.95, partial(coverage_of_g, n_a=12, n_b=12, sd=1.0, shift=0.5)),
    ("coverage of g, 20 / 60, SD 3 : 1", "noncentral t", 0.95,
     partial(coverage_of_g, n_a=20, n_b=60, sd=3.0, shift=1.0)),
    ("coverage of d of a slope, 100 units, SD grows", "Fisher's z", 0.95, partial(coverage_of_d, n_units=100)),
    ("slope, 40 units, SD grows", "Student's t", ALPHA, partial(slopes, n_units=40)),
    ("slope, 100 units, SD grows", "Student's t", ALPHA, partial(slopes, n_units=100)),
    ("slope, 40 units, SD grows", "exchanged", SMALL, partial(small_levels, n_units=40)),
    ("slope, 100 units, SD grows", "exchanged", SMALL, partial(small_levels, n_units=100)),
    ("beside a covariate, 20 / 60, SD 2 : 1", "Student's t", ALPHA, partial(covariates, n_a=20, n_b=60)),
    ("beside a covariate, 50 / 150, SD 2 : 1", "Student's t", ALPHA, partial(covariates, n_a=50, n_b=150)),
    ("clusters of 2-30, and 2-30", "Student's t", ALPHA,
     partial(clusters, sizes_a=(2, 30), sizes_b=(2, 30), spread=1.0)),
    ("clusters of 20-30, and 2-4, SD 2 : 1", "Student's t", ALPHA,
     partial(clusters, sizes_a=(20, 30), sizes_b=(2, 4), spread=2.0)),
    ("clusters of 2-4, and 20-30, SD 2 : 1", "Student's t", ALPHA,
     partial(clusters, sizes_a=(2, 4), sizes_b=(20, 30), spread=2.0)),
    ("one cluster of 40 beside 9 of 3, and 20 of 5", "Student's t", ALPHA, one_large_cluster),
    ("equivalent at 0.5, 40 pairs, rho .99", "deviation known", ALPHA,
     partial(partners, n_pairs=40, rho=0.99, margin=0.5)),
    ("equivalent at 0.5, 40 pairs, rho .5", "deviation known", ALPHA,
     partial(partners, n_pairs=40, rho=0.5, margin=0.5)),
    ("joint model: condition by layer", "", ALPHA, joint),
    ("balance: any of 6 covariates called", "line of 0.1, one", ALPHA, warnings),
)  # fmt: skip


def bias_of_paired_g(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Mean of Hedges' g of a true 1 for few partners, and with the factor of 2 n - 2 degrees of freedom."""
    rows = []
    for n_pairs, r in ((4, 0.95), (4, 0.5), (4, 0.0), (6, 0.9), (10, 0.95), (20, 0.5)):
        shared, own = rng.normal(size=(2, n_pairs, 20 * n))
        values = np.concatenate([shared + 1, r * shared + np.sqrt(1 - r**2) * own])
        condition, pair = np.arange(2 * n_pairs) < n_pairs, np.tile(np.arange(n_pairs), 2)
        moments = sample_moments(split_samples(values, condition, pair=pair))
        plain = hedges_correction(2 * n_pairs - 2.0) * moments.difference / moments.standardizer
        ours = hedges_g(values, condition, pair=pair).estimate
        rows.append({"pairs": n_pairs, "r": r, "mean g": ours.mean(), "factor of 2 n - 2": plain.mean()})
    return pd.DataFrame(rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="samples of a design")
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    print(f"{'design':48} {'nominal':>8} {'here':>6}  {'95% Monte Carlo':17} instead")
    for number, (name, rival, nominal, simulate) in enumerate(DESIGNS):
        ours, theirs = simulate(np.random.default_rng([options.seed, number]), options.samples)
        rate = estimate_rate(ours.astype(np.float64))
        instead = "" if theirs is None else f"{theirs.mean():.3f} ({rival})"
        print(
            f"{name:48} {nominal:8.2f} {rate.estimate:6.3f}  [{rate.low:.3f}, {rate.high:.3f}]    {instead}", flush=True
        )
    print("\nHedges' g of partners, true value 1")
    print(bias_of_paired_g(np.random.default_rng(options.seed), options.samples).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
