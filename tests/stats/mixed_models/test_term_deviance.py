"""The deviance's gradient in both parametrizations, and the short way to one theta for all features."""

from __future__ import annotations

import numpy as np
import pytest

from metastable.stats.mixed_models.random_terms import RandomTerms, term_sums
from metastable.stats.mixed_models.term_deviance import ROOT, TRIANGLE, common_deviance, expand, outer_factor

CASES = [(True, 1), (True, 2), (False, 1), (False, 2)]


def example(nested, width, n_features=3):
    rng = np.random.default_rng(2)
    group = np.unique(rng.integers(0, 25, 120), return_inverse=True)[1]
    cluster = group // 3 if nested else rng.permutation(np.arange(120) % 6)
    slope = rng.normal(size=120) if width == 2 else None
    x = np.linalg.qr(np.column_stack([np.ones(120), rng.normal(size=(120, 2))]))[0]
    y = rng.normal(size=(120, n_features)) + rng.normal(size=(25, n_features))[group]
    terms = RandomTerms(group, cluster, slope)
    return term_sums(x, y, terms), rng.uniform(0.3, 1.5, (n_features, terms.n_theta))


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("bases", [TRIANGLE, ROOT], ids=["triangle", "root"])
@pytest.mark.parametrize(("nested", "width"), CASES)
def test_gradient_is_that_of_the_deviance(nested, width, bases, method):
    sums, theta = example(nested, width)
    dof = 117 if method == "reml" else 120
    gradient = expand(sums, theta, method, bases[width]).gradient(dof)
    for j in range(theta.shape[1]):
        step = 1e-5 * np.eye(theta.shape[1])[j]
        above, below = (expand(sums, theta + s * step, method, bases[width]).deviance(dof) for s in (1, -1))
        np.testing.assert_allclose(gradient[:, j], (above - below) / 2e-5, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("nested", "width"), CASES)
def test_parametrizations_describe_the_same_models(nested, width):
    sums, theta = example(nested, width)
    root = outer_factor(sums, theta, ROOT[width])
    np.testing.assert_array_equal(root, np.swapaxes(root, 1, 2))
    lower = np.linalg.cholesky(root @ root)
    triangle = theta.copy()
    triangle[:, 1:] = lower[:, [0, 1, 1], [0, 0, 1]] if width == 2 else lower[:, 0]
    a, b = expand(sums, theta, "reml", ROOT[width]), expand(sums, triangle, "reml", TRIANGLE[width])
    np.testing.assert_allclose(a.deviance(117), b.deviance(117), rtol=1e-10)
    np.testing.assert_allclose(a.unscaled, b.unscaled, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("nested", "width"), CASES)
def test_common_deviance_is_that_of_each_feature(nested, width, method):
    sums, theta = example(nested, width)
    each = expand(sums, np.tile(theta[0], (3, 1)), method, ROOT[width]).deviance(117)
    np.testing.assert_allclose(common_deviance(sums, theta[0], 117, method), each, rtol=1e-10)
