"""The one-dimensional profile of the random-intercept model: it finds the lowest minimum."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM

from metastable.stats.mixed_models.random_intercept import fit_random_intercept, group_sums


def example(seed, spread, n_features=5):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(15), rng.integers(1, 9, 15))
    condition = (codes % 2).astype(float)
    x = np.linalg.qr(np.column_stack([np.ones(codes.size), condition, rng.normal(size=codes.size)]))[0]
    y = spread * rng.normal(size=(15, n_features))[codes] + rng.normal(size=(codes.size, n_features))
    return x, y - x @ (x.T @ y), codes


def profiled(x, y, codes, theta, method):
    n, p = x.shape
    covariance = np.eye(n) + theta**2 * (codes[:, None] == codes)
    inverse = np.linalg.inv(covariance)
    information = x.T @ inverse @ x
    residual = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
    logdet, dof = np.linalg.slogdet(covariance)[1], n
    if method == "reml":
        logdet, dof = logdet + np.linalg.slogdet(information)[1], n - p
    return logdet + dof * (1 + np.log(2 * np.pi * (residual @ inverse @ residual) / dof))


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 30.0])
def test_criterion_is_the_lowest_of_the_dense_likelihood(spread, method):
    x, y, codes = example(int(10 * spread), spread)
    fit = fit_random_intercept(group_sums(x, y, codes), method=method)
    assert fit.converged.all()
    grid = np.concatenate([[0.0], np.geomspace(1e-3, 300.0, 400)])
    for f, column in enumerate(y.T):
        assert fit.criterion[f] == pytest.approx(profiled(x, column, codes, fit.theta[f, 0], method), rel=1e-9)
        lowest = min(profiled(x, column, codes, theta, method) for theta in grid)
        assert lowest - 0.05 < fit.criterion[f] <= lowest + 1e-8


def test_singular_fits_are_exactly_on_the_boundary_and_flagged():
    x, y, codes = example(1, 0.0, n_features=40)
    fit = fit_random_intercept(group_sums(x, y, codes))
    assert 5 < fit.singular.sum() < 40
    assert (fit.theta[fit.singular] == 0.0).all()
    assert (fit.theta[~fit.singular] > 1e-4).all()
    # There the model is a regression on independent rows.
    rss = np.einsum("nf,nf->f", y, y)
    np.testing.assert_allclose(fit.sigma[fit.singular] ** 2, (rss / (codes.size - 3))[fit.singular], rtol=1e-10)


def test_standard_errors_of_balanced_data_are_those_of_statsmodels():
    # In other data statsmodels inverts the observed information, coefficients and variances together.
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(18), 6)
    x = np.column_stack([np.ones(108), (codes % 2).astype(float), rng.normal(size=18)[codes]])
    y = 1.5 * rng.normal(size=(18, 3))[codes] + rng.normal(size=(108, 3))
    fit = fit_random_intercept(group_sums(x, y, codes))
    for f, column in enumerate(y.T):
        theirs = MixedLM(column, x, codes).fit(reml=True, gtol=1e-9)
        se = fit.sigma[f] * np.sqrt(np.diag(fit.unscaled[f]))
        np.testing.assert_allclose(se, theirs.bse_fe, rtol=1e-4)
        assert fit.criterion[f] <= -2 * theirs.llf + 1e-9


def test_reduction_keeps_every_sum_of_squares():
    x, y, codes = example(3, 1.0)
    sums = group_sums(x, y, codes)
    np.testing.assert_allclose(sums.within_xx + sums.between_xx.sum(axis=0), x.T @ x, atol=1e-12)
    np.testing.assert_allclose(sums.within_xy + sums.between_xy.sum(axis=0), x.T @ y, atol=1e-12)
    np.testing.assert_allclose(sums.within_yy + sums.between_yy.sum(axis=0), (y**2).sum(axis=0))
    assert sums.count @ sums.size == codes.size
    some = sums.features(np.array([4, 1]))
    np.testing.assert_array_equal(some.between_yy, sums.between_yy[:, [4, 1]])
