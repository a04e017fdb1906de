from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Annotation

from metastable import figures
from metastable.errors import InputError
from metastable.figures.grid import ticks
from metastable.figures.head_tables import head_matrix, layer_numbers, select_heads, shared_limits, symmetric_limits


def test_layer_one_is_the_first_row_and_missing_heads_are_nan():
    table = pd.DataFrame({"layer": [2, 1, 2], "head": [1, 1, 3], "x": [21.0, 11.0, 23.0]})
    np.testing.assert_array_equal(head_matrix(table, "x"), [[11, np.nan, np.nan], [21, np.nan, 23]])


def test_rows_are_the_layers_that_have_attention(heads):
    """Of a hybrid model only some layers have; each is drawn under its own number."""
    table = heads(3, 4)
    table["layer"] *= 4
    table["mean_a"] = table["layer"].astype(float)
    assert layer_numbers(table) == (4, 8, 12)
    np.testing.assert_array_equal(head_matrix(table, "mean_a"), np.repeat([[4.0], [8.0], [12.0]], 4, axis=1))
    maps = [
        figures.heatmap(table),
        figures.difference_map(table),
        figures.significance_mask(table),
        figures.summary_figure(table),
        figures.layer_plot(table),
        figures.effect_maps({"one": table, "two": table}),
        figures.violin_grid(np.ones((3, 4, 6), dtype=int), layers=(4, 8, 12)),
        figures.violin_pair(*np.ones((2, 3, 4, 6), dtype=int), layers=(4, 8, 12)),
        figures.mode_pair(*np.ones((2, 3, 4, 6), dtype=int), layers=(4, 8, 12)),
    ]
    for figure in maps:
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert labels in (["4", "8", "12"], ["4", "12"])  # every other one where they would touch
    dots = np.concatenate([points.get_offsets()[:, 1] for points in maps[4].axes[0].collections])
    assert set(np.round(dots)) == {1, 2, 3}
    with pytest.raises(InputError, match="layers names 2 layers and the histograms hold 3"):
        figures.violin_grid(np.ones((3, 4, 6), dtype=int), layers=(4, 8))
    with pytest.raises(InputError, match="the same layers"):
        figures.effect_maps({"one": table, "two": heads(3, 4)})


def test_layer_one_is_drawn_at_the_bottom(heads):
    table = heads(4, 3)
    table["mean_a"] = table["layer"].astype(float)
    axes = figures.heatmap(table).axes[0]
    assert axes.get_ylim() == (0, 4)
    numbers = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert numbers == {"1.0": 0.5, "2.0": 1.5, "3.0": 2.5, "4.0": 3.5}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2", "3", "4"]


def test_both_conditions_share_their_limits(heads):
    table = heads(6, 12)
    both = [figures.heatmap(table, value).axes[0].collections[0].get_clim() for value in ("mean_a", "mean_b")]
    pair = [axes.collections[0].get_clim() for axes in figures.summary_figure(table).axes[:2]]
    means = table[["mean_a", "mean_b"]].to_numpy()
    assert {*both, *pair} == {(means.min(), means.max())}


def test_differences_are_centred_at_zero(heads):
    table = heads(6, 12, effect=3.0)
    low, high = figures.difference_map(table).axes[0].collections[0].get_clim()
    assert low == -high
    assert high == table["difference"].abs().max()


def test_exactly_the_significant_heads_are_outlined(heads):
    table = heads(6, 12)
    outlines = figures.difference_map(table, alpha=0.01).axes[0].collections[1]
    cells = {
        (int(path.vertices[:, 1].mean() + 1), int(path.vertices[:, 0].mean() + 1)) for path in outlines.get_paths()
    }
    found = table[table["p_perm_fdr"] < 0.01]
    assert cells == set(zip(found["layer"], found["head"], strict=True))
    assert 0 < len(cells) < len(table)


def test_verdicts_are_told_by_hatching_too(heads):
    table = heads(12, 12)
    states = {
        c.get_hatch(): len(c.get_paths()) for c in figures.significance_mask(table).axes[0].collections if c.get_hatch()
    }
    found = table["p_perm_fdr"] < 0.05
    assert sorted(states.values()) == sorted(
        [
            int((found & (table["difference"] > 0)).sum()),
            int((found & (table["difference"] < 0)).sum()),
            int((table["verdict"] == "equivalent").sum()),
        ]
    )


def test_several_sites_or_thresholds_must_be_chosen_from(heads, thresholds):
    with pytest.raises(InputError, match="choose one by threshold="):
        figures.heatmap(thresholds)
    assert len(select_heads(thresholds, threshold=0.9)) == 72
    sites = pd.concat([heads(2, 2), heads(2, 2).assign(site="cross")])
    with pytest.raises(InputError, match=r"self, cross.*site="):
        figures.difference_map(sites)
    with pytest.raises(InputError, match="no site 'vision'"):
        figures.difference_map(sites, site="vision")
    assert len(select_heads(sites, site="cross")) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="mean_a"), "lacks the column 'mean_a'"),
        (lambda t: t.iloc[:0], "is empty"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "occurs twice"),
        (lambda t: t.assign(layer=t["layer"] - 1), "count from 1"),
        (lambda t: t.assign(mean_a=np.nan, mean_b=np.nan), "holds no number"),
    ],
)
def test_tables_that_can_not_be_drawn_are_refused(change, message, heads):
    with pytest.raises(InputError, match=message):
        figures.heatmap(change(heads(3, 4)))


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1), (3,)])
def test_histograms_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match="n_layers, n_heads"):
        figures.violin_grid(np.ones(shape, dtype=int))


def test_counts_above_n_are_refused(histograms):
    with pytest.raises(InputError, match="above n = 10"):
        figures.violin_grid(histograms(2, 2, n=20), n=10)


def test_pairs_must_hold_the_same_heads(histograms, heads):
    with pytest.raises(InputError, match="same of both"):
        figures.violin_pair(histograms(2, 2), histograms(2, 3))
    with pytest.raises(InputError, match="same layers and heads"):
        figures.effect_maps({"x": heads(2, 2), "y": heads(2, 3)})
    with pytest.raises(InputError, match="share no head"):
        figures.study_scatter(heads(2, 2), heads(2, 2, threshold=0.5))


def test_probabilities_outside_their_range_are_refused(heads):
    with pytest.raises(InputError, match=r"probabilities in 0\.\.1"):
        figures.p_value_histogram(heads(2, 2).assign(p_perm=1.5))


def test_slopes_of_another_shape_are_refused():
    with pytest.raises(InputError, match="n_units, n_shown"):
        figures.slope_plot(np.arange(5), np.ones((4, 2)), ["a", "b"])


def test_empty_and_flat_heads_are_drawn(histograms, heads):
    table = histograms(3, 4)
    table[1, 2] = 0
    table[0, 0] = 0
    table[0, 0, 7] = 50
    axes = figures.violin_grid(table).axes[0]
    numbers = [text.get_text() for text in axes.texts if not isinstance(text, Annotation)]  # the axis has annotations
    assert len(numbers) == 11
    assert numbers[0] == "7"
    flat = heads(3, 4).assign(difference=0.0, hedges_g=0.0, p_perm=1.0, p_perm_fdr=1.0, mean_a=1.0, mean_b=1.0)
    for figure in (figures.summary_figure(flat), figures.layer_plot(flat), figures.study_scatter(flat, flat)):
        figure.draw_without_rendering()


def test_limits_of_equal_values_still_span_a_scale():
    assert shared_limits(pd.DataFrame({"x": [2.0, 2.0]}), ["x"]) == (1.5, 2.5)
    assert symmetric_limits(np.zeros((2, 2))) == (-1.0, 1.0)


@given(st.integers(1, 100), st.floats(0.03, 0.7), st.floats(0.1, 0.3))
def test_ticks_leave_room_for_their_labels(n, cell, label):
    shown = ticks(n, cell, label)
    assert shown[0] == 1
    assert all(1 <= tick <= n for tick in shown)
    assert all((b - a) * cell >= label for a, b in pairwise(shown))
