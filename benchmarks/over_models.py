"""How often intervals over models hold the truth, where it is known.

``python benchmarks/over_models.py`` draws models that read the same sequences, with known parts of variance between
models, sequences, and models by sequences, and counts how often 95% intervals of three kinds hold the true mean effect
and the true size of the typical head: those of `metastable.stats.multi_bootstrap`, the percentiles of its joint draws
(Sellam et al. 2022), and those of a *t* over models that takes them as independent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from metastable import stats

HEADS = 12
EFFECT, BETWEEN_HEADS = 0.3, 0.3


@dataclass(frozen=True)
class Scenario:
    """Models by sequences with known parts of variance; a unit's variance within a model is 1.

    Attributes
    ----------
    n_models, n_units : int
    tau : float
        Standard deviation of the models' true effects.
    common : float
        Share of a unit's variance that all models have in common.
    """

    n_models: int
    n_units: int
    tau: float
    common: float


SCENARIOS = tuple(
    Scenario(n_models, n_units, tau, common)
    for n_models in (3, 5, 10, 25)
    for n_units in (40, 160)
    for tau, common in ((0.3, 0.0), (0.3, 0.5), (0.05, 0.7))
)


def draw(scenario: Scenario, rng: np.random.Generator) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_]]:
    """Draw values of every model's units, and the condition of the units."""
    side = np.arange(scenario.n_units) < scenario.n_units // 2
    common = rng.normal(size=(scenario.n_units, 1))
    values = []
    for _ in range(scenario.n_models):
        shift = EFFECT + scenario.tau * rng.normal() + BETWEEN_HEADS * rng.normal(size=HEADS)
        own = rng.normal(size=(scenario.n_units, HEADS))
        values.append(np.sqrt(scenario.common) * common + np.sqrt(1 - scenario.common) * own + side[:, None] * shift)
    return values, side


def covered(scenario: Scenario, runs: int, seed: int) -> Iterator[dict[str, bool]]:
    """Tell of every simulated study which intervals hold the truth."""
    rng = np.random.default_rng([seed, scenario.n_models, scenario.n_units])
    size2 = EFFECT**2 + scenario.tau**2 + BETWEEN_HEADS**2
    for _ in range(runs):
        values, side = draw(scenario, rng)
        found = stats.multi_bootstrap(values, [side] * len(values), n_resamples=300, rng=rng)
        pooled, (low, high) = found.pooled(), found.percentile()
        mean, size = found.index("mean", "all"), found.index("size2", "all")
        estimate = found.estimate[:, mean]
        reach = scipy_stats.t.ppf(0.975, len(estimate) - 1) * estimate.std(ddof=1) / np.sqrt(len(estimate))
        yield {
            "mean": bool(pooled.low[mean] <= EFFECT <= pooled.high[mean]),
            "size": bool(pooled.low[size] <= size2 <= pooled.high[size]),
            "percentile": bool(low[mean] <= EFFECT <= high[mean]),
            "independent": bool(abs(estimate.mean() - EFFECT) <= reach),
        }


def main() -> None:
    """Print coverage for every scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500, help="simulated studies a scenario")
    parser.add_argument("--seed", type=int, default=1)
    given: Any = parser.parse_args()
    print("models units   tau common |  mean  size | percentiles  independent")
    for scenario in SCENARIOS:
        rows = list(covered(scenario, given.runs, given.seed))
        rate = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        print(
            f"{scenario.n_models:6d} {scenario.n_units:5d} {scenario.tau:5.2f} {scenario.common:6.2f} | "
            f"{rate['mean']:.3f} {rate['size']:.3f} | {rate['percentile']:11.3f} {rate['independent']:12.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
