"""The reference engine: what it takes from statsmodels, and what it says when that fails."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM

from metastable.errors import InputError
from metastable.stats.mixed_models.mixed import fit_mixed_models


def example():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(16), rng.integers(3, 9, 16))
    design = np.column_stack([np.ones(group.size), (group % 2).astype(float)])
    values = 1.5 * rng.normal(size=(16, 2))[group] + rng.normal(size=(group.size, 2))
    return values, design, group


def test_numbers_are_those_of_statsmodels():
    values, design, group = example()
    models = fit_mixed_models(values, design, group, engine="statsmodels")
    for f, column in enumerate(values.T):
        theirs = MixedLM(column, design, group).fit(reml=True)
        np.testing.assert_allclose(models.coefficients[f], theirs.fe_params, rtol=1e-4)
        np.testing.assert_allclose(models.coefficient_se[f], theirs.bse_fe, rtol=1e-3)
        assert models.variance_residual[f] == pytest.approx(theirs.scale, rel=1e-3)
        assert models.variance_group[f] == pytest.approx(theirs.cov_re[0, 0], rel=1e-3)
        assert models.criterion[f] == pytest.approx(-2 * theirs.llf, rel=1e-6)


def test_a_fit_that_is_given_up_is_flagged_not_tested(monkeypatch):
    def give_up(self, **options):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(MixedLM, "fit", give_up)
    models = fit_mixed_models(*example(), engine="statsmodels")
    assert not models.converged.any()
    assert (models.p_value == 1.0).all()
    assert np.isinf(models.se).all()
    assert np.isnan(models.criterion).all()


def test_a_stop_above_the_minimum_is_not_convergence(monkeypatch):
    fit = MixedLM.fit

    def stop_early(self, **options):
        result = fit(self, **options)
        result._results.cov_re = 4.0 * result.cov_re
        return result

    monkeypatch.setattr(MixedLM, "fit", stop_early)
    assert not fit_mixed_models(*example(), engine="statsmodels").converged.any()


def test_a_slope_of_a_crossed_factor_is_refused():
    values, design, group = example()
    cluster = np.random.default_rng(1).integers(0, 5, group.size)
    with pytest.raises(InputError, match="use engine='profile'"):
        fit_mixed_models(values, design, group, cluster=cluster, slope=1, engine="statsmodels")
