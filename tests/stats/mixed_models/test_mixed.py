"""The mixed models against lme4 and lmerTest, and their handling of degenerate features and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pingouin
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.stats.mixed_models.mixed import fit_mixed_models

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


def unbalanced(rng, n_groups=24, n_features=4, spread=1.0):
    size = rng.integers(1, 9, n_groups)
    size[:2] = 5
    group = np.repeat(np.arange(n_groups), size)
    condition = (np.arange(n_groups) % 2)[group]
    position = rng.normal(size=group.size)
    shared = spread * rng.normal(size=(n_groups, n_features))
    values = shared[group] + rng.normal(size=(group.size, n_features))
    return values, np.column_stack([np.ones(group.size), condition, position]), group


def same(a, b, *, rtol=1e-7, fields=("estimate", "se", "dof", "p_value", "variance_group", "variance_residual")):
    for field in fields:
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=rtol, atol=1e-12, err_msg=field)
    np.testing.assert_array_equal(a.singular, b.singular)


STRUCTURES = {
    "intercept": {},
    "nested": {"nested": True},
    "crossed": {"nested": False},
    "slope": {"slope": 2},
    "slope by cluster": {"nested": True, "slope": 2},
}


def structure(options, group, rng):
    options = dict(options)
    if "nested" in options:
        options["cluster"] = group // 4 if options.pop("nested") else rng.integers(0, 6, group.size)
    return options


@pytest.mark.parametrize("name", list(STRUCTURES))
def test_features_do_not_influence_each_other(name, monkeypatch):
    rng = np.random.default_rng(1)
    values, design, group = unbalanced(rng)
    options = structure(STRUCTURES[name], group, rng)
    together = fit_mixed_models(values, design, group, **options)
    monkeypatch.setattr("metastable.stats.mixed_models.mixed.BLOCK_FEATURES", 1)
    same(together, fit_mixed_models(values, design, group, **options), rtol=1e-6)


@pytest.mark.parametrize("name", list(STRUCTURES))
def test_order_of_rows_and_names_of_labels_do_not_matter(name):
    rng = np.random.default_rng(2)
    values, design, group = unbalanced(rng)
    options = structure(STRUCTURES[name], group, rng)
    order = rng.permutation(group.size)
    moved = dict(options)
    if "cluster" in options:
        moved["cluster"] = [f"cluster {c}" for c in options["cluster"][order]]
    labels = np.array([f"sequence {7 * g % 24}" for g in group])
    a = fit_mixed_models(values, design, group, **options)
    same(a, fit_mixed_models(values[order], design[order], labels[order], **moved), rtol=1e-6)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    exponent=st.integers(-8, 8),
    shift=st.floats(-1e3, 1e3),
    name=st.sampled_from(list(STRUCTURES)),
)
def test_scale_and_shift_of_the_outcome_pass_through(seed, exponent, shift, name):
    rng = np.random.default_rng(seed)
    values, design, group = unbalanced(rng, n_features=2)
    options = structure(STRUCTURES[name], group, rng)
    scale = 10.0**exponent
    a = fit_mixed_models(values, design, group, **options)
    b = fit_mixed_models(scale * (values + shift), design, group, **options)
    np.testing.assert_allclose(b.estimate, scale * a.estimate, rtol=1e-5, atol=1e-8 * scale)
    np.testing.assert_allclose(b.se, scale * a.se, rtol=1e-5)
    np.testing.assert_allclose(b.variance_residual, scale**2 * a.variance_residual, rtol=1e-5)
    # A likelihood that is nearly level in theta magnifies the rounding that a shift leaves.
    np.testing.assert_allclose(b.dof, a.dof, rtol=1e-3)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(list(STRUCTURES)), method=st.sampled_from(["reml", "ml"]))
def test_results_are_finite_and_converged_on_random_data(seed, name, method):
    rng = np.random.default_rng(seed)
    values, design, group = unbalanced(rng, spread=rng.choice([0.0, 0.3, 3.0]))
    models = fit_mixed_models(np.round(values), design, group, method=method, **structure(STRUCTURES[name], group, rng))
    assert models.converged.all()
    assert np.isfinite([models.estimate, models.se, models.dof, models.p_value, models.criterion]).all()
    assert ((models.p_value >= 0) & (models.p_value <= 1)).all()
    assert (models.variance_residual > 0).all()


def test_balanced_groups_give_the_t_test_of_group_means():
    rng = np.random.default_rng(3)
    shared, condition = rng.normal(size=(30, 5)), np.arange(30) < 13
    values = np.repeat(shared + condition[:, None], 6, axis=0) + rng.normal(size=(180, 5))
    design = np.column_stack([np.ones(180), np.repeat(condition, 6)])
    models = fit_mixed_models(values, design, np.repeat(np.arange(30), 6))
    means = values.reshape(30, 6, 5).mean(axis=1)
    expected = scipy.stats.ttest_ind(means[condition], means[~condition])
    assert not models.singular.any()
    np.testing.assert_allclose(models.statistic, expected.statistic, rtol=1e-8)
    np.testing.assert_allclose(models.p_value, expected.pvalue, rtol=1e-6)
    np.testing.assert_allclose(models.dof, 28.0, rtol=1e-6)


def test_paired_slope_gives_the_paired_t_test_of_cell_means():
    rng = np.random.default_rng(4)
    pair, condition = np.repeat(np.arange(20), 10), np.tile(np.repeat([0.0, 1.0], 5), 20)
    a, s = rng.normal(size=(20, 5)), 2.0 * rng.normal(size=(20, 5))
    values = a[pair] + (0.5 + s[pair]) * condition[:, None] + rng.normal(size=(200, 5))
    models = fit_mixed_models(values, np.column_stack([np.ones(200), condition]), pair, slope=1)
    cells = values.reshape(20, 2, 5, 5).mean(axis=2)
    expected = scipy.stats.ttest_rel(cells[:, 1], cells[:, 0])
    assert not models.singular.any()
    np.testing.assert_allclose(models.statistic, expected.statistic, rtol=1e-8)
    np.testing.assert_allclose(models.p_value, expected.pvalue, rtol=1e-6)


def test_mixed_design_matches_pingouin():
    """Two groups of subjects, each measured in two settings several times: the analysis of variance of the cells."""
    rng = np.random.default_rng(14)
    subject, setting = np.repeat(np.arange(24), 10), np.tile(np.repeat([-0.5, 0.5], 5), 24)
    between = np.where(subject % 2 == 0, 0.5, -0.5)
    values = rng.normal(size=24)[subject] + 0.4 * between * setting + 0.3 * setting + rng.normal(size=240)
    cells = pd.DataFrame({"subject": subject, "between": between, "setting": setting, "y": values})
    cells = cells.groupby(["subject", "between", "setting"], as_index=False)["y"].mean()
    table = pingouin.mixed_anova(cells, dv="y", within="setting", between="between", subject="subject")
    design = np.column_stack([np.ones(48), cells["between"], cells["setting"], cells["between"] * cells["setting"]])
    models = fit_mixed_models(cells[["y"]], design, cells["subject"], column=3)
    assert not models.singular[0]
    t = models.coefficients[0] / models.coefficient_se[0]
    for column, source in ((1, "between"), (2, "setting"), (3, "Interaction")):
        row = table.set_index("Source").loc[source]
        assert t[column] ** 2 == pytest.approx(row["F"], rel=1e-6)
        assert models.coefficient_dof[0, column] == pytest.approx(row["DF2"], rel=1e-4)
        assert models.coefficient_p[0, column] == pytest.approx(row["p_unc"], rel=1e-4)


def test_null_is_rejected_at_its_level():
    rng = np.random.default_rng(5)
    values, design, group = unbalanced(rng, n_groups=20, n_features=4000)
    p = fit_mixed_models(values, design, group).p_value
    # Four standard errors of 4,000 draws; treating tokens as independent would reject some 30%.
    assert abs((p < 0.05).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 4000)


def test_nested_labels_mean_the_same_in_either_role():
    rng = np.random.default_rng(6)
    values, design, group = unbalanced(rng, spread=2.0)
    cluster = group // 3
    a = fit_mixed_models(values, design, group, cluster=cluster)
    b = fit_mixed_models(values, design, cluster, cluster=group)
    same(a, b, rtol=1e-6, fields=("estimate", "se", "dof", "variance_residual"))
    np.testing.assert_allclose(a.variance_group, b.variance_cluster, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(a.variance_cluster, b.variance_group, rtol=1e-6, atol=1e-9)


def test_crossed_labels_mean_the_same_in_either_role():
    rng = np.random.default_rng(7)
    values, design, group = unbalanced(rng, spread=2.0)
    cluster = rng.integers(0, 8, group.size)
    a = fit_mixed_models(values, design, group, cluster=cluster)
    b = fit_mixed_models(values, design, cluster, cluster=group)
    same(a, b, rtol=1e-6, fields=("estimate", "se", "dof", "variance_residual"))
    np.testing.assert_allclose(a.variance_group, b.variance_cluster, rtol=1e-6, atol=1e-9)


def test_flat_features_are_flagged():
    values, design, group = unbalanced(np.random.default_rng(8))
    values[:, 0], values[:, 1], values[:, 2] = 7.0, 0.0, 3.0 + design[:, 1]
    models = fit_mixed_models(values, design, group)
    assert models.flat.tolist() == [True, True, True, False]
    assert models.singular[:3].all()
    assert models.p_value[:3].tolist() == [1.0, 1.0, 0.0]
    np.testing.assert_allclose(models.estimate[:3], [0.0, 0.0, 1.0], atol=1e-12)
    assert models.se[:3].tolist() == [0.0, 0.0, 0.0]
    assert models.statistic[:2].tolist() == [0.0, 0.0]
    assert np.isnan(models.criterion[:3]).all()


def test_callback_counts_up_to_all_features(monkeypatch):
    monkeypatch.setattr("metastable.stats.mixed_models.mixed.BLOCK_FEATURES", 3)
    seen = []
    fit_mixed_models(*unbalanced(np.random.default_rng(9)), callback=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 4), (4, 4)]


@pytest.mark.parametrize("option", [{"method": "REML"}, {"engine": "lme4"}])
def test_unknown_options_are_named(option):
    with pytest.raises(InputError, match=next(iter(option))):
        fit_mixed_models(*unbalanced(np.random.default_rng(10)), **option)


@pytest.mark.parametrize("name", list(STRUCTURES))
def test_search_converges_over_four_orders_of_magnitude_of_variance(name):
    rng = np.random.default_rng(11)
    _, design, group = unbalanced(rng, n_groups=40)
    options = structure(STRUCTURES[name], group, rng)
    size = 10.0 ** rng.uniform(-2, 2, (3, 80))
    values = rng.normal(size=(group.size, 80)) + (size[0] * rng.normal(size=(40, 80)))[group]
    if "cluster" in options:
        values += (size[1] * rng.normal(size=(40, 80)))[options["cluster"]]
    if "slope" in options:
        of = options.get("cluster", group)
        values += (size[2] * rng.normal(size=(40, 80)))[of] * design[:, [2]]
    models = fit_mixed_models(values, design, group, **options)
    assert models.converged.all()
    assert models.singular.any()
    assert not models.singular.all()
