"""All tests along a continuous predictor, against statsmodels, and where the truth is known."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from metastable.errors import InputError
from metastable.stats.analysis import Settings, TokenRows, join_analyses
from metastable.stats.bayes import slope_bayes_factor
from metastable.stats.bootstrap import jackknife_error
from metastable.stats.correlation import correlation_effect, correlation_equivalence, partial_correlation
from metastable.stats.effect_kinds import SLOPE, head_columns
from metastable.stats.slope import analyse_slope, fit_slopes

N, LAYERS, HEADS = 150, 3, 4
FEATURES = pd.DataFrame(
    [("self", layer, head) for layer in range(1, LAYERS + 1) for head in range(1, HEADS + 1)],
    columns=["site", "layer", "head"],
)


def material(seed=0, n=N, slope=0.0, confounded=2.0):
    """Units whose values follow a covariate that goes along with the rating, and layer 2 also the rating itself."""
    rng = np.random.default_rng(seed)
    rating = rng.uniform(size=n)
    pieces = 3 - rating + rng.normal(scale=0.4, size=n)
    zipf = rng.normal(size=n)
    values = 5 + confounded * pieces[:, None] + rng.normal(size=(n, len(FEATURES)))
    values[:, (FEATURES["layer"] == 2).to_numpy()] += slope * rating[:, None]
    return values, rating, pd.DataFrame({"pieces": pieces, "zipf": zipf})


def run(values, rating, covariates=None, recorded=None, n_permutations=500, **options):
    condition = rating > np.median(rating)
    return analyse_slope(
        values,
        rating,
        FEATURES,
        condition=condition,
        threshold=0.9,
        measure="count",
        medians=np.stack([np.median(values[condition], axis=0), np.median(values[~condition], axis=0)]),
        covariates=covariates,
        recorded=recorded,
        settings=Settings(n_permutations=n_permutations),
        **options,
    )


@pytest.mark.parametrize("held", [False, True])
def test_slopes_are_those_of_statsmodels_with_hc3(held):
    # so few units, and values so wide, that p is no rounding
    values, rating, covariates = material(slope=1.0, n=25, confounded=0.5)
    values = (values - 5) * (1 + rating[:, None])
    found = fit_slopes(values, rating, covariates.to_numpy() if held else None, confidence=0.9)
    design = sm.add_constant(np.column_stack([rating, covariates]) if held else rating[:, None])
    for i, column in enumerate(values.T):
        oracle = sm.OLS(column, design).fit(cov_type="HC3", use_t=True)
        assert found.estimate[i] == pytest.approx(oracle.params[1], rel=1e-9)
        assert (found.low[i], found.high[i]) == pytest.approx(tuple(oracle.conf_int(0.1)[1]), rel=1e-9)
        assert found.p[i] == pytest.approx(oracle.pvalues[1], rel=1e-6, abs=0)
    assert 0.001 < np.median(found.p) < 0.9


def test_every_column_means_what_it_says():
    values, rating, covariates = material(slope=1.5)
    done = []
    found = run(values, rating, covariates, recorded=covariates, on_permutations=lambda *told: done.append(told))
    heads, details = found.heads, found.details
    assert tuple(heads.columns) == head_columns(SLOPE)
    above = rating > np.median(rating)
    np.testing.assert_array_equal(heads["n_a"], above.sum())
    np.testing.assert_allclose(heads["mean_b"], values[~above].mean(axis=0))
    design = sm.add_constant(np.column_stack([rating, covariates]))
    for i, column in enumerate(values.T):
        plain = sm.OLS(column, design).fit()
        robust = sm.OLS(column, design).fit(cov_type="HC3", use_t=True)
        assert heads["statistic"][i] == pytest.approx(robust.tvalues[1], rel=1e-9)
        assert heads["slope"][i] == pytest.approx(plain.params[1], rel=1e-9)
        # the permutation p of so many units is near the parametric one
        assert heads["p_perm"][i] == pytest.approx(max(robust.pvalues[1], 1 / 501), abs=0.07)
    correlation = partial_correlation(values, rating, covariates.to_numpy())
    np.testing.assert_array_equal(heads["partial_d"], correlation_effect(correlation).estimate)
    error = jackknife_error(values, rating, covariates.to_numpy())
    np.testing.assert_array_equal(heads["p_tost"], correlation_equivalence(correlation, error=error))
    np.testing.assert_array_equal(details["correlation"], correlation.estimate)
    assert (heads["lmm_p"].isna()).all()
    assert done[-1] == (1000, 1000)
    assert [row["site"] for row in found.omnibus.to_dict("records")] == ["all", "self"]
    assert found.layers["layer"].tolist() == [1, 2, 3]
    assert found.layers["p_sum_squares"][1] < 0.01


def test_unadjusted_and_adjusted_stand_side_by_side_whichever_is_tested():
    values, rating, covariates = material(slope=1.5)
    bare, held = run(values, rating, recorded=covariates), run(values, rating, covariates, recorded=covariates)
    both = [f"{column}_{which}" for which in ("unadjusted", "adjusted")
            for column in ("slope", "ci_low", "ci_high", "p", "correlation", "d", "p_perm")]  # fmt: skip
    pd.testing.assert_frame_equal(bare.details[both], held.details[both])
    for analysis, which in ((bare, "unadjusted"), (held, "adjusted")):
        for column, name in (
            ("slope", "slope"), ("partial_d", "d"), ("p_perm", "p_perm"), ("ci_low", "ci_low")
        ):  # fmt: skip
            np.testing.assert_array_equal(analysis.heads[column], analysis.details[f"{name}_{which}"])
    # every head follows the covariate; only layer 2 follows the rating
    layer_2 = (FEATURES["layer"] == 2).to_numpy()
    assert (bare.heads.loc[~layer_2, "verdict"] == "different").all()
    assert (held.heads.loc[layer_2, "verdict"] == "different").all()
    assert (held.heads["verdict"] == "different").sum() == layer_2.sum()


def test_bayes_factors_are_those_of_the_students_t_and_the_prior_of_a_slope():
    values, rating, covariates = material(slope=0.5)
    found = run(values, rating, covariates, n_permutations=50)
    design = sm.add_constant(np.column_stack([rating, covariates]))
    t = [sm.OLS(column, design).fit().tvalues[1] for column in values.T]
    for scale in (0.5, 0.707, 1):
        # half of the scale of a difference: between two values of a predictor lie two standard deviations
        expected = np.log10(slope_bayes_factor(t, N, n_covariates=2, scale=scale / 2))
        np.testing.assert_allclose(found.details[f"log10_bf10_scale_{scale:g}"], expected, rtol=1e-6)
    np.testing.assert_allclose(found.heads["bf10"], slope_bayes_factor(t, N, n_covariates=2), rtol=1e-6)


def test_a_covariate_that_others_determine_is_named_and_none_are_none():
    values, rating, covariates = material()
    twins = covariates.assign(flat=3.0, twin=2 * covariates["pieces"] - covariates["zipf"])
    few = {"n_permutations": 50}
    assert run(values, rating, twins, **few).determined == ("twin",)
    assert run(values, rating, recorded=twins, **few).determined == ("twin",)
    assert run(values, rating, recorded=covariates, **few).determined == ()
    none = run(values, rating, covariates[[]], recorded=covariates[[]], **few)
    assert none.determined == ()
    assert none.no_adjustment == "no covariate was recorded"
    pd.testing.assert_frame_equal(none.heads, run(values, rating, **few).heads)


def test_the_same_seed_gives_the_same_tables():
    values, rating, covariates = material()
    first, second = (run(values, rating, covariates, n_permutations=100) for _ in range(2))
    pd.testing.assert_frame_equal(first.heads, second.heads)
    pd.testing.assert_frame_equal(first.details, second.details)


@pytest.mark.parametrize("held", [False, True])
def test_without_a_slope_the_tests_reject_at_their_nominal_rate(held):
    p_values, omnibus = [], []
    for seed in range(60):
        values, rating, covariates = material(seed=seed, n=60, confounded=2.0 if held else 0.0)
        # errors far from normal
        values += np.random.default_rng(seed).exponential(2.0, size=values.shape)
        found = run(values, rating, covariates if held else None, n_permutations=199)
        p_values.append(found.heads["p_perm"].to_numpy())
        omnibus.append(found.omnibus.loc[0, "p_sum_squares"])
    level = np.mean(np.concatenate(p_values) <= 0.05)
    assert stats.binomtest(round(level * 60 * 12), 60 * 12, 0.05).pvalue > 0.01
    assert np.mean(np.array(omnibus) <= 0.05) < 0.15


def test_a_planted_slope_is_found_and_the_rest_is_equivalent():
    values, rating, covariates = material(seed=4, n=3000, slope=-1.0)
    found = run(values, rating, covariates, n_permutations=999).heads
    layer_2 = found["layer"] == 2
    assert (found.loc[layer_2, "verdict"] == "different").all()
    assert (found.loc[layer_2, "ci_low"] < -1).all()
    assert (found.loc[layer_2, "ci_high"] > -1).mean() > 0.5
    assert (found.loc[layer_2, "bf10"] > 100).all()
    assert (found.loc[~layer_2, "verdict"] == "equivalent").mean() > 0.7
    assert (found.loc[~layer_2, "bf10"] < 1 / 3).mean() > 0.7


def test_the_mixed_model_tests_the_slope_on_tokens():
    values, rating, _ = material(slope=2.0, confounded=0.0)
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(N), 6)
    tokens = values[group] + rng.normal(size=(len(group), len(FEATURES)))
    values = np.stack([tokens[group == unit].mean(axis=0) for unit in range(N)])
    rows = TokenRows(
        read=lambda columns: tokens[:, columns],
        group=group,
        design=np.column_stack([np.ones(len(group)), rating[group]]),
        block=5,
    )
    told = []
    found = run(values, rating, tokens=rows, on_models=lambda *done: told.append(done))
    # of balanced groups it is the regression of the means
    np.testing.assert_allclose(found.heads["lmm_estimate"], found.heads["slope"], rtol=1e-6)
    plain = [stats.linregress(rating, column) for column in values.T]
    t = [one.slope / one.stderr for one in plain]
    np.testing.assert_allclose(found.heads["lmm_estimate"] / found.heads["lmm_se"], t, rtol=1e-4)
    assert told[-1] == (12, 12)
    assert found.details["lmm_converged"].all()


def test_a_recorded_covariate_that_a_single_unit_decides_is_left_out_and_a_chosen_one_refused():
    values, rating, table = material()
    single = table.assign(single=np.arange(len(rating)) == 2).astype(float)
    found, without = run(values, rating, recorded=single), run(values, rating, recorded=table)
    assert (found.single, found.no_adjustment) == (("single",), "")
    pd.testing.assert_frame_equal(found.details, without.details)
    with pytest.raises(InputError, match="unit 2 alone determines a coefficient"):
        run(values, rating, single)


@pytest.mark.parametrize("held", [False, True])
def test_intervals_of_the_heads_with_a_slope_allow_for_their_choice(held):
    values, rating, table = material(slope=2.0, confounded=0.0)
    covariates = table if held else None
    found = run(values, rating, covariates)
    sloping = (found.heads["p_perm_fdr"] < 0.05).to_numpy()
    assert 0 < sloping.sum() < len(sloping)
    family = FEATURES["site"].to_numpy()
    for site in np.unique(family):
        mine = sloping & (family == site)
        confidence = 1 - 0.05 * mine.sum() / (family == site).sum()
        expected = fit_slopes(values, rating, None if covariates is None else table.to_numpy(), confidence=confidence)
        np.testing.assert_allclose(found.details["ci_low_fcr"][mine], expected.low[mine])
        np.testing.assert_allclose(found.details["ci_high_fcr"][mine], expected.high[mine])
    assert found.details.loc[~sloping, ["ci_low_fcr", "ci_high_fcr"]].isna().all(axis=None)


def test_covariates_that_can_not_be_held_fixed_are_a_finding_and_chosen_ones_an_error():
    values, rating, _ = material()
    twin = pd.DataFrame({"twin": 4 * rating + 1})
    found = run(values, rating, recorded=twin)
    assert "covariates explain the predictor" in found.no_adjustment
    assert "slope_adjusted" not in found.details
    assert "slope_unadjusted" in found.details
    with pytest.raises(InputError, match="covariates explain the predictor"):
        run(values, rating, twin)
    assert run(values, rating).no_adjustment == "no covariate was recorded"


def test_a_line_without_error_is_certain_and_a_flat_one_says_nothing():
    x = np.arange(8.0)
    found = fit_slopes(np.column_stack([2 * x, np.full(8, 0.1), -x]), x)
    np.testing.assert_allclose(found.estimate, [2, 0, -1], atol=1e-12)
    np.testing.assert_allclose(found.p, [0, 1, 0], atol=1e-12)


def test_a_flat_head_says_nothing():
    values, rating, covariates = material()
    values[:, 0] = 1.0
    found = run(values, rating, covariates, recorded=covariates)
    head, detail = found.heads.iloc[0], found.details.iloc[0]
    assert detail["flat"]
    assert head["slope"] == head["ci_low"] == head["partial_d"] == 0
    assert head["p_perm"] == head["p_tost"] == 1
    assert head["verdict"] == "undecided"


def test_thresholds_stack():
    values, rating, covariates = material()
    joined = join_analyses([run(values, rating, covariates, n_permutations=50) for _ in range(2)])
    assert len(joined.heads) == len(joined.details) == 2 * len(FEATURES)
