"""All tests of a table of heads together: one verdict a head, and one hypothesis behind it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.stats import (
    Settings,
    TokenRows,
    adjust_p_values,
    adjustment_table,
    analyse,
    equivalence_test,
    hierarchical_test,
    mean_difference,
    permutation_test,
    verdicts,
)
from metastable.stats.analysis import join_analyses
from metastable.stats.bayes import difference_bayes_factor, log_difference_bayes_factor

FEATURES = pd.DataFrame({"site": ["self"] * 6 + ["cross"] * 2, "layer": [1, 1, 1, 2, 2, 2, 1, 1], "head": [1, 2, 3, 1, 2, 3, 1, 2]})  # fmt: skip  # noqa: E501
SETTINGS = Settings(n_permutations=999, n_resamples=200, seed=3)
MEDIANS = np.zeros((2, 8))


def sample(seed=1, n=80):
    rng = np.random.default_rng(seed)
    condition = np.arange(n) < n // 2
    values = 5 + rng.normal(size=(n, 8))
    values[condition, 1] += 1.5
    return values, condition, rng


def run(values, condition, **options):
    return analyse(
        values, condition, FEATURES, threshold=0.9, measure="count", medians=MEDIANS, settings=SETTINGS, **options
    )


def test_the_table_is_what_its_parts_say():
    values, condition, _ = sample()
    found = run(values, condition)
    family = np.repeat([0, 1], [6, 2])
    test = permutation_test(values, condition, family=family, n_permutations=999, rng=3)
    np.testing.assert_array_equal(found.heads["p_perm"], test.p_perm)
    np.testing.assert_array_equal(found.heads["p_perm_fdr"], adjust_p_values(test.p_perm, family=family))
    p_tost = equivalence_test(values, condition)
    np.testing.assert_array_equal(found.heads["p_tost"], p_tost)
    expected = verdicts(adjust_p_values(test.p_perm, family=family), adjust_p_values(p_tost, family=family))
    assert found.heads["verdict"].tolist() == expected.tolist()
    layers = found.layers.set_index(["site", "layer"])["p_sum_squares"]
    of_layer = [layers[site, layer] for site, layer in FEATURES[["site", "layer"]].itertuples(index=False)]
    first = hierarchical_test(test.p_perm, FEATURES["layer"], group_p=of_layer, family=family).adjusted
    np.testing.assert_array_equal(found.details["p_layers_first"], first)
    assert found.omnibus["site"].tolist() == ["all", "self", "cross"]
    for side, rows in (("a", condition), ("b", ~condition)):
        np.testing.assert_allclose(found.heads[f"mean_{side}"], values[rows].mean(axis=0), rtol=1e-12)
        assert (found.heads[f"n_{side}"] == 40).all()


@pytest.mark.parametrize("paired", [False, True])
def test_no_part_contradicts_another_where_covariates_are_held_fixed(paired):
    """A head that follows a covariate alone is not different, and no other number says that it is."""
    values, condition, rng = sample(2, n=400)
    length = condition + 0.5 * rng.normal(size=400)
    values[:, 0] = 2 * length + 0.1 * rng.normal(size=400)
    pair = np.tile(rng.permutation(200), 2) if paired else None
    plain = run(values, condition, pair=pair)
    held = run(values, condition, pair=pair, covariates=length[:, None])
    assert plain.heads["verdict"][0] == "different"
    assert plain.heads["bf10"][0] > 1e10
    assert plain.heads["p_tost"][0] > 0.99
    assert held.heads["verdict"][0] == "equivalent"
    assert held.heads["bf10"][0] < 1
    assert held.heads["p_tost"][0] < 0.001
    table = pd.DataFrame({"length": length})
    np.testing.assert_array_equal(
        held.heads["p_tost"], equivalence_test(values, condition, pair=pair, covariates=table)
    )
    expected = difference_bayes_factor(values, condition, pair=pair, covariates=length[:, None])
    np.testing.assert_allclose(held.heads["bf10"], expected, rtol=1e-12)
    # Estimate, interval, g and p are of the adjusted difference, those without adjusting beside them.
    after = adjustment_table(values, condition, table, pair=pair)
    np.testing.assert_array_equal(held.heads["difference"], after["difference_adjusted"])
    np.testing.assert_array_equal(held.heads["ci_low"], after["ci_low_adjusted"])
    factor = plain.heads["hedges_g"] / after["g"]
    np.testing.assert_allclose(held.heads["hedges_g"], factor * after["g_adjusted"], rtol=1e-9)
    assert (held.details["g_low"] < held.heads["hedges_g"]).all()
    assert (held.details["g_high"] > held.heads["hedges_g"]).all()
    assert held.details["g_high"][0] < 0.2
    for name, column in (("difference", "difference"), ("ci_low", "ci_low"), ("g", "hedges_g"), ("p_perm", "p_perm")):
        np.testing.assert_array_equal(held.details[f"{name}_unadjusted"], plain.heads[column])
        np.testing.assert_array_equal(held.details[f"{name}_adjusted"], held.heads[column])
    # What describes the sides stays what it is.
    np.testing.assert_array_equal(held.heads["mean_a"], plain.heads["mean_a"])
    # Whichever is tested, the two stand side by side, and the counts of heads that they give are one.
    both = [name for name in held.details if name.endswith(("adjusted", "adjusted_fdr"))]
    recorded = run(values, condition, pair=pair, recorded=table)
    drawn = ["p_perm_adjusted", "p_perm_adjusted_fdr"]  # beside the tests by fewer relabelings
    same = [name for name in both if name not in drawn]
    pd.testing.assert_frame_equal(recorded.details[same], held.details[same])
    np.testing.assert_allclose(recorded.details["p_perm_adjusted"], held.details["p_perm_adjusted"], atol=0.08)
    np.testing.assert_array_equal(recorded.details["p_perm_unadjusted_fdr"], recorded.heads["p_perm_fdr"])
    np.testing.assert_array_equal(held.details["p_perm_adjusted_fdr"], held.heads["p_perm_fdr"])


def test_what_is_tested_takes_all_relabelings_and_what_stands_beside_it_fewer():
    values, condition, rng = sample(6)
    length = rng.normal(size=80)
    family = np.repeat([0, 1], [6, 2])

    def p_perm(n, covariates=None):
        return permutation_test(values, condition, family=family, covariates=covariates, n_permutations=n, rng=3).p_perm

    held = run(values, condition, covariates=length[:, None])
    np.testing.assert_array_equal(held.heads["p_perm"], p_perm(999, length[:, None]))
    np.testing.assert_array_equal(held.details["p_perm_unadjusted"], p_perm(999))
    recorded = run(values, condition, recorded=pd.DataFrame({"length": length}))
    np.testing.assert_array_equal(recorded.heads["p_perm"], p_perm(999))
    # twice as many as a lone feature of eight needs to pass .05
    np.testing.assert_array_equal(recorded.details["p_perm_adjusted"], p_perm(320, length[:, None]))


def test_a_difference_is_negligible_where_its_whole_interval_lies_within_the_margin():
    rng = np.random.default_rng(11)
    condition = np.arange(4000) < 2000
    values = rng.normal(size=(4000, 8)) + np.where(
        condition[:, None], [0.25, -0.25, 0.6, -0.6, 0.0, 0.0, 0.25, -0.6], 0
    )
    found = analyse(
        values, condition, FEATURES, threshold=0.9, measure="count", medians=MEDIANS,
        settings=Settings(n_permutations=999, n_resamples=200, seed=3, margin=0.5),
    )  # fmt: skip
    low, high = found.details["g_low"], found.details["g_high"]
    np.testing.assert_array_equal(found.details["within_margin"], (low > -0.5) & (high < 0.5))
    expected = [
        "negligible",
        "negligible",
        "different",
        "different",
        "equivalent",
        "equivalent",
        "negligible",
        "different",
    ]
    assert found.heads["verdict"].tolist() == expected


@pytest.mark.parametrize("pair", [None, np.tile(np.arange(40), 2)])
@pytest.mark.parametrize("held", [False, True])
def test_intervals_of_the_heads_that_differ_allow_for_their_choice(pair, held):
    values, condition, rng = sample(13)
    values[condition, 7] -= 1.0
    table = pd.DataFrame({"length": rng.normal(size=80)})
    found = run(values, condition, pair=pair, **({"covariates": table} if held else {}))
    differ = (found.heads["p_perm_fdr"] < 0.05).to_numpy()
    family = np.repeat([0, 1], [6, 2])
    assert differ[[1, 7]].all()
    for code in (0, 1):
        mine = differ & (family == code)
        confidence = 1 - 0.05 * mine.sum() / (family == code).sum()
        if held:
            expected = adjustment_table(values, condition, table, pair=pair, confidence=confidence)
            low, high = expected["ci_low_adjusted"], expected["ci_high_adjusted"]
        else:
            plain = mean_difference(values, condition, pair=pair, confidence=confidence)
            low, high = plain.low, plain.high
        np.testing.assert_allclose(found.details["ci_low_fcr"][mine], np.asarray(low)[mine])
        np.testing.assert_allclose(found.details["ci_high_fcr"][mine], np.asarray(high)[mine])
    assert found.details.loc[~differ, ["ci_low_fcr", "ci_high_fcr"]].isna().all(axis=None)
    wider = found.details["ci_high_fcr"] - found.details["ci_low_fcr"] > found.heads["ci_high"] - found.heads["ci_low"]
    assert wider[differ].all()


def test_analyses_are_joined_in_their_order_and_numbered_anew():
    values, condition, _ = sample(12)
    first, second = run(values, condition), run(-values, condition)
    joined = join_analyses([first, replace(second, no_adjustment="another reason")])
    assert joined.no_adjustment == first.no_adjustment
    for name in ("heads", "details", "layers", "omnibus"):
        table = getattr(joined, name)
        assert table.index.tolist() == list(range(len(table)))
        halves = table.iloc[: len(table) // 2], table.iloc[len(table) // 2 :].reset_index(drop=True)
        pd.testing.assert_frame_equal(halves[0], getattr(first, name))
        pd.testing.assert_frame_equal(halves[1], getattr(second, name))


def test_labels_are_exchanged_within_blocks():
    values, condition, _ = sample(7)
    block = np.arange(80) % 4
    values += 5.0 * block[:, None]
    found = run(values, condition, block=block)
    family = np.repeat([0, 1], [6, 2])
    expected = permutation_test(values, condition, block=block, family=family, n_permutations=999, rng=3)
    np.testing.assert_array_equal(found.heads["p_perm"], expected.p_perm)
    assert (run(values, condition).heads["p_perm"] != expected.p_perm).any()


def test_a_covariate_that_pairs_share_is_a_reason_to_adjust_for_none():
    values, condition, rng = sample(8)
    shared = pd.DataFrame({"length": np.tile(rng.normal(size=40), 2) + condition})
    found = run(values, condition, pair=np.tile(np.arange(40), 2), recorded=shared)
    assert "length" in found.no_adjustment
    assert "difference_adjusted" not in found.details


def test_two_units_of_a_condition_are_too_few_for_an_interval_of_g():
    values, _, rng = sample(9)
    condition = np.arange(80) < 2
    length = rng.normal(size=(80, 1))
    for covariates in (None, length):
        found = run(values, condition, covariates=covariates)
        assert np.isfinite(found.heads["hedges_g"]).all()
        assert np.isnan(found.details[["g_low", "g_high"]]).all(axis=None)
    three = run(values, np.arange(80) < 3)
    assert np.isfinite(three.details[["g_low", "g_high"]]).all(axis=None)


def test_a_covariate_that_others_determine_is_no_reason_to_adjust_for_none():
    values, condition, rng = sample(5)
    words = rng.integers(5, 15, size=80).astype(float)
    table = pd.DataFrame({"words": words, "tokens": words + 2})
    recorded, held = run(values, condition, recorded=table), run(values, condition, covariates=table)
    assert recorded.no_adjustment == held.no_adjustment == ""
    assert recorded.determined == held.determined == ("tokens",)
    alone = run(values, condition, covariates=table[["words"]])
    pd.testing.assert_frame_equal(alone.heads, held.heads)
    assert alone.determined == ()


@pytest.mark.parametrize("pair", [None, np.tile(np.arange(40), 2)])
def test_a_recorded_covariate_that_a_single_unit_decides_is_left_out_and_a_chosen_one_refused(pair):
    values, condition, rng = sample(10)
    table = pd.DataFrame({"length": rng.normal(size=80), "single": (np.arange(80) == 5).astype(float)})
    found = run(values, condition, pair=pair, recorded=table)
    assert (found.single, found.determined, found.no_adjustment) == (("single",), (), "")
    without = run(values, condition, pair=pair, recorded=table[["length"]])
    assert without.single == ()
    pd.testing.assert_frame_equal(found.details, without.details)
    with pytest.raises(InputError, match="unit 5 alone determines a coefficient"):
        run(values, condition, pair=pair, covariates=table)


def test_the_logarithm_of_a_bayes_factor_is_finite_where_the_factor_is_not():
    rng = np.random.default_rng(9)
    condition = np.arange(2000) < 1000
    values = rng.normal(size=(2000, 8)) + 3.0 * condition[:, None]
    values[:, 7] = rng.normal(size=2000)
    found = run(values, condition)
    assert np.isinf(found.heads["bf10"][:7]).all()
    for scale in (0.5, 0.707, 1):
        log10 = found.details[f"log10_bf10_scale_{scale:g}"]
        expected = log_difference_bayes_factor(values, condition, scale=scale) / np.log(10)
        np.testing.assert_allclose(log10, expected, rtol=1e-12)
        assert np.isfinite(log10).all()
    np.testing.assert_array_equal(found.heads["log10_bf10"], found.details["log10_bf10_scale_0.707"])
    assert found.heads["bf10"][7] == pytest.approx(10 ** found.heads["log10_bf10"][7])
    # The wider the prior, the more a null feature speaks for none.
    scales = [found.details[f"log10_bf10_scale_{scale:g}"][7] for scale in (0.5, 0.707, 1)]
    assert scales == sorted(scales, reverse=True)


def test_a_head_that_is_constant_in_each_condition_but_differs_is_certain():
    values, condition, _ = sample(3)
    values[:, 2] = np.where(condition, 2.0, 1.0)
    values[:, 3] = 7.0
    found = run(values, condition)
    assert found.heads["bf10"][2] == np.inf
    assert found.heads["verdict"][2] == "different"
    assert found.heads["p_perm"][3] == 1.0
    assert found.heads["verdict"][3] == "undecided"
    assert found.details["flat"].tolist() == [False, False, False, True, False, False, False, False]
    assert not found.heads.drop(columns=[c for c in found.heads if c.startswith("lmm")]).isna().any(axis=None)


def test_the_mixed_model_and_the_permutation_test_agree_on_balanced_tokens():
    values, condition, rng = sample(4)
    tokens = np.repeat(values, 10, axis=0) + 0.3 * rng.normal(size=(800, 8))
    means = tokens.reshape(80, 10, 8).mean(axis=1)
    rows = TokenRows(
        read=lambda columns: tokens[:, columns], group=np.repeat(np.arange(80), 10),
        design=np.column_stack([np.ones(800), np.repeat(condition, 10)]), block=3,
    )  # fmt: skip
    found = run(means, condition, tokens=rows)
    np.testing.assert_allclose(found.heads["lmm_estimate"], found.heads["difference"], rtol=1e-6)
    np.testing.assert_allclose(found.heads["lmm_p"], found.heads["p_perm"], atol=0.05)
    assert (found.details["lmm_converged"] == True).all()  # noqa: E712


def test_the_statistics_load_no_model_library():
    heavy = ("torch", "transformers", "statsmodels", "matplotlib", "zarr", "rich")
    code = f"import sys, metastable.stats; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"
