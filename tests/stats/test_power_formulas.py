"""Formulas of power against pingouin, and against what simulated data do."""

from __future__ import annotations

import math

import numpy as np
import pingouin
import pytest
from scipy import stats

from metastable.errors import InputError
from metastable.stats.correlation import detectable_effect
from metastable.stats.power_formulas import formula_sample_size, lone_slope_sample_size


@pytest.mark.parametrize("effect", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.95, 0.01), (0.8, 0.05 / 72)])
def test_sizes_are_those_of_pingouin_rounded_up(effect, power, alpha):
    of = {"power": power, "alpha": alpha}
    two = pingouin.power_ttest(d=effect, contrast="two-samples", **of)
    paired = pingouin.power_ttest(d=effect, contrast="paired", **of)
    slope = pingouin.power_corr(r=effect / math.sqrt(effect**2 + 4), **of)
    f2 = effect**2 / 6
    several = pingouin.power_anova(eta_squared=f2 / (1 + f2), k=3, **of)
    assert formula_sample_size("two", effect, **of) == math.ceil(two)
    assert formula_sample_size("paired", effect, **of) == math.ceil(paired)
    assert formula_sample_size("slope", effect, **of) == math.ceil(slope)
    assert formula_sample_size("several", effect, n_conditions=3, **of) == math.ceil(several)


def test_groups_of_unequal_size_reach_the_power_and_one_unit_less_does_not():
    n = formula_sample_size("two", 0.4, ratio=2.5)
    assert pingouin.power_ttest2n(nx=n, ny=round(2.5 * n), d=0.4) >= 0.8
    assert pingouin.power_ttest2n(nx=n - 1, ny=round(2.5 * (n - 1)), d=0.4) < 0.8


def test_the_spread_of_differences_scales_the_effect():
    assert formula_sample_size("paired", 0.5, spread=2.0) == formula_sample_size("paired", 0.25)


def test_a_huge_effect_takes_the_fewest_units_that_there_can_be():
    assert formula_sample_size("two", 50.0) == 2


@pytest.mark.parametrize("n_conditions", [3, 5])
def test_the_middle_conditions_of_several_find_least(n_conditions):
    n = formula_sample_size("several", 0.7, n_conditions=n_conditions)
    rng = np.random.default_rng(0)
    means = np.zeros(n_conditions)
    means[0], means[-1] = -0.35, 0.35
    found = [
        stats.f_oneway(*(rng.normal(mean, 1, n) for mean in means)).pvalue < 0.05 for _ in range(1500)
    ]  # fmt: skip
    assert np.mean(found) == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / 1500))


@pytest.mark.parametrize("n_features", [1, 72])
def test_a_lone_slope_is_planned_as_the_report_states_its_sensitivity(n_features):
    n = lone_slope_sample_size(0.4, n_features, n_covariates=2)
    assert detectable_effect(n, 2, n_features) <= 0.4 < detectable_effect(n - 1, 2, n_features)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("two", 0.0), "not 0"),
        (("two", math.nan), "not 0"),
        (("two", 1e-6), "more than 10,000,000"),
    ],
)
def test_effects_that_cannot_be_planned_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        formula_sample_size(*arguments)


@pytest.mark.parametrize(("name", "value"), [("power", 1.0), ("power", 0.04), ("alpha", 0.0), ("ratio", 0.0)])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=name):
        formula_sample_size("two", 0.5, **{name: value})
