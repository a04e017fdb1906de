"""A plan keeps its promise: samples of the planned size, made whole and tested by the real tests, have its power."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metastable.errors import InputError
from metastable.stats import adjust_p_values, permutation_test, sensitivity
from metastable.stats.power_formulas import formula_sample_size
from metastable.stats.simulation import sample_size
from metastable.stats.simulation.planting import plant_effects
from metastable.stats.simulation.sample_size import (
    TESTS,
    NormalPopulation,
    pilot_population,
    power_curves,
    sample_sizes,
    slope_population,
)

H = 24
MIXING = np.random.default_rng(5).normal(size=(4, H)) * 0.6


def heads(rng, n):
    """Values of heads that go together, each of variance about one."""
    return (rng.normal(size=(n, 4)) @ MIXING + rng.normal(size=(n, H))) / np.sqrt(1 + (MIXING**2).sum(axis=0))


def achieved(draw, n, rng, *, n_samples=120, share=0.125, alpha=0.05, paired=False):
    """Power of the real permutation test in whole samples: of BH, of the largest statistic, of the omnibus test."""
    found = {"uncorrected": [], "corrected": [], "max-t": [], "omnibus": []}
    for _ in range(n_samples):
        sign = plant_effects(np.ones(H, bool), np.zeros(H, int), share, rng)
        values, condition, pair = draw(rng, n, sign)
        test = permutation_test(
            values, condition, statistic="paired" if paired else "welch", pair=pair, n_permutations=999,
            omnibus={"all": np.ones(H, bool)}, rng=int(rng.integers(2**32)),
        )  # fmt: skip
        planted = sign != 0
        found["uncorrected"].append((test.p_perm[planted] < alpha).mean())
        found["corrected"].append((adjust_p_values(test.p_perm)[planted] < alpha).mean())
        found["max-t"].append((test.p_fwer[planted] < alpha).mean())
        found["omnibus"].append(test.omnibus["all"].p_sum_squares < alpha)
    return {name: (np.mean(rates), np.std(rates) / np.sqrt(n_samples)) for name, rates in found.items()}


def two_groups(rng, n, sign):
    condition = np.arange(2 * n) < n
    return heads(rng, 2 * n) + 0.6 * condition[:, None] * sign, condition, None


def pairs(rng, n, sign):
    common = heads(rng, n)
    a, b = (np.sqrt(0.6) * common + np.sqrt(0.4) * heads(rng, n) for _ in "ab")
    return np.concatenate([a + 0.6 * sign, b]), np.arange(2 * n) < n, np.tile(np.arange(n), 2)


def clusters(rng, n, sign):
    """Means of three texts a cluster, in standard deviations of such means."""
    between, within = 0.5, 0.5
    scale = np.sqrt(between + within / 3)
    means = np.sqrt(between) * heads(rng, 2 * n) + np.sqrt(within / 3) * heads(rng, 2 * n)
    condition = np.arange(2 * n) < n
    return means / scale + 0.6 * condition[:, None] * sign, condition, None


@pytest.mark.parametrize(("draw", "paired"), [(two_groups, False), (pairs, True), (clusters, False)])
@pytest.mark.parametrize("test", ["corrected", "max-t"])
def test_whole_samples_of_the_planned_size_have_the_power_that_was_promised(draw, paired, test):
    rng = np.random.default_rng(11)
    values, condition, pair = draw(rng, 400, np.zeros(H))
    population = pilot_population(values, condition, pair=pair)
    sizes, _ = sample_sizes(population, [0.6], share=0.125, n_permutations=999, n_simulations=300, rng=3)
    row = sizes[sizes["test"] == test].iloc[0]
    power, error = achieved(draw, int(row["n"]), rng, paired=paired)[test]
    # of the planned size too: its interval, in power, is about that of 300 samples
    assert power == pytest.approx(0.8, abs=3 * np.hypot(error, error * np.sqrt(120 / 300)) + 0.01)


def test_the_omnibus_test_and_a_head_by_itself_are_promised_too():
    rng = np.random.default_rng(12)
    values, condition, _ = two_groups(rng, 400, np.zeros(H))
    population = pilot_population(values, condition)
    curve = power_curves(population, [30], 0.6, share=0.125, n_permutations=999, n_simulations=500, rng=1)
    promised = curve.set_index("test")["power"]
    for test, (power, error) in achieved(two_groups, 30, rng).items():
        assert power == pytest.approx(promised[test], abs=3.5 * np.hypot(error, error / 2) + 0.01), test


@pytest.mark.parametrize("design", ["two", "paired", "slope"])
def test_without_a_pilot_a_head_by_itself_needs_what_the_formula_says(design):
    sizes, _ = sample_sizes(NormalPopulation(design, 40), [0.5], n_simulations=500, rng=2)
    row = sizes.set_index("test").loc["uncorrected"]
    formula = formula_sample_size(design, 0.5)
    assert row["n"] == pytest.approx(formula, rel=0.05)
    assert row["low"] <= formula + 2
    assert row["high"] >= formula - 2


def test_independent_heads_by_the_largest_statistic_need_about_what_bonferroni_does():
    sizes, _ = sample_sizes(NormalPopulation("two", 60), [0.5], n_simulations=400, rng=2)
    strict = formula_sample_size("two", 0.5, alpha=0.05 / 60)
    assert sizes.set_index("test").loc["max-t", "n"] == pytest.approx(strict, rel=0.06)


def test_the_plan_agrees_with_the_sensitivity_that_a_report_states():
    rng = np.random.default_rng(7)
    values, condition = heads(rng, 150), np.arange(150) < 60
    stated = sensitivity(values, condition, n_simulations=400, rng=1)
    sizes, _ = sample_sizes(pilot_population(values, condition), [stated.detectable], n_simulations=400, rng=2)
    row = sizes.set_index("test").loc["corrected"]
    # the effect found with 80% power by these 60 and 90 units needs these units
    assert row["n"] == pytest.approx(60, rel=0.08)
    curve = power_curves(pilot_population(values, condition), [60], stated.detectable, n_simulations=800, rng=4)
    assert curve.set_index("test").loc["corrected", "power"] == pytest.approx(0.8, abs=0.035)


def test_heads_that_go_together_need_fewer_units_by_the_largest_statistic():
    rng = np.random.default_rng(3)
    alike = rng.normal(size=(200, 1)) + 0.2 * rng.normal(size=(200, H))
    condition = np.arange(200) < 100
    needed = [
        sample_sizes(pilot_population(values, condition), [0.6], rng=1, n_simulations=200)[0].set_index("test")["n"]
        for values in (alike, rng.normal(size=(200, H)))
    ]
    assert needed[0]["max-t"] < 0.8 * needed[1]["max-t"]


def test_slopes_take_the_correlation_of_the_heads_and_the_size_of_the_formula():
    rng = np.random.default_rng(4)
    x = rng.normal(size=300)
    values = heads(rng, 300) + 0.5 * x[:, None]
    population = slope_population(values, x)
    draws = population.draw(100, 4000, rng)
    theirs = np.corrcoef((values - np.outer(x, values.T @ x / (x @ x))).T)
    np.testing.assert_allclose(np.corrcoef(draws.difference.T), theirs, atol=0.09)
    sizes, _ = sample_sizes(population, [0.5], n_simulations=400, rng=5)
    assert sizes.set_index("test").loc["uncorrected", "n"] == pytest.approx(131, rel=0.06)


def test_clusters_of_more_texts_need_fewer_clusters():
    rng = np.random.default_rng(6)
    values, condition = heads(rng, 200), np.arange(200) < 100
    plain, quieter = (
        sample_sizes(pilot_population(values, condition, noise=noise), [0.6], rng=1, n_simulations=200)[0]["n"]
        for noise in (1.0, 0.5)
    )
    np.testing.assert_allclose(quieter, plain / 4, rtol=0.25)


def test_a_correction_that_so_few_relabelings_cannot_pass_needs_no_number():
    sizes, _ = sample_sizes(NormalPopulation("paired", 72), [1.0], share=0.01, n_permutations=99, n_simulations=20)
    assert np.isinf(sizes.set_index("test").loc["corrected", "n"])


def test_the_table_has_a_row_for_each_effect_and_test():
    told = []
    sizes, curves = sample_sizes(
        NormalPopulation("two", 5), [0.5, 1.0], n_simulations=50, rng=0, callback=lambda *done: told.append(done)
    )
    assert sizes[["effect", "test"]].to_numpy().tolist() == [[e, t] for e in (0.5, 1.0) for t in TESTS]
    assert (sizes["low"] <= sizes["n"]).all()
    assert (sizes["n"] <= sizes["high"]).all()
    assert set(curves.columns) == {"effect", "test", "n", "power", "low", "high"}
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"effects": [0.0]}, "effect is 0"),
        ({"effects": [-0.3]}, "above 0"),
        ({"power": 1.0}, "power is 1"),
        ({"power": 0.05}, "above alpha"),
        ({"share": 0.0}, "share"),
        ({"n_simulations": 5}, "at least 20"),
        ({"n_permutations": 5}, "at least 19"),
    ],
)
def test_what_cannot_be_planned_is_refused(given, words):
    arguments = {"effects": [0.5], **given}
    with pytest.raises(InputError, match=words):
        sample_sizes(NormalPopulation("two", 5), arguments.pop("effects"), **arguments)


def test_a_pilot_that_does_not_vary_is_refused():
    with pytest.raises(InputError, match="no feature that varies"):
        pilot_population(np.ones((20, 3)), np.arange(20) < 10)
    with pytest.raises(InputError, match="varies about its line"):
        slope_population(np.ones((20, 3)), np.arange(20.0))


def test_populations_know_the_spread_of_an_effect_of_a_pair_and_of_groups_of_any_ratio():
    rng = np.random.default_rng(8)
    common = rng.normal(size=(500, 5))
    a, b = (np.sqrt(0.8) * common + np.sqrt(0.2) * rng.normal(size=(500, 5)) for _ in "ab")
    values, condition = np.concatenate([a, b]), np.arange(1000) < 500
    values[:, 4] = 1.0
    of_pairs = pilot_population(values, condition, pair=np.tile(np.arange(500), 2))
    # the variance of a difference is 2 (1 - r)
    np.testing.assert_allclose(of_pairs.spread, np.full(4, np.sqrt(2 * (1 - 0.8))), rtol=0.1)
    assert of_pairs.factor == pytest.approx(0.4, rel=0.1)
    assert of_pairs.size(50) == (50, 50)
    of_groups = pilot_population(values[:750], condition[:750])
    assert of_groups.factor == pytest.approx(1 + 500 / 250)
    assert of_groups.size(50) == (50, 25)
    assert pilot_population(values, condition, ratio=3.0).size(50) == (50, 150)
    assert NormalPopulation("two", 1, ratio=0.01).size(50) == (50, 4)


@pytest.mark.parametrize(("n", "ratio"), [(5, 1.0), (4, 2.5)])
def test_small_groups_without_a_pilot_have_the_t_of_the_textbook(n, ratio):
    """Welch's t of normal samples, against such samples made whole."""
    rng = np.random.default_rng(9)
    population = NormalPopulation("two", 1, ratio=ratio)
    n_a, n_b = population.size(n)
    drawn = population.draw(n, 20_000, rng)
    whole = stats.ttest_ind(rng.normal(size=(20_000, n_a)), rng.normal(size=(20_000, n_b)), equal_var=False, axis=1)
    assert stats.ks_2samp(drawn.t()[:, 0], whole.statistic).pvalue > 1e-3
    assert stats.ks_2samp(drawn.dof[:, 0], whole.df).pvalue > 1e-3


def test_a_feature_on_its_line_takes_no_part_in_a_plan_of_slopes():
    rng = np.random.default_rng(10)
    x = rng.normal(size=50)
    with_line = slope_population(np.column_stack([rng.normal(size=(50, 3)), 3 * x + 1]), x)
    assert with_line.deviation.tolist() == [1, 1, 1, 0]
    assert (with_line.residuals[:, 3] == 0).all()


def test_between_sizes_that_were_tried_the_needed_one_follows_the_power_of_z():
    n = np.array([4, 20, 60, 140])
    # a test by z has this power, and these units reach .8
    power = stats.norm.cdf(0.25 * np.sqrt(n) - stats.norm.isf(0.025))
    needed = ((stats.norm.isf(0.025) + stats.norm.isf(0.2)) / 0.25) ** 2
    curve = pd.DataFrame({"n": n, "power": power})
    assert sample_size._needed(curve, "power", 0.8) == np.ceil(needed) == 126
    assert sample_size._needed(curve, "power", power[0] / 2) == 4
    assert sample_size._needed(curve, "power", power[2]) == 60
    assert np.isinf(sample_size._needed(curve, "power", 0.99))
    # a curve that falls by chance is not crossed again
    falling = pd.DataFrame({"n": n, "power": [0.1, 0.9, 0.7, 0.95]})
    assert sample_size._needed(falling, "power", 0.9) == 20
