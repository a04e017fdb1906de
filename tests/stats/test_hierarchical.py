from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from metastable.errors import InputError
from metastable.stats.corrections import adjust_p_values
from metastable.stats.hierarchical import hierarchical_test, simes


def layered(seed, n_layers=12, n_heads=8, shifted=(3,), shift=4.0):
    rng = np.random.default_rng(seed)
    layer = np.repeat(np.arange(n_layers), n_heads)
    z = rng.normal(size=len(layer)) + shift * np.isin(layer, shifted)
    return stats.norm.sf(z), layer


def test_simes_by_hand():
    assert simes([0.02, 0.04, 0.5]) == pytest.approx(min(3 * 0.02, 1.5 * 0.04, 0.5))


def test_equals_two_steps_of_scipy():
    p, layer = layered(1)
    result = hierarchical_test(p, layer)
    of_layer = [stats.false_discovery_control(p[layer == k]).min() for k in range(12)]
    chosen = stats.false_discovery_control(of_layer) <= 0.05
    expected = np.zeros(len(p), dtype=bool)
    for k in np.flatnonzero(chosen):
        expected[layer == k] = stats.false_discovery_control(p[layer == k]) <= 0.05
    np.testing.assert_array_equal(result.tested, chosen[layer])
    np.testing.assert_array_equal(result.rejected, expected)
    np.testing.assert_array_equal(result.adjusted <= 0.05, expected)
    assert expected.sum() > 4


def test_nothing_is_rejected_in_a_layer_that_was_not():
    p, layer = layered(2)
    p[layer == 7] = 0.001
    group_p = np.where(layer == 7, 0.9, 0.001)
    result = hierarchical_test(p, layer, group_p=group_p)
    assert not result.rejected[layer == 7].any()
    assert (result.adjusted[layer == 7] >= 0.9).all()


def test_an_effect_in_one_layer_costs_less_than_over_all_heads():
    gained = 0
    for seed in range(40):
        p, layer = layered(seed, n_layers=24, n_heads=16, shift=2.5)
        gained += hierarchical_test(p, layer).rejected.sum() - (adjust_p_values(p) <= 0.05).sum()
    assert gained > 40


def test_the_bound_on_the_false_discovery_rate_holds():
    false, bounds = [], []
    for seed in range(300):
        p, layer = layered(seed, shifted=(1, 4, 8), shift=3.0)
        result = hierarchical_test(p, layer)
        n = result.rejected.sum()
        false.append(result.rejected[~np.isin(layer, (1, 4, 8))].sum() / max(n, 1))
        bounds.append(result.fdr_bound)
    assert np.mean(false) <= np.mean(bounds)
    assert np.mean(bounds) < 0.1


def test_the_bound_by_hand():
    # Two sites of two layers each; one layer of x and both of y are looked into, and 2 + 1 + 2 tests rejected.
    p = np.array([0.001, 0.002, 0.9, 0.5, 0.6, 0.7, 0.004, 0.8, 0.9, 0.001, 0.001, 0.6])
    layer = np.repeat([1, 2, 1, 2], 3)
    site = np.repeat(["x", "y"], 6)
    result = hierarchical_test(p, layer, family=site)
    assert result.rejected.tolist() == [True, True] + 4 * [False] + [True] + 2 * [False] + [True, True, False]
    # R = 5 tests rejected; T = 2 families of layers and 3 of heads
    assert result.fdr_bound == pytest.approx(0.05 * (5 + 5) / (5 + 1))
    # Nothing rejected: only the layers were looked into, and no rate is above one.
    assert hierarchical_test([0.5, 0.6, 0.7, 0.8], [0, 0, 1, 1]).fdr_bound == pytest.approx(0.05)
    assert hierarchical_test([0.5, 0.6, 0.7, 0.8], [0, 0, 1, 1], alpha=0.9).fdr_bound == 1


@pytest.mark.parametrize(("method", "called"), [("bh", "fdr_bh"), ("by", "fdr_by"), ("tsbh", "fdr_tsbky")])
@pytest.mark.parametrize("alpha", [0.01, 0.2])
def test_both_steps_are_those_of_the_method_at_the_level_given(method, called, alpha):
    p, layer = layered(8, n_layers=6, shifted=(1, 4), shift=2.5)
    group_p = np.array([1e-4, 2e-3, 0.6, 0.02, 0.012, 0.3])
    result = hierarchical_test(p, layer, group_p=group_p[layer], method=method, alpha=alpha)
    of_layer = np.minimum(multipletests(group_p, alpha, method=called)[1], 1)
    within = np.concatenate([multipletests(p[layer == k], alpha, method=called)[1] for k in range(6)])
    np.testing.assert_allclose(result.group_adjusted, of_layer[layer], rtol=1e-12)
    np.testing.assert_allclose(result.adjusted, np.maximum(of_layer[layer], np.minimum(within, 1)), rtol=1e-12)


def test_a_p_equal_to_alpha_is_rejected():
    result = hierarchical_test([0.05, 0.9], [0, 1], group_p=[0.025, 0.9])
    assert result.tested.tolist() == result.rejected.tolist() == [True, False]
    assert hierarchical_test([0.001, 0.9], [0, 1], group_p=[0.025, 0.9]).tested.tolist() == [True, False]


def test_layers_are_corrected_within_sites():
    (p, layer), (other, _) = layered(5), layered(6, shifted=())
    alone = [hierarchical_test(values, layer) for values in (p, other)]
    both = hierarchical_test(
        np.concatenate([p, other]), np.concatenate([layer, layer]), family=np.repeat(["x", "y"], len(p))
    )
    np.testing.assert_array_equal(both.adjusted, np.concatenate([one.adjusted for one in alone]))
    np.testing.assert_array_equal(both.group_adjusted, np.concatenate([one.group_adjusted for one in alone]))
    assert (
        both.group_adjusted.min()
        < hierarchical_test(np.concatenate([p, other]), np.arange(192) // 8).group_adjusted.min()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": [0]}, "group has shape"),
        ({"group_p": [0.1, 0.2, 0.3]}, r"group_p\[1\] is 0.2"),
        ({"group_p": [0.1]}, "group_p has shape"),
        ({"p": [0.1, np.nan, 0.2]}, r"p\[1\] is nan"),
        ({"p": [[0.1]]}, "one dimension"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        hierarchical_test(**({"p": [0.1, 0.2, 0.3], "group": [0, 0, 1]} | change))
