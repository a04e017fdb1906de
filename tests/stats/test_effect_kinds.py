"""Either effect through the same tables: the same rows and keys, each under its own columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.stats import DIFFERENCE, SLOPE, Settings, analyse, effect_of, hedges_g, mean_difference
from metastable.stats.analysis import join_analyses, primary
from metastable.stats.bootstrap import bootstrap_g, bootstrap_slope
from metastable.stats.correlation import correlation_effect, partial_correlation
from metastable.stats.effect_kinds import EFFECTS, head_columns
from metastable.stats.slope import analyse_slope, fit_slopes

FEATURES = pd.DataFrame({"site": ["self"] * 4 + ["cross"] * 2, "layer": [1, 1, 2, 2, 1, 1], "head": [1, 2, 1, 2, 1, 2]})
RNG = np.random.default_rng(4)
RATING = RNG.uniform(size=80)
UPPER = np.median(RATING) < RATING
VALUES = 5 + np.outer(RATING, [0, 3, 0, -3, 0, 0]) + RNG.normal(size=(80, 6))
RECORDED = pd.DataFrame({"length": RNG.normal(size=80)})


def analysis_of(effect, *, threshold=0.9, measure="count", values=VALUES, alpha=0.05):
    shared = {
        "threshold": threshold,
        "measure": measure,
        "medians": np.zeros((2, 6)),
        "recorded": RECORDED,
        "settings": Settings(n_permutations=199, n_resamples=100, alpha=alpha),
    }
    if effect is DIFFERENCE:
        return analyse(values, UPPER, FEATURES, **shared)
    return analyse_slope(values, RATING, FEATURES, condition=UPPER, **shared)


both = pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.name)


@both
def test_the_tables_have_the_columns_of_their_effect_and_no_others(effect):
    found = analysis_of(effect)
    (other,) = [one for one in EFFECTS if one is not effect]
    assert found.effect is effect
    assert tuple(found.heads.columns) == head_columns(effect)
    of_other = {other.estimate, other.size, other.size_low, other.size_high, other.mean_size}
    for table in (found.heads, found.details, found.layers, found.omnibus):
        assert effect_of(table) is effect
        columns = table.columns.tolist()
        assert columns[columns.index("threshold") + 1] == "measure"
        assert not [name for name in columns if name in of_other or name.startswith(f"{other.estimate}_")]
    assert {effect.size_low, effect.size_high, f"{effect.estimate}_adjusted"} <= set(found.details.columns)
    assert {effect.estimate, effect.mean_size} <= set(found.layers.columns)


@both
def test_the_columns_hold_what_their_names_say(effect):
    found = analysis_of(effect)
    if effect is DIFFERENCE:
        estimate, size = mean_difference(VALUES, UPPER), hedges_g(VALUES, UPPER)
        limits = bootstrap_g(VALUES, UPPER, n_resamples=100, rng=20)
    else:
        estimate, size = fit_slopes(VALUES, RATING), correlation_effect(partial_correlation(VALUES, RATING))
        limits = bootstrap_slope(VALUES, RATING, n_resamples=100, rng=20)
    np.testing.assert_array_equal(found.heads[effect.estimate], estimate.estimate)
    np.testing.assert_array_equal(found.heads["ci_low"], estimate.low)
    np.testing.assert_array_equal(found.heads[effect.size], size.estimate)
    np.testing.assert_array_equal(found.details[effect.size_low], limits.low)
    np.testing.assert_array_equal(found.details[effect.size_high], limits.high)
    layer = found.layers.set_index(["site", "layer"]).loc[("self", 2)]
    assert layer[effect.mean_size] == pytest.approx(np.abs(size.estimate[2:4]).mean())
    assert layer[effect.estimate] == pytest.approx(estimate.estimate[2:4].mean())


@both
@pytest.mark.parametrize("alpha", [0.05, 0.4])
def test_features_below_alpha_are_counted_below_the_alpha_given(effect, alpha):
    found = analysis_of(effect, alpha=alpha)
    number = found.omnibus.set_index("site")["n_below_alpha"]
    below = found.heads["p_perm"] < alpha
    assert number["self"] == below[found.heads["site"] == "self"].sum()
    assert number["all"] == below.sum() > 1
    assert (found.heads["p_perm"] < 0.4).sum() > (found.heads["p_perm"] < 0.05).sum()


@both
def test_the_primary_rows_are_those_of_the_first_measure_at_its_first_threshold(effect):
    joined = join_analyses(
        [
            analysis_of(effect),
            analysis_of(effect, threshold=0.5),
            analysis_of(effect, measure="share", values=VALUES / 20),
        ]
    )
    assert joined.effect is effect
    keys = ["site", "layer", "head", "threshold", "measure"]
    assert not joined.heads.duplicated(keys).any()
    for name in ("heads", "details", "layers", "omnibus"):
        rows = primary(getattr(joined, name))
        pd.testing.assert_frame_equal(rows, getattr(analysis_of(effect), name))


@both
def test_the_names_of_the_conditions_travel_with_every_table(effect, tmp_path):
    found = analysis_of(effect).naming(("questions", "statements"))
    for table in (found.heads, found.details, found.layers, found.omnibus):
        assert primary(table).attrs["conditions"] == ["questions", "statements"]
    found.heads.to_parquet(tmp_path / "heads.parquet")
    assert pd.read_parquet(tmp_path / "heads.parquet").attrs["conditions"] == ["questions", "statements"]


def test_a_table_of_no_effect_or_of_several_is_refused():
    with pytest.raises(InputError, match="holds no effect; it has the columns layer, head"):
        effect_of(pd.DataFrame({"layer": [1], "head": [1]}))
    with pytest.raises(InputError, match="holds several effects"):
        effect_of(pd.DataFrame({"slope": [1.0], "hedges_g": [1.0]}))


def test_names_of_conditions_may_hold_any_character():
    assert DIFFERENCE.directions("{a}", "100% {x}") == ("{a} more", "100% {x} more")
    assert SLOPE.between("x", "y") == ""
