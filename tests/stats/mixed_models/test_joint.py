"""The joint model over heads against lme4 and lmerTest, and against what was put into the data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.stats.mixed_models.joint import fit_joint_model

LME4 = Path(__file__).parent / "lme4"
FITS = json.loads((LME4 / "fits.json").read_text())["joint"]


def fixture():
    data = pd.read_csv(LME4 / "joint.csv")
    values = data.pivot_table(index="sequence", columns="head", values="y").to_numpy()
    condition = data.groupby("sequence")["condition"].first().to_numpy() == 1
    return values, condition, data.groupby("head")["layer"].first().to_numpy()


def planted(rng, *, by_layer=(0.0, 0.0, 0.0), slope=0.0, n_heads=6):
    n_sequences, layer = 60, np.repeat([1, 2, 3], n_heads)
    condition = np.arange(n_sequences) < 30
    effect = np.asarray(by_layer)[layer - 1] + slope * rng.normal(size=layer.size)
    values = rng.normal(size=(n_sequences, 1)) + rng.normal(size=layer.size) + condition[:, None] * effect
    return values + rng.normal(size=values.shape), condition, layer


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_agrees_with_lme4_and_lmertest(method):
    ours, theirs = fit_joint_model(*fixture(), method=method), FITS[method]
    assert list(ours.names) == theirs["names"]
    assert ours.criterion == pytest.approx(theirs["criterion"], rel=1e-10)
    np.testing.assert_allclose(ours.coefficients.estimate, theirs["estimate"], rtol=1e-5)
    np.testing.assert_allclose(ours.coefficients.se, theirs["se"], rtol=1e-5)
    np.testing.assert_allclose(ours.coefficients.dof, theirs["dof"], rtol=1e-5)
    p = np.array(theirs["p"])
    # A p of 1e-18 magnifies what numDeriv leaves of error in lmerTest's degrees of freedom.
    np.testing.assert_allclose(ours.coefficients.p_value[p > 1e-12], p[p > 1e-12], rtol=1e-5)
    variances = {(row["group"], row["name"]): row["value"] for row in theirs["variances"]}
    assert ours.variance_sequence == pytest.approx(variances["sequence", "(Intercept)"], rel=1e-5)
    assert ours.variance_sequence_layer == pytest.approx(variances["sequence:layer", "(Intercept)"], rel=1e-5)
    assert ours.variance_head == pytest.approx(variances["head", "(Intercept)"], rel=1e-5)
    assert ours.variance_slope == pytest.approx(variances["head", "condition"], rel=1e-5)
    assert ours.covariance_slope == pytest.approx(variances["head", "(Intercept):condition"], rel=1e-5)
    assert ours.variance_residual == pytest.approx(variances["Residual", ""], rel=1e-5)
    test = theirs["interaction"]
    assert ours.interaction.statistic == pytest.approx(test["statistic"], rel=1e-5)
    assert ours.interaction.dof_numerator == test["dof_numerator"]
    assert ours.interaction.dof_denominator == pytest.approx(test["dof_denominator"], rel=1e-5)
    assert ours.interaction.p_value == pytest.approx(test["p"], rel=1e-5)
    assert ours.converged
    assert not ours.singular


def test_layer_effects_are_differences_of_means_in_balanced_data():
    values, condition, layer = fixture()
    model = fit_joint_model(values, condition, layer)
    means = values[condition].mean(axis=0) - values[~condition].mean(axis=0)
    expected = [means[layer == level].mean() for level in model.layers]
    np.testing.assert_allclose(model.by_layer.estimate, expected, rtol=1e-9)
    np.testing.assert_allclose(model.overall.estimate, [np.mean(expected)], rtol=1e-9)


def test_finds_an_effect_that_varies_over_layers_and_no_other():
    rng = np.random.default_rng(5)
    varying = fit_joint_model(*planted(rng, by_layer=(0.0, 0.5, 1.0)))
    constant = fit_joint_model(*planted(rng, by_layer=(0.5, 0.5, 0.5)))
    assert varying.interaction.p_value < 1e-5
    assert constant.interaction.p_value > 0.01


def test_slope_test_tells_heads_that_differ_from_heads_that_do_not():
    rng = np.random.default_rng(6)
    differing = fit_joint_model(*planted(rng, slope=1.0))
    same = fit_joint_model(*planted(rng))
    assert differing.slope_p < 1e-6
    assert same.slope_p > 0.01
    assert differing.variance_slope > 10 * same.variance_slope


def test_interaction_rejects_a_true_null_at_its_level():
    rng = np.random.default_rng(7)
    p = np.array([fit_joint_model(*planted(rng, slope=0.5, n_heads=3)).interaction.p_value for _ in range(20)])
    # 20 draws at 5%: more than 5 would have a probability below 0.001.
    assert (p < 0.05).sum() <= 5
    assert 0.25 < np.median(p) < 0.75


def test_interaction_keeps_its_level_where_sequences_move_whole_layers():
    # Issue 12: without a term of sequences by layer 8 of 27 null splits were rejected.
    rng = np.random.default_rng(17)
    condition, layer = np.arange(40) < 20, np.repeat(np.arange(4), 4)
    p = []
    for _ in range(25):
        values = rng.normal(size=(40, 1)) + rng.normal(size=16) + rng.normal(size=(40, 4))[:, layer]
        p.append(fit_joint_model(values + rng.normal(size=(40, 16)), condition, layer).interaction.p_value)
    # More than 5 of 25 at 5% would have a probability of .001.
    assert (np.array(p) < 0.05).sum() <= 5


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_criterion_is_that_of_dense_matrices_and_lowest_where_layers_differ_in_size(method):
    rng = np.random.default_rng(18)
    layer = np.repeat([3, 5, 9], [2, 5, 3])
    n, h, condition = 17, 10, np.arange(17) < 8
    zipf = rng.normal(size=(n, 2)) * [1, 10] + [0, 50]
    values = (
        rng.normal(size=(n, 1))
        + rng.normal(size=h)
        + rng.normal(size=(n, 3))[:, np.unique(layer, return_inverse=True)[1]]
    )
    values += rng.normal(size=(n, h)) + zipf @ [[0.3], [0.02]] + np.outer(condition, rng.normal(size=h))
    model = fit_joint_model(values, condition, layer, covariates=zipf, method=method)

    sequence, head = np.divmod(np.arange(n * h), h)
    x = condition[sequence].astype(float)
    dummies = (layer[head][:, None] == [5, 9]).astype(float)
    design = np.column_stack([np.ones(n * h), x, dummies, dummies * x[:, None], zipf[sequence]])
    same = (sequence[:, None] == sequence).astype(float)
    same_layer = same * (layer[head][:, None] == layer[head])
    same_head = (head[:, None] == head).astype(float)

    def criterion(sequences, layers, heads, slopes, covariance, residual):
        v = sequences * same + layers * same_layer + residual * np.eye(n * h)
        v += same_head * (heads + covariance * (x[:, None] + x) + slopes * np.outer(x, x))
        inverse = np.linalg.inv(v)
        information = design.T @ inverse @ design
        beta = np.linalg.solve(information, design.T @ inverse @ values.ravel())
        left = values.ravel() - design @ beta
        value = np.linalg.slogdet(v)[1] + left @ inverse @ left
        if method == "ml":
            return value + n * h * np.log(2 * np.pi), beta, np.linalg.inv(information)
        value += np.linalg.slogdet(information)[1] + (n * h - design.shape[1]) * np.log(2 * np.pi)
        return value, beta, np.linalg.inv(information)

    at = np.array([model.variance_sequence, model.variance_sequence_layer, model.variance_head, model.variance_slope,
                   model.covariance_slope, model.variance_residual])  # fmt: skip
    value, beta, covariance = criterion(*at)
    assert model.criterion == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(model.coefficients.estimate, beta, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(model.coefficients.se, np.sqrt(np.diag(covariance)), rtol=1e-6)
    for k in range(6):
        for factor in (0.97, 1.03):
            assert criterion(*np.where(np.arange(6) == k, factor * at, at))[0] >= value - 1e-9
    assert model.converged


def test_a_covariate_takes_its_part():
    rng = np.random.default_rng(8)
    values, condition, layer = planted(rng)
    zipf = condition + 0.3 * rng.normal(size=60)
    values = values + 2.0 * zipf[:, None]
    assert fit_joint_model(values, condition, layer).overall.p_value[0] < 1e-4
    adjusted = fit_joint_model(values, condition, layer, covariates=zipf[:, None])
    assert adjusted.overall.p_value[0] > 0.01
    assert adjusted.names[-1] == "covariate1"
    assert abs(adjusted.coefficients.estimate[-1] - 2.0) < 3 * adjusted.coefficients.se[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, c, k: (v[0], c, k), "units by features"),
        (lambda v, c, k: (v, c.astype(int), k), "booleans"),
        (lambda v, c, k: (v, c[:-1], k), "booleans"),
        (lambda v, c, k: (v, np.ones_like(c), k), "both conditions"),
        (lambda v, c, k: (v, c, k[:-1]), "layer has shape"),
        (lambda v, c, k: (v, c, np.ones_like(k)), "one level"),
        (lambda v, c, k: (v, c, np.arange(k.size)), "entangled"),
        (lambda v, c, k: (np.where(v > v.max() - 1e-9, np.nan, v), c, k), "is nan"),
        (lambda v, c, k: (np.ones_like(v), c, k), "no variance"),
        (lambda v, c, k: (np.add.outer(np.sin(np.arange(30)), k), c, k), "no residual variance"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(InputError, match=message):
        fit_joint_model(*change(*fixture()))


def test_a_covariate_that_repeats_the_condition_is_named():
    values, condition, layer = fixture()
    with pytest.raises(InputError, match="collinear"):
        fit_joint_model(values, condition, layer, covariates=condition[:, None].astype(float))
