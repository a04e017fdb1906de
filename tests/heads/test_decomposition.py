from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from metastable.heads.decomposition import compared_maps, effects_with_sink_held, learned_sink_shares, sink_of
from metastable.stats.adjustment import adjustment_table
from metastable.stats.effect_kinds import DIFFERENCE
from metastable.study import Options


def analysis(sizes, p, measure):
    heads = pd.DataFrame(
        {"site": "self", "layer": 1, "head": range(1, len(sizes) + 1), "threshold": 0.9, "measure": measure,
         "hedges_g": sizes, "p_perm_fdr": p}
    )  # fmt: skip
    return SimpleNamespace(heads=heads, effect=DIFFERENCE)


def test_heads_are_kept_turned_lost_or_gained():
    own = analysis([1.0, -1.0, 0.5, 0.1, -0.2], [0.01, 0.01, 0.01, 0.5, 0.5], "count")
    other = analysis([0.8, 0.9, 0.2, 0.7, -0.1], [0.01, 0.01, 0.4, 0.01, 0.9], "count_words")
    (found,) = compared_maps({"count": own, "count_words": other}, alpha=0.05)
    assert (found.kept, found.turned, found.lost, found.gained) == (1, 1, 1, 1)
    assert (found.same_sign, found.n_heads) == (4, 5)


def test_the_correlation_and_its_interval_are_scipys():
    rng = np.random.default_rng(0)
    x = rng.normal(size=72)
    y = 0.4 * x + rng.normal(size=72)
    (found,) = compared_maps(
        {"count": analysis(x, np.ones(72), "count"), "special_mass": analysis(y, np.ones(72), "special_mass")},
        alpha=0.05,
    )
    theirs = stats.pearsonr(x, y)
    interval = theirs.confidence_interval(0.95)
    assert found.r == pytest.approx(theirs.statistic)
    assert (found.r_low, found.r_high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("y", [np.zeros(6), np.full(6, 2.0)])
def test_a_constant_map_has_no_correlation(y):
    own, other = analysis(np.arange(6.0), np.ones(6), "count"), analysis(y, np.ones(6), "count_words")
    (found,) = compared_maps({"count": own, "count_words": other}, alpha=0.05)
    assert np.isnan([found.r, found.r_low, found.r_high]).all()


def test_the_first_token_stands_in_where_there_are_no_special_ones():
    assert sink_of({"count": 0, "first_mass": 0}) == "first_mass"
    assert sink_of({"first_mass": 0, "special_mass": 0}) == "special_mass"
    assert sink_of({"count": 0}) is None


def cube_of(counts, mass):
    dims = ("sequence", "site", "layer", "head")
    n, m = counts.shape
    coords = {"sequence": np.arange(n), "site": ["self"], "layer": [1], "head": np.arange(1, m + 1), "threshold": [0.9]}
    return xr.Dataset(
        {
            "mean_count": ((*dims, "threshold"), counts[:, None, None, :, None]),
            "mean_special_mass": (dims, mass[:, None, None, :]),
        },
        coords=coords,
    )


def test_the_effect_with_the_sink_held_is_that_of_a_regression_on_the_heads_own_mass():
    rng = np.random.default_rng(1)
    condition = np.arange(60) < 25
    mass = rng.uniform(size=(60, 4)) + 0.3 * condition[:, None]
    counts = 9 - 4 * mass + rng.normal(size=(60, 4))
    contrast = SimpleNamespace(condition=condition, pair=None, predictor=None, values=lambda means: means)
    held = effects_with_sink_held(cube_of(counts, mass), contrast, Options(measure="count"), "special_mass")
    for j in range(4):
        row = adjustment_table(counts[:, [j]], condition, pd.DataFrame({"mass": mass[:, j]})).iloc[0]
        assert held["estimate_held"].iloc[j] == pytest.approx(row["difference_adjusted"], rel=1e-9)
        assert held["p_held"].iloc[j] == pytest.approx(row["p_adjusted"], rel=1e-7)
    assert (held["held"] == "special_mass").all()
    assert (held["p_held_fdr"] >= held["p_held"]).all()


def test_a_mass_that_tells_the_conditions_apart_leaves_no_p_and_does_not_spoil_the_others():
    rng = np.random.default_rng(2)
    condition = np.arange(40) < 20
    mass = rng.uniform(size=(40, 3))
    mass[:, 1] = condition
    contrast = SimpleNamespace(condition=condition, pair=None, predictor=None, values=lambda means: means)
    held = effects_with_sink_held(
        cube_of(rng.normal(size=(40, 3)), mass), contrast, Options(measure="count"), "special_mass"
    )
    assert np.isnan(held["p_held_fdr"].iloc[1])
    assert np.isfinite(held["p_held_fdr"].iloc[[0, 2]]).all()


def test_the_share_of_learned_sinks_is_the_mean_of_each_side():
    """A site has one layer less; sequences of neither side are left out."""
    mass = np.random.default_rng(0).uniform(size=(5, 2, 2, 3))
    mass[:, 1, 1] = np.nan
    cube = xr.Dataset({"mean_sink_mass": (("sequence", "site", "layer", "head"), mass)})
    sides = np.array([0, 1, -1, 0, 1])
    means = [np.nanmean(mass[index]) for index in range(5)]
    assert learned_sink_shares(cube, sides) == pytest.approx(((means[0] + means[3]) / 2, (means[1] + means[4]) / 2))
    assert learned_sink_shares(cube.drop_vars("mean_sink_mass"), sides) is None
