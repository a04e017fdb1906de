from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from metastable.errors import InputError
from metastable.stats.corrections import adjust_p_values
from metastable.stats.permutations.permutation import permutation_test
from metastable.stats.simulation import sensitivity as sensitivity_module
from metastable.stats.simulation.planting import plant_effects
from metastable.stats.simulation.resampling import centred_source
from metastable.stats.simulation.sensitivity import sensitivity


def test_one_test_has_the_power_of_the_textbook():
    rng = np.random.default_rng(1)
    values, condition = rng.normal(size=(90, 60)), np.arange(90) < 40
    result = sensitivity(values, condition, correction="none", share=1.0, rng=2)
    exact = TTestIndPower()
    expected = [exact.power(e, 40, 0.05, ratio=50 / 40) for e in result.curve["effect"]]
    np.testing.assert_allclose(result.curve["power"], expected, atol=0.02)
    solved = exact.solve_power(nobs1=40, alpha=0.05, power=0.8, ratio=50 / 40)
    assert result.detectable == pytest.approx(solved, abs=0.02)
    assert result.detectable_low < result.detectable < result.detectable_high


def test_pairs_have_the_power_of_the_textbook():
    rng = np.random.default_rng(3)
    n, correlation = 50, 0.75
    shared = np.sqrt(correlation) * rng.normal(size=(n, 60))
    values = np.concatenate([shared, shared]) + np.sqrt(1 - correlation) * rng.normal(size=(2 * n, 60))
    result = sensitivity(
        values, np.arange(2 * n) < n, pair=np.tile(np.arange(n), 2), correction="none", share=1.0, rng=4
    )
    per_difference = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    assert result.detectable == pytest.approx(per_difference * np.sqrt(2 * (1 - correlation)), abs=0.02)


@pytest.mark.parametrize(("paired", "correction"), [(False, "bh"), (True, "bh"), (False, "max-t"), (True, "max-t")])
def test_power_is_that_of_the_whole_permutation_test(paired, correction):
    """The same samples drawn anew, every one with a full permutation test and its correction."""
    rng = np.random.default_rng(5)
    n, n_features, share, effect = 40, 30, 0.2, 0.8
    values = rng.gamma(2.0, 1.0, (2 * n, n_features)) + rng.gamma(2.0, 1.0, (2 * n, 1))
    values[:n] *= 1.5
    condition, pair = np.arange(2 * n) < n, np.tile(np.arange(n), 2) if paired else None
    result = sensitivity(
        values, condition, pair=pair, correction=correction, share=share, effects=[0.0, effect],
        n_permutations=999, n_simulations=400, rng=6,
    )  # fmt: skip
    a, b = (side - side.mean(axis=0) for side in (values[:n], values[n:]))
    deviation = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 2)
    power = []
    for i in range(120):
        rows_a = rng.integers(0, n, n)
        rows_b = rows_a if paired else rng.integers(0, n, n)
        sign = plant_effects(np.ones(n_features, bool), np.zeros(n_features, int), share, rng)
        drawn = np.concatenate([a[rows_a] + effect * sign * deviation, b[rows_b]])
        test = permutation_test(
            drawn, condition, statistic="paired" if paired else "welch", pair=pair, n_permutations=999, rng=i
        )
        p = test.p_fwer if correction == "max-t" else adjust_p_values(test.p_perm, method="bh")
        power.append((p[sign != 0] < 0.05).mean())
    error = np.std(power) / np.sqrt(len(power))
    assert 0.2 < result.curve["power"].iloc[1] < 0.98
    assert result.curve["power"].iloc[1] == pytest.approx(np.mean(power), abs=4 * error)


def test_no_effect_is_found_at_alpha():
    values = np.random.default_rng(7).normal(size=(80, 100))
    none = sensitivity(values, np.arange(80) < 40, correction="none", share=1.0, effects=[0, 1], rng=8)
    assert none.curve["power"].iloc[0] == pytest.approx(0.05, abs=0.01)
    maxima = sensitivity(values, np.arange(80) < 40, correction="max-t", share=0.01, effects=[0, 1], rng=8)
    assert maxima.curve["power"].iloc[0] < 0.03


def test_too_few_relabelings_find_nothing():
    values = np.random.default_rng(9).normal(size=(60, 200))
    few = sensitivity(values, np.arange(60) < 30, share=0.005, n_simulations=60, n_permutations=100, rng=1)
    many = sensitivity(values, np.arange(60) < 30, share=0.005, n_simulations=60, n_permutations=10_000, rng=1)
    assert few.detectable == np.inf
    assert np.isfinite(many.detectable)


def test_families_share_and_strictness_move_it_the_right_way():
    values, condition = np.random.default_rng(10).normal(size=(80, 64)), np.arange(80) < 40
    lone = sensitivity(values, condition, share=0.01, rng=1).detectable
    crowd = sensitivity(values, condition, share=0.5, rng=1).detectable
    small = sensitivity(
        values, condition, share=0.01, family=np.repeat(np.arange(16), 4), n_simulations=80, rng=1
    ).detectable
    assert crowd < lone
    assert small < lone
    holm = sensitivity(values, condition, share=0.01, correction="holm", rng=1)
    maximum = sensitivity(values, condition, share=0.01, correction="max-t", rng=1)
    assert maximum.detectable == pytest.approx(holm.detectable, rel=0.1)


def test_flat_features_are_not_counted_and_units_do_not_matter():
    values, condition = np.random.default_rng(11).normal(size=(40, 10)), np.arange(40) < 20
    one = sensitivity(values, condition, correction="none", share=1.0, rng=1)
    flat = np.column_stack([100 * values + 7, np.full((40, 3), 0.1)])
    two = sensitivity(flat, condition, correction="none", share=1.0, rng=1)
    np.testing.assert_allclose(one.curve, two.curve, atol=1e-9)


def test_a_seed_is_an_answer_and_progress_is_told():
    values, condition = np.random.default_rng(12).normal(size=(30, 5)), np.arange(30) < 15
    told = []
    one = sensitivity(values, condition, n_simulations=70, rng=1, callback=lambda *done: told.append(done))
    two = sensitivity(values, condition, n_simulations=70, rng=np.random.default_rng(1))
    assert one.curve.equals(two.curve)
    assert told == [(i, 70) for i in range(1, 71)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 5}, "alpha is 5"),
        ({"power": 1.0}, "power is 1"),
        ({"share": 0.0}, "share is 0"),
        ({"n_simulations": 1}, "n_simulations is 1"),
        ({"n_permutations": 18}, "n_permutations is 18; give at least 19"),
        ({"effects": [0.5, 0.2]}, "effects must"),
        ({"effects": [-0.5, 0.5]}, "effects must"),
        ({"effects": [0.5, 0.5]}, "effects must"),
        ({"family": [0, 1]}, "family has shape"),
        ({"correction": "bonferroni-ish"}, "bonferroni-ish"),
    ],
)
def test_bad_input_is_told(options, message):
    with pytest.raises(InputError, match=message):
        sensitivity(np.random.default_rng(1).normal(size=(12, 3)), np.arange(12) < 6, **options)


def test_the_fewest_relabelings_and_samples_are_taken():
    values = np.random.default_rng(1).normal(size=(12, 3))
    few = sensitivity(values, np.arange(12) < 6, n_simulations=20, n_permutations=19, effects=[0, 1], rng=1)
    assert few.n_simulations == 20


def test_every_simulated_sample_is_drawn_anew(monkeypatch):
    drawn = []
    original = sensitivity_module.resample
    monkeypatch.setattr(
        sensitivity_module, "resample", lambda *given: drawn.append(original(*given).difference) or original(*given)
    )
    values = np.random.default_rng(1).normal(size=(12, 3))
    sensitivity(values, np.arange(12) < 6, n_simulations=130, effects=[0, 1], rng=1)
    assert len(np.unique(np.concatenate(drawn), axis=0)) == 130


@pytest.mark.parametrize("paired", [False, True])
def test_null_maxima_are_those_of_relabelings_by_brute_force(paired):
    """Few units of unlike variance in a, so that neither flips of a alone nor the normal distribution will do."""
    rng = np.random.default_rng(2)
    a, b = 3 * rng.gamma(1.0, 1.0, (6, 4)), rng.normal(size=(6 if paired else 24, 4))
    source = centred_source(a, b, paired=paired)
    families = np.array([0, 0, 0, 1])
    made = sensitivity_module._null_maxima(source, families, np.random.default_rng(3))
    if paired:
        t = stats.ttest_1samp(source.a * rng.choice([-1, 1], size=(1000, 6, 1)), 0, axis=1).statistic
    else:
        both = np.concatenate([source.a, source.b])
        moved = both[rng.permuted(np.tile(np.arange(30), (1000, 1)), axis=1)]
        t = stats.ttest_ind(moved[:, :6], moved[:, 6:], equal_var=False, axis=1).statistic
    for null, members in zip(made, ([0, 1, 2], [3]), strict=True):
        assert len(null) == 1000
        assert (np.diff(null) >= 0).all()
        assert stats.ks_2samp(null, np.abs(t[:, members]).max(axis=1)).pvalue > 1e-3


def test_values_without_variance_are_refused():
    with pytest.raises(InputError, match="no feature that varies"):
        sensitivity(np.ones((12, 3)), np.arange(12) < 6)
