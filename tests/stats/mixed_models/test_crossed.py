"""The likelihood of models with two factors or a slope against its definition with dense matrices."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import optimize

from metastable.stats.mixed_models.crossed import _cholesky_from_root, criterion_at, fit_terms
from metastable.stats.mixed_models.random_intercept import fit_random_intercept, group_sums
from metastable.stats.mixed_models.random_terms import RandomTerms, term_sums


def example(seed, *, nested, inner, slope, n_obs=150, n_features=2):
    rng = np.random.default_rng(seed)
    group = np.unique(rng.integers(0, 30, n_obs), return_inverse=True)[1]
    cluster = group // 4 if nested else rng.permutation(np.arange(n_obs) % 7)
    condition = rng.integers(0, 2, n_obs).astype(float)
    x = np.linalg.qr(np.column_stack([np.ones(n_obs), condition, rng.normal(size=n_obs)]))[0]
    y = rng.normal(size=(n_obs, n_features))
    y += rng.normal(size=(30, n_features))[group] + rng.normal(size=(8, n_features))[cluster]
    terms = RandomTerms(group if inner else None, cluster, condition if slope else None)
    return x, y, terms, rng.uniform(0.2, 1.5, (n_features, terms.n_theta))


def dense(x, y, terms, theta, method):
    """Deviance by (theta, sigma), and the unscaled covariance, from the n by n covariance matrix."""
    n, p = x.shape
    covariance, rest = np.eye(n), list(theta)
    if terms.inner is not None:
        covariance += rest.pop(0) ** 2 * (terms.inner[:, None] == terms.inner)
    same = terms.outer[:, None] == terms.outer
    if terms.slope is None:
        covariance += rest[0] ** 2 * same
    else:
        factor = np.array([[rest[0], 0.0], [rest[1], rest[2]]])
        columns = np.column_stack([np.ones(n), terms.slope]) @ factor
        covariance += same * (columns @ columns.T)
    inverse = np.linalg.inv(covariance)
    unscaled = np.linalg.inv(x.T @ inverse @ x)
    beta = unscaled @ x.T @ inverse @ y
    rss = (y - x @ beta) @ inverse @ (y - x @ beta)
    logdet = np.linalg.slogdet(covariance)[1]
    dof = n
    if method == "reml":
        logdet, dof = logdet - np.linalg.slogdet(unscaled)[1], n - p

    def deviance(sigma):
        return logdet + rss / sigma**2 + dof * np.log(2 * np.pi * sigma**2)

    return deviance, unscaled, beta, np.sqrt(rss / dof)


CASES = [
    pytest.param(nested, inner, slope, id=f"{'nested' if nested else 'crossed'}-{'two' if inner else 'one'}-{slope}")
    for nested in (True, False)
    for inner in (True, False)
    for slope in (True, False)
]


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("nested", "inner", "slope"), CASES)
def test_criterion_and_its_derivatives_are_those_of_the_dense_likelihood(nested, inner, slope, method):
    x, y, terms, theta = example(3, nested=nested, inner=inner, slope=slope)
    fit = criterion_at(term_sums(x, y, terms), theta, method=method)
    for f in range(y.shape[1]):
        deviance, unscaled, beta, sigma = dense(x, y[:, f], terms, theta[f], method)
        assert fit.sigma[f] == pytest.approx(sigma, rel=1e-10)
        assert fit.criterion[f] == pytest.approx(deviance(sigma), rel=1e-10)
        np.testing.assert_allclose(fit.beta[f], beta, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(fit.unscaled[f], unscaled, rtol=1e-8, atol=1e-10)

        def at(point, f=f):
            return dense(x, y[:, f], terms, point[:-1], method)[0](point[-1])

        point = np.append(theta[f], sigma)
        steps = 1e-4 * np.eye(point.size)
        for i, a in enumerate(steps):
            for j, b in enumerate(steps):
                second = at(point + a + b) - at(point + a - b) - at(point - a + b) + at(point - a - b)
                assert fit.hessian[f, i, j] == pytest.approx(second / 4e-8, rel=1e-4, abs=1e-2)
        for i, a in enumerate(steps[:-1, :-1]):
            above, below = (dense(x, y[:, f], terms, theta[f] + s * a, method)[1] for s in (1, -1))
            np.testing.assert_allclose(fit.unscaled_gradient[f, i], (above - below) / 2e-4, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("nested", "inner", "slope"), CASES)
def test_no_other_optimizer_finds_a_lower_criterion(nested, inner, slope):
    x, y, terms, _ = example(4, nested=nested, inner=inner, slope=slope)
    fit = fit_terms(term_sums(x, y, terms))
    assert fit.converged.all()

    def profiled(theta):
        deviance, _, _, sigma = dense(x, y[:, 0], terms, theta, "reml")
        return deviance(sigma)

    for start in (0.1, 1.0):
        found = optimize.minimize(
            profiled, np.full(terms.n_theta, start), method="Nelder-Mead", options={"xatol": 1e-6}
        )
        assert fit.criterion[0] <= found.fun + 1e-8
    assert fit.criterion[0] == pytest.approx(found.fun, abs=1e-3)


def test_one_factor_is_the_random_intercept_model():
    x, y, terms, _ = example(5, nested=True, inner=False, slope=False, n_features=6)
    ours, special = fit_terms(term_sums(x, y, terms)), fit_random_intercept(group_sums(x, y, terms.outer))
    for field in ("theta", "sigma", "beta", "unscaled", "unscaled_gradient", "hessian", "criterion"):
        np.testing.assert_allclose(getattr(ours, field), getattr(special, field), rtol=1e-6, atol=1e-6, err_msg=field)


def test_blocks_larger_than_the_small_ones_agree_with_dense_algebra():
    rng = np.random.default_rng(6)
    n = 300
    terms = RandomTerms(np.arange(n) % 50, rng.permutation(np.arange(n) % 40))
    x, y = np.linalg.qr(rng.normal(size=(n, 2)))[0], rng.normal(size=(n, 1))
    theta = np.array([[0.7, 0.4]])
    fit = criterion_at(term_sums(x, y, terms), theta)
    deviance, unscaled, _, sigma = dense(x, y[:, 0], terms, theta[0], "reml")
    assert fit.criterion[0] == pytest.approx(deviance(sigma), rel=1e-10)
    np.testing.assert_allclose(fit.unscaled[0], unscaled, rtol=1e-9, atol=1e-12)


def test_a_theta_that_is_no_minimum_has_not_converged():
    x, y, terms, theta = example(7, nested=True, inner=True, slope=False)
    sums = term_sums(x, y, terms)
    best = fit_terms(sums)
    assert not criterion_at(sums, theta + 1.0).converged.any()
    assert criterion_at(sums, best.theta).converged.all()


def test_a_triangle_has_the_covariance_of_its_symmetric_root_without_an_intercept_too():
    roots = np.random.default_rng(2).normal(size=(20, 3))
    roots[:4] = [[0, 0, 0.7], [0, 0, -0.7], [0, 0, 0], [0.4, 0, 0]]
    theta = np.column_stack([np.linspace(-1, 1, 20), roots])
    found = _cholesky_from_root(theta, SimpleNamespace(width=2, has_inner=True))
    np.testing.assert_allclose(found[:, 0], np.abs(theta[:, 0]))
    for (a, b, c), (intercept, along, apart) in zip(roots, found[:, 1:], strict=True):
        root, triangle = np.array([[a, b], [b, c]]), np.array([[intercept, 0], [along, apart]])
        np.testing.assert_allclose(triangle @ triangle.T, root @ root.T, atol=1e-12)
        assert intercept >= 0
        assert apart >= 0
