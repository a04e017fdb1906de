from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from metastable.errors import InputError
from metastable.stats.equivalence import equivalence_test


def groups(seed, n_a=40, n_b=55, n_features=7):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n_a, n_features)) * 1.4 + np.linspace(-0.6, 0.6, n_features)
    b = rng.normal(size=(n_b, n_features))
    return a, b, np.concatenate([a, b]), np.arange(n_a + n_b) < n_a


def pooled(a, b):
    return np.sqrt(((len(a) - 1) * a.var(0, ddof=1) + (len(b) - 1) * b.var(0, ddof=1)) / (len(a) + len(b) - 2))


@pytest.mark.parametrize("equal_variance", [True, False])
def test_p_matches_pingouin_and_statsmodels(equal_variance):
    a, b, values, condition = groups(1)
    bounds = 0.3 * pooled(a, b)
    p = equivalence_test(values, condition, margin=0.3, equal_variance=equal_variance)
    usevar = "pooled" if equal_variance else "unequal"
    for j, bound in enumerate(bounds):
        tost = pingouin.tost(a[:, j], b[:, j], bound=float(bound), correction=not equal_variance)
        assert p[j] == pytest.approx(tost["pval"].item(), rel=1e-9)
        assert p[j] == pytest.approx(ttost_ind(a[:, j], b[:, j], -bound, bound, usevar=usevar)[0], rel=1e-9)


def jackknife_tost(statistic, units, margin, dof, *, centred):
    """P of both one-sided tests by brute force: estimates without each unit, nothing of ours in it."""
    units = np.asarray(units)
    whole = statistic(units)
    left = np.array([statistic(np.delete(units, k, axis=0)) for k in range(len(units))])
    p = []
    for sign in (1, -1):
        bound, moved = sign * whole[0] + margin * whole[1], left @ [sign, margin]
        if centred:
            error = np.sqrt((len(units) - 1) / len(units) * ((moved - moved.mean()) ** 2).sum())
        else:
            error = np.sqrt(((moved - bound) ** 2).sum())
        p.append(stats.t.sf(bound / error, dof))
    return max(p)


def test_paired_p_is_that_of_the_jackknife():
    rng = np.random.default_rng(2)
    b = rng.normal(size=(30, 5))
    a = b + 0.5 * rng.normal(size=b.shape) + np.linspace(-0.3, 0.3, 5)
    p = equivalence_test(np.concatenate([a, b]), np.arange(60) < 30, margin=0.2, pair=np.tile(np.arange(30), 2))

    def statistic(units):
        return (units[:, 0] - units[:, 1]).mean(), np.sqrt(units.var(axis=0, ddof=1).mean())

    expected = [
        jackknife_tost(statistic, np.column_stack([x, y]), 0.2, 29, centred=True) for x, y in zip(a.T, b.T, strict=True)
    ]
    np.testing.assert_allclose(p, expected, rtol=1e-9)
    # Partners who are not alike leave the error of the difference, as a known deviation has it.
    c = rng.normal(size=(500, 5))
    bounds = 0.2 * np.sqrt((c[:250].var(0, ddof=1) + c[250:].var(0, ddof=1)) / 2)
    known = [ttost_paired(x, y, -bound, bound)[0] for x, y, bound in zip(c[:250].T, c[250:].T, bounds, strict=True)]
    p = equivalence_test(c, np.arange(500) < 250, margin=0.2, pair=np.tile(np.arange(250), 2))
    np.testing.assert_allclose(p, known, atol=0.01)


@pytest.mark.parametrize(("rho", "margin"), [(0.5, 0.5), (0.9, 0.5), (0.99, 0.5), (0.99, 0.2), (0.999, 0.5)])
def test_correlated_partners_keep_the_level_at_the_margin(rho, margin):
    # Issue 12: .27 at rho = .99 and a margin of .5 where the deviation was taken as known.
    rng = np.random.default_rng(9)
    n = 40
    shared, own = rng.normal(size=(2, n, 4000))
    values = np.concatenate([shared + margin, rho * shared + np.sqrt(1 - rho**2) * own])
    p = equivalence_test(values, np.arange(2 * n) < n, margin=margin, pair=np.tile(np.arange(n), 2))
    assert (p < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_beside_covariates_it_is_the_jackknife_of_the_regression():
    _, _, values, condition = groups(6)
    covariates = np.random.default_rng(7).normal(size=(95, 2)) + 0.5 * condition[:, None]
    p = equivalence_test(values, condition, margin=0.3, covariates=pd.DataFrame(covariates))

    def statistic(units):
        y, side = units[:, 0], units[:, 1] == 1
        return sm.OLS(y, np.column_stack([units[:, 1:], np.ones(len(y))])).fit().params[0], pooled(y[side], y[~side])

    for j, column in enumerate(values.T):
        units = np.column_stack([column, condition, covariates])
        assert p[j] == pytest.approx(jackknife_tost(statistic, units, 0.3, 91, centred=False), rel=1e-9)
    # the order of the units says nothing
    order = np.random.default_rng(8).permutation(95)
    mixed = equivalence_test(values[order], condition[order], margin=0.3, covariates=pd.DataFrame(covariates[order]))
    np.testing.assert_allclose(mixed, p, rtol=1e-9)
    nothing = equivalence_test(values, condition, covariates=pd.DataFrame(index=range(95)))
    np.testing.assert_array_equal(nothing, equivalence_test(values, condition))


def test_pairs_beside_covariates_are_the_jackknife_of_their_regression():
    rng = np.random.default_rng(10)
    n = 25
    covariate = rng.normal(size=(2 * n, 1))
    b = rng.normal(size=(n, 4))
    values = np.concatenate([b + 0.6 * rng.normal(size=b.shape) + np.linspace(-0.3, 0.3, 4), b]) + 0.5 * covariate
    order = rng.permutation(2 * n)
    p = equivalence_test(
        values[order], (np.arange(2 * n) < n)[order], margin=0.4, pair=np.tile(np.arange(n), 2)[order],
        covariates=pd.DataFrame(covariate[order]),
    )  # fmt: skip

    def statistic(units):
        a, b, change = units.T
        adjusted = sm.OLS(a - b, np.column_stack([np.ones(len(a)), change])).fit().params[0]
        return adjusted, np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)

    change = (covariate[:n] - covariate[n:])[:, 0]
    for j in range(4):
        units = np.column_stack([values[:n, j], values[n:, j], change])
        assert p[j] == pytest.approx(jackknife_tost(statistic, units, 0.4, n - 2, centred=False), rel=1e-9)


def test_variances_are_not_taken_as_equal_unless_that_is_said():
    _, _, values, condition = groups(11)
    plain = equivalence_test(values, condition)
    np.testing.assert_array_equal(plain, equivalence_test(values, condition, margin=0.2, equal_variance=False))
    assert (plain != equivalence_test(values, condition, equal_variance=True)).all()


def test_size_at_the_margin_and_power_inside_it():
    rng = np.random.default_rng(3)
    n, n_samples, margin = 400, 4000, 0.3
    values = rng.normal(size=(2 * n, n_samples))
    condition = np.arange(2 * n) < n
    values[condition] += margin
    at_margin = (equivalence_test(values, condition, margin=margin) < 0.05).mean()
    values[condition] -= margin
    inside = (equivalence_test(values, condition, margin=margin) < 0.05).mean()
    assert at_margin == pytest.approx(0.05, abs=0.012)
    assert inside > 0.9


def test_constant_samples_show_nothing():
    values = np.column_stack([np.full(8, 0.1), np.repeat([1.0, 2.0], 4)])
    np.testing.assert_array_equal(equivalence_test(values, np.arange(8) < 4), [1.0, 1.0])


def test_partners_that_differ_by_a_constant_are_decided_by_the_margin():
    b = np.random.default_rng(4).normal(size=(12, 1))
    condition, pair = np.arange(24) < 12, np.tile(np.arange(12), 2)
    near, far = np.concatenate([b + 0.01, b]), np.concatenate([b + 10, b])
    assert equivalence_test(near, condition, pair=pair) < 0.001
    assert equivalence_test(far, condition, pair=pair) > 0.999


def test_two_pairs_that_differ_by_the_same_show_nothing():
    # neither the error of the difference nor that of the standard deviation can be told from them
    base = np.array([[1.0], [4.0]])
    for shift in (0.0, 2.0**-10, 2.0**10):
        values = np.concatenate([base + shift, base])
        assert equivalence_test(values, np.arange(4) < 2, pair=np.tile([0, 1], 2)) == 1


@pytest.mark.parametrize("margin", [0.0, -0.2, np.nan, np.inf])
def test_margin_must_be_positive(margin):
    with pytest.raises(InputError, match="margin is"):
        equivalence_test(np.arange(4.0)[:, None], np.arange(4) < 2, margin=margin)
