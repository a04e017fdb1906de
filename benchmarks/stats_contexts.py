"""Error rates of tests over items and contexts, simulated: what holds its level when contexts are draws too.

    OMP_NUM_THREADS=1 python benchmarks/stats_contexts.py

Five tables. The first has the type I error at .05 and the coverage of 95% intervals where effects vary over
contexts: pairs in the same sentences, and answers whose clips occur in one condition only. The second has the
family-wise error and the joint coverage over features that depend on one another. The third has the coverage of the
pigeonhole bootstrap (Owen 2007), unstudentized, beside the interval of the mixed model. The fourth has a covariate that
goes along with the condition and moves every feature: few items, six contexts, with it held fixed and without. The
fifth has slopes over a continuous predictor that differ between six contexts. A rate of .05 in 2,000 features has a
standard error of .005, in 400 data sets of .011.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metastable.stats.contexts.crossed_test import (
    CrossedTest,
    crossed_parts,
    crossed_slope_parts,
    crossed_test,
    from_parts,
)
from metastable.stats.contexts.rotations import CrossedFamily, crossed_family_test, rotate_parts
from metastable.stats.mixed_models.mixed import fit_mixed_models

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Data:
    """Observations without an effect of the condition on average."""

    values: Floats
    condition: Bools
    item: Ints
    context: Ints


def draw(rng: np.random.Generator, n: int, n_features: int, shared: float) -> Floats:
    """Draw standard normal effects; features share the part `shared` of their variance."""
    common, own = rng.normal(size=(n, 1)), rng.normal(size=(n, n_features))
    effects: Floats = np.sqrt(shared) * common + np.sqrt(1.0 - shared) * own
    return effects


def pairs(
    rng: np.random.Generator, n_items: int, n_contexts: int, n_features: int, slope: float, items: float, shared: float
) -> Data:
    """Pairs with both members in every context; slopes in standard deviations of a difference's residual."""
    item, context = (axis.ravel() for axis in np.indices((n_items, n_contexts)))
    difference = draw(rng, len(item), n_features, shared)
    difference += slope * draw(rng, n_contexts, n_features, shared)[context]
    difference += items * draw(rng, n_items, n_features, shared)[item]
    level = draw(rng, len(item), n_features, shared)
    return Data(
        np.concatenate([level + difference / 2, level - difference / 2]),
        np.repeat([True, False], len(item)),
        np.tile(item, 2),
        np.tile(context, 2),
    )


def clips(
    rng: np.random.Generator, n_items: int, n_contexts: int, n_features: int, slope: float, items: float, shared: float
) -> Data:
    """Items and contexts of one condition each, crossed within it."""
    item, context = (axis.ravel() for axis in np.indices((n_items, n_contexts)))
    keep = item % 2 == context % 2
    item, context = item[keep], context[keep]
    values = draw(rng, len(item), n_features, shared) + slope * draw(rng, n_contexts, n_features, shared)[context]
    values += items * draw(rng, n_items, n_features, shared)[item]
    return Data(values, item % 2 == 0, item, context)


def without_slope(data: Data, n_features: int) -> Floats:
    """P-values of the crossed model with intercepts only, of some features."""
    design = np.column_stack([np.ones(len(data.item)), data.condition])
    return fit_mixed_models(data.values[:, :n_features], design, data.item, cluster=data.context).p_value


def pigeonhole(data: Data, rng: np.random.Generator, n_resamples: int) -> tuple[Floats, Floats]:
    """Percentile interval of complete pairs' mean difference, items and contexts drawn with replacement."""
    n_items, n_contexts = int(data.item.max()) + 1, int(data.context.max()) + 1
    half = len(data.values) // 2
    table = (data.values[:half] - data.values[half:]).reshape(n_items, n_contexts, -1)
    of_items = rng.multinomial(n_items, np.full(n_items, 1.0 / n_items), size=n_resamples) / n_items
    of_contexts = rng.multinomial(n_contexts, np.full(n_contexts, 1.0 / n_contexts), size=n_resamples) / n_contexts
    by_context = np.tensordot(of_items, table, 1)
    means = np.einsum("bcf,bc->bf", by_context, of_contexts)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high


def levels(n: int) -> None:
    """Print the first table."""
    print("Type I error at .05, coverage of the 95% interval, and how often the interaction is significant")
    print("design                     effect SD   F1 only  F2 only   min F'  no slope  crossed  coverage  interaction")
    rng = np.random.default_rng(1)
    for make, n_items, n_contexts, items, slopes in (
        (pairs, 600, 6, 0.0, (0.0, 0.05, 0.1, 0.2)),
        (pairs, 600, 6, 0.3, (0.0, 0.05, 0.1, 0.2)),
        (pairs, 200, 40, 0.3, (0.0, 0.05, 0.1, 0.2)),
        (clips, 120, 6, 0.3, (0.0, 0.2, 0.5)),
        (clips, 120, 40, 0.3, (0.0, 0.2, 0.5)),
    ):
        for slope in slopes:
            columns: list[list[Bools]] = [[] for _ in range(7)]
            for start in range(0, n, 250):
                data = make(rng, n_items, n_contexts, 250, slope, items, 0.0)
                found = crossed_test(data.values, data.condition, data.item, data.context)
                covered = (found.low <= 0) & (found.high >= 0)
                # The model without slopes takes longest, and a tenth of the features shows what it does.
                beside = without_slope(data, 250 if start == 0 else 1)
                tests = (found.p_items, found.p_contexts, found.p_min_f, beside, found.p)
                for column, p in zip(columns, (*tests, np.where(covered, 0.0, 1.0), found.p_interaction), strict=True):
                    column.append(p < 0.05)
            cells = [float(np.concatenate(column).mean()) for column in columns]
            title = f"{make.__name__} {n_items} x {n_contexts}, items {items:g}"
            f1, f2, least, no_slope, crossed, coverage, interaction = (f"{cell:.3f}" for cell in cells)
            print(
                f"{title:26} {slope:9.2f} {f1:>9} {f2:>8} {least:>8} {no_slope:>9} {crossed:>8} {coverage:>9} "
                f"{interaction:>12}",
                flush=True,
            )


def families(n: int) -> None:
    """Print the second table."""
    print(f"\nFamily-wise error and joint coverage of 40 features, {n} data sets, 499 rotations")
    print("design                     effect SD  shared  family-wise  step-down  joint coverage  omnibus (max)")
    rng = np.random.default_rng(2)
    mask = {"all": np.ones(40, dtype=bool)}
    for make, n_items, n_contexts in ((pairs, 100, 6), (pairs, 100, 40), (clips, 60, 12)):
        for slope in (0.0, 0.1, 0.3):
            for shared in (0.0, 0.5):
                rows = np.zeros((n, 4), dtype=bool)
                for k in range(n):
                    data = make(rng, n_items, n_contexts, 40, slope, 0.2, shared)
                    found = crossed_family_test(
                        data.values, data.condition, data.item, data.context, omnibus=mask, n_rotations=499, rng=rng
                    )
                    rows[k] = (
                        (found.p_fwer < 0.05).any(),
                        (found.p_fwer_stepdown < 0.05).any(),
                        ((found.low <= 0) & (found.high >= 0)).all(),
                        found.omnibus["all"].p_max < 0.05,
                    )
                title = f"{make.__name__} {n_items} x {n_contexts}, items 0.2"
                wise, step, coverage, largest = rows.mean(axis=0)
                print(
                    f"{title:26} {slope:9.2f} {shared:7.1f} {wise:12.3f} {step:10.3f} {coverage:15.3f} {largest:14.3f}",
                    flush=True,
                )


def bootstraps(n: int) -> None:
    """Print the third table."""
    print(f"\nCoverage of 95% intervals over items and contexts, {n} features, 600 pairs, items 0.2")
    print("contexts  slope  pigeonhole percentile  mixed model")
    rng = np.random.default_rng(3)
    for n_contexts in (6, 12, 40):
        for slope in (0.0, 0.1, 0.2):
            data = pairs(rng, 600, n_contexts, n, slope, 0.2, 0.0)
            found = crossed_test(data.values, data.condition, data.item, data.context)
            low, high = pigeonhole(data, rng, 999)
            drawn, model = ((np.mean((a <= 0) & (b >= 0))) for a, b in ((low, high), (found.low, found.high)))
            print(f"{n_contexts:8d} {slope:6.2f} {drawn:22.3f} {model:12.3f}", flush=True)


def beside(
    rng: np.random.Generator, design: str, n_items: int, n_contexts: int, n_features: int, slope: float
) -> tuple[Data, Floats]:
    """Draw as many items in either condition, and a covariate one standard deviation higher in a.

    It moves every feature by half a residual's deviation; of "pairs" the items are in both conditions, and of "rows"
    the covariate has a part of every observation.
    """
    item, context, side = (axis.ravel() for axis in np.indices((n_items, n_contexts, 2)))
    covariate = (rng.normal(size=(n_items, 2)) + np.array([0.0, 1.0]))[item, side]
    if design == "rows":
        covariate = covariate + rng.normal(size=len(item))
    values = draw(rng, len(item), n_features, 0.0) + 0.5 * covariate[:, None]
    values += slope * draw(rng, n_contexts, n_features, 0.0)[context] * side[:, None]
    values += 0.5 * draw(rng, n_contexts, n_features, 0.0)[context]
    values += 0.3 * draw(rng, 2 * n_items, n_features, 0.0)[2 * item + side]
    return Data(values, side == 1, 2 * item + side if design == "groups" else item, context), covariate


def rates(found: CrossedTest, rotated: CrossedFamily) -> Floats:
    """Shares of features that each test rejects at .05 and whose interval holds 0; whether rotations reject any."""
    tests = (found.p_items, found.p_contexts, found.p_min_f, found.p, rotated.p)
    covered = (found.low <= 0) & (found.high >= 0)
    return np.array([*((p < 0.05).mean() for p in tests), covered.mean(), (rotated.p_fwer < 0.05).any()])


def covariates(n: int) -> None:
    """Print the fourth table; features of a data set share their covariate, so that there are many data sets."""
    each = 20
    n_sets = max(n // each, 1)
    print(
        f"\nBeside a covariate that goes along with the condition: {n_sets} data sets of {each} features, 24 items of"
    )
    print(
        "either condition (or pairs) in 6 contexts: type I error at .05, coverage, and family-wise error of rotations"
    )
    print("design   slope  not held  F1 only  F2 only  min F'  crossed  rotations  coverage  family-wise")
    rng = np.random.default_rng(5)
    for design in ("pairs", "rows", "groups"):
        for slope in (0.0, 0.1, 0.2, 0.5):
            rows = np.zeros((n_sets, 8))
            for k in range(n_sets):
                data, covariate = beside(rng, design, 24, 6, each, slope)
                arguments = (data.values, data.condition, data.item, data.context)
                raw, parts = crossed_test(*arguments), crossed_parts(*arguments, covariates=covariate)
                found, rotated = from_parts(parts), rotate_parts(parts, n_rotations=499, rng=rng)
                rows[k] = ((raw.p < 0.05).mean(), *rates(found, rotated))
            cells = rows.mean(axis=0)
            print(
                f"{design:7} {slope:6.2f} {cells[0]:9.3f} {cells[1]:8.3f} {cells[2]:8.3f} {cells[3]:7.3f} "
                f"{cells[4]:8.3f} {cells[5]:10.3f} {cells[6]:9.3f} {cells[7]:12.3f}",
                flush=True,
            )


def slopes(n: int) -> None:
    """Print the fifth table."""
    each = 20
    n_sets = max(n // each, 1)
    print(
        f"\nSlopes of 48 rated items in 6 contexts, {n_sets} data sets of {each} features; a covariate goes along with"
    )
    print("with the rating (r = .45): type I error at .05, coverage, and family-wise error of rotations")
    print("covariate  slope SD  F1 only  F2 only  min F'  crossed  rotations  coverage  family-wise")
    rng = np.random.default_rng(6)
    item, context = (axis.ravel() for axis in np.indices((48, 6)))
    for held in (False, True):
        for slope in (0.0, 0.1, 0.2, 0.5):
            rows = np.zeros((n_sets, 7))
            for k in range(n_sets):
                rating = rng.normal(size=48)
                covariate = (0.5 * rating + rng.normal(size=48))[item]
                values = draw(rng, 288, each, 0.0) + 0.3 * draw(rng, 48, each, 0.0)[item]
                values += 0.5 * draw(rng, 6, each, 0.0)[context] + 0.5 * covariate[:, None] * held
                values += slope * draw(rng, 6, each, 0.0)[context] * rating[item][:, None]
                parts = crossed_slope_parts(values, rating[item], item, context, covariates=covariate if held else None)
                found, rotated = from_parts(parts), rotate_parts(parts, n_rotations=499, rng=rng)
                rows[k] = rates(found, rotated)
            cells = rows.mean(axis=0)
            print(
                f"{'held' if held else 'none':9} {slope:9.2f} {cells[0]:8.3f} {cells[1]:8.3f} {cells[2]:7.3f} "
                f"{cells[3]:8.3f} {cells[4]:10.3f} {cells[5]:9.3f} {cells[6]:12.3f}",
                flush=True,
            )


def times() -> None:
    """Print how long all features of a study take."""
    print("\nSeconds for 600 pairs in 40 sentences (48,000 observations) at 1,000 features")
    rng = np.random.default_rng(4)
    data = pairs(rng, 600, 40, 1000, 0.1, 0.2, 0.0)
    start = time.perf_counter()
    crossed_test(data.values, data.condition, data.item, data.context)
    print(f"crossed_test, complete (closed form): {time.perf_counter() - start:.1f}")
    keep = rng.random(len(data.item)) < 0.9
    some = data.values[keep][:, :50]
    start = time.perf_counter()
    crossed_test(some, data.condition[keep], data.item[keep], data.context[keep])
    print(f"crossed_test, a tenth of the rows missing, 50 features (REML): {time.perf_counter() - start:.1f}")
    small = pairs(rng, 200, 40, 72, 0.1, 0.2, 0.0)
    held = rng.normal(size=(len(small.item), 2))
    start = time.perf_counter()
    crossed_test(small.values, small.condition, small.item, small.context, covariates=held)
    print(f"crossed_test, 200 pairs in 40 sentences, 72 features, 2 covariates: {time.perf_counter() - start:.1f}")


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=2000, help="features of each row of the first and third table")
    parser.add_argument("--datasets", type=int, default=400, help="data sets of each row of the second table")
    arguments = parser.parse_args()
    levels(arguments.features)
    families(arguments.datasets)
    bootstraps(min(arguments.features, 500))
    covariates(arguments.features)
    slopes(arguments.features)
    times()


if __name__ == "__main__":
    main()
