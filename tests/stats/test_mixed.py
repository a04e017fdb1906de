"""The mixed models against lme4 and lmerTest, and their handling of degenerate features and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from metastable.stats.mixed import fit_mixed_models

LME4 = Path(__file__).parent / "lme4"
FITS = json.loads((LME4 / "fits.json").read_text())
HEADS = ["y1", "y2", "y3"]


class Model(NamedTuple):
    covariates: list[str]
    group: str
    cluster: str | None = None
    slope: int | None = None


MODELS = {
    "balanced": Model(["condition"], "sequence"),
    "unbalanced": Model(["condition", "zipf", "position"], "sequence"),
    "singular": Model(["condition"], "sequence"),
    "crossed": Model(["condition"], "sequence", "cluster"),
    "nested": Model(["condition", "zipf"], "sequence", "cluster"),
    "paired": Model(["condition"], "pair", slope=1),
    "paired_sequences": Model(["condition"], "sequence", "cluster", slope=1),
}


def fit(name, method, **options):
    model = MODELS[name]
    data = pd.read_csv(LME4 / f"{name}.csv")
    design = np.column_stack([np.ones(len(data)), data[model.covariates]])
    cluster = None if model.cluster is None else data[model.cluster]
    values = data[HEADS].to_numpy(float)
    return fit_mixed_models(
        values, design, data[model.group], method=method, cluster=cluster, slope=model.slope, **options
    )


def variance_named(models, name, group, term):
    if group == "Residual":
        return models.variance_residual
    if term == "condition":
        return models.variance_slope
    if term == "(Intercept):condition":
        return models.covariance_slope
    return models.variance_group if group == MODELS[name].group else models.variance_cluster


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("name", list(MODELS))
def test_agrees_with_lme4_and_lmertest(name, method):
    ours = fit(name, method)
    for i, head in enumerate(HEADS):
        theirs = FITS[name][method][head]
        assert ours.criterion[i] == pytest.approx(theirs["criterion"], rel=1e-10)
        np.testing.assert_allclose(ours.coefficients[i], theirs["estimate"], rtol=1e-5)
        np.testing.assert_allclose(ours.coefficient_se[i], theirs["se"], rtol=1e-5)
        np.testing.assert_allclose(ours.coefficient_dof[i], theirs["dof"], rtol=1e-5)
        # A p of 1e-18 magnifies what numDeriv leaves of error in lmerTest's degrees of freedom.
        p = np.array(theirs["p"])
        np.testing.assert_allclose(ours.coefficient_p[i][p > 1e-12], p[p > 1e-12], rtol=1e-5)
        for row in theirs["variances"]:
            found = variance_named(ours, name, row["group"], row["name"])[i]
            assert found == pytest.approx(row["value"], rel=1e-5, abs=1e-9)
        assert ours.singular[i] == theirs["singular"]
    assert ours.converged.all()
    assert not ours.flat.any()


def test_fixtures_cover_singular_and_regular_fits():
    flags = [FITS[name]["reml"][head]["singular"] for name in MODELS for head in HEADS]
    assert 3 <= sum(flags) < len(flags)


@pytest.mark.parametrize("name", list(MODELS))
def test_statsmodels_engine_agrees_where_it_converges(name):
    ours, reference = fit(name, "reml"), fit(name, "reml", engine="statsmodels")
    rows = reference.converged & ~ours.singular
    assert rows.sum() >= (0 if name == "singular" else 2)
    # statsmodels never finds a better criterion; it stops within its own tolerance of the optimum.
    assert (ours.criterion <= reference.criterion + 1e-7).all()
    np.testing.assert_allclose(ours.criterion[rows], reference.criterion[rows], rtol=0, atol=1e-4)
    for field in ("estimate", "se", "variance_residual"):
        np.testing.assert_allclose(getattr(ours, field)[rows], getattr(reference, field)[rows], rtol=5e-3)
    np.testing.assert_allclose(ours.dof[rows], reference.dof[rows], rtol=2e-2)
