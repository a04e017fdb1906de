"""All tests of a table of heads together: one verdict a head, and one hypothesis behind it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from metastable.stats import (
    Settings,
    TokenRows,
    adjust_p_values,
    adjustment_table,
    analyse,
    equivalence_test,
    hierarchical_test,
    permutation_test,
    verdicts,
)
from metastable.stats.bayes import difference_bayes_factor

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
    np.testing.assert_array_equal(held.heads["bf10"], expected)
    # What was observed stays what it is.
    for column in ("difference", "hedges_g", "mean_a"):
        np.testing.assert_array_equal(held.heads[column], plain.heads[column])
    recorded = run(values, condition, pair=pair, recorded=table).details
    after = adjustment_table(values, condition, table, pair=pair)
    np.testing.assert_array_equal(recorded["difference_adjusted"], after["difference_adjusted"])


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
