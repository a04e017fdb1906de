"""Rates over draws: of noise they keep the level, of a difference that is no draw they do not."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from metastable.errors import InputError
from metastable.stats.permutations.permutation import permutation_test
from metastable.stats.simulation.draws import DrawTests, draw_table, draw_tests

LAYER, FAMILY = np.repeat([0, 1], 4), np.repeat([0, 1], [6, 2])


def draws(n, *, shift=0.0, paired=False):
    rng = np.random.default_rng(4)
    condition = np.arange(24) < 12
    found = []
    for _ in range(n):
        values = rng.normal(size=(24, 8)) + shift * condition[:, None]
        values[:, 3] = 1.0
        found.append(
            draw_tests(
                values, condition, pair=np.tile(np.arange(12), 2) if paired else None, family=FAMILY, layer=LAYER,
                n_permutations=99, rng=1,
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("paired", [False, True])
def test_draws_of_noise_keep_every_promise(paired):
    table = draw_table({"sequences": draws(60, paired=paired), "words": draws(60)}, family=FAMILY)
    assert set(table["scenario"]) == {"null"}
    promised = table[table["nominal"].notna()]
    assert (promised["low"] <= promised["nominal"]).all()
    assert {"permutation, sequences", "permutation, words", "model: maximum, words"} <= set(table["test"])
    assert {"none", "bh", "holm", "max-t", "max-t-stepdown", "layers-first"} <= set(table["correction"])
    assert (table["n_splits"] == 60).all()


def test_what_is_no_draw_shows_as_a_broken_promise():
    table = draw_table({"words": draws(20, shift=1.5)}, family=FAMILY).set_index(["test", "correction", "measure"])
    assert table.loc[("permutation, words", "none", "false_positive_rate"), "low"] > 0.5
    assert table.loc[("permutation, words", "max-t", "fwer"), "low"] > 0.5
    assert table.loc[("model: sum of squares, words", "none", "false_positive_rate"), "low"] > 0.5


def test_a_draw_is_the_permutation_test_of_its_units_and_flat_heads_are_left_out():
    rng = np.random.default_rng(9)
    values, condition = rng.normal(size=(24, 8)), np.arange(24) < 12
    values[:, 3] = 1.0
    found = draw_tests(values, condition, family=FAMILY, layer=LAYER, n_permutations=99, rng=1)
    expected = permutation_test(values, condition, family=FAMILY, n_permutations=99, rng=1)
    kept = np.arange(8) != 3
    np.testing.assert_array_equal(np.array(found.features["none"])[kept], expected.p_perm[kept])
    np.testing.assert_array_equal(np.array(found.features["max-t"])[kept], expected.p_fwer[kept])
    assert np.isnan(found.features["none"][3])
    at = {"n_permutations": 99, "rng": 1, "alpha": 0.3}
    whole = permutation_test(values, condition, omnibus={"model": np.ones(8, dtype=bool)}, **at).omnibus["model"]
    of_model = {"sum of squares": whole.p_sum_squares, "maximum": whole.p_max, "number below alpha": whole.p_count}
    found_at = draw_tests(values, condition, **at).omnibus
    assert found_at == {f"model: {name}": [p] for name, p in of_model.items()}
    assert found_at["model: number below alpha"] != found.omnibus["model: number below alpha"]
    table = draw_table({"words": [found, found]}, family=FAMILY).set_index(["test", "correction", "measure"])
    rate = table.loc[("permutation, words", "none", "false_positive_rate"), "estimate"]
    assert rate == pytest.approx((expected.p_perm[kept] < 0.05).mean())


def test_one_draw_is_no_rate_and_a_draw_without_a_head_none():
    with pytest.raises(InputError, match="there are 1 draws of words"):
        draw_table({"words": draws(1)})
    flat = draw_tests(np.column_stack([np.ones(24), np.ones(24)]), np.arange(24) < 12, n_permutations=99)
    with pytest.raises(InputError, match="has no head that varies"):
        draw_table({"words": [flat, flat]})


def _table(p, *, omnibus=0.5, family=None, alpha=0.05):
    one = DrawTests({"none": p}, {"model: maximum": [omnibus]})
    table = draw_table({"words": [one, one]}, family=family, alpha=alpha)
    return table.set_index(["test", "correction", "measure"])["estimate"]


def test_a_p_of_the_level_itself_rejects_nothing():
    for p, rate in ((0.05, 0.0), (0.0499, 1.0)):
        table = _table([p, p], omnibus=p)
        assert table["permutation, words", "none", "false_positive_rate"] == rate
        assert table["model: maximum, words", "none", "false_positive_rate"] == rate


def test_draws_are_corrected_within_families_at_the_level_asked_for():
    p = [0.02, 0.9, 0.02, 0.9]
    # Holm over two is .04, over four .08
    assert _table(p)["permutation, words", "holm", "fwer"] == 0
    assert _table(p, family=[0, 0, 1, 1])["permutation, words", "holm", "fwer"] == 1
    p = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.3, 0.31, 0.8, 0.9]
    for alpha in (0.05, 0.1, 0.4):
        called = multipletests(p, alpha=alpha, method="fdr_tsbky")[0]
        assert _table(p, alpha=alpha)["permutation, words", "tsbh", "false_positive_rate"] == called.mean()


def test_a_head_varies_whatever_its_unit_but_not_by_rounding():
    rng = np.random.default_rng(9)
    values, condition = rng.normal(size=(24, 4)), np.arange(24) < 12
    values[:, 3] = np.where(np.arange(24) % 2, 0.1 + 0.2, 0.3)
    plain, small = (draw_tests(v, condition, n_permutations=99, rng=1).features for v in (values, values * 1e-6))
    np.testing.assert_array_equal(plain["none"], small["none"])
    assert np.isnan(plain["none"]).tolist() == [False, False, False, True]
