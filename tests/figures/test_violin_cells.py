"""Where the violins, their quartiles and their axis stand, and that the paper's figure is sorted."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection

from metastable import figures
from metastable.errors import InputError
from metastable.heads.modes import median_counts


def drawn(axes):
    lines = [c.get_segments() for c in axes.collections if isinstance(c, LineCollection)]
    quarters, medians = lines
    violins = [c for c in axes.collections if isinstance(c, PolyCollection)][-1].get_paths()
    return violins, quarters, medians


def test_the_axis_runs_from_0_to_n_and_the_lines_are_the_quartiles():
    histogram = np.zeros((1, 2, 21), dtype=np.int64)
    histogram[0, 0, [4, 8, 12]] = [25, 50, 26]  # quartiles 4 to 8, median 8
    histogram[0, 1, [0, 20]] = [99, 7]  # position 0 is no count
    axes = figures.violin_grid(histogram, n=20).axes[0]
    violins, quarters, medians = drawn(axes)
    edges = {text.get_text(): text.xy[0] for text in axes.texts[::-1] if hasattr(text, "xy")}
    zero, end = edges["0"], edges["20"]
    place = lambda x: 20 * (x - zero) / (end - zero)  # noqa: E731
    assert place(medians[0][0, 0]) == pytest.approx(8)
    found = np.quantile(np.repeat([4, 8, 12], [25, 50, 26]), [0.25, 0.75])
    assert [place(line[0, 0]) for line in quarters[:2]] == pytest.approx(found)
    assert place(medians[1][0, 0] - 1) == pytest.approx(20)
    # no violin leaves its axis
    x = violins[1].vertices[:, 0] - 1
    assert place(x.max()) <= 20 + 1e-9


def test_the_heads_of_each_layer_are_sorted_and_keep_their_numbers(histograms):
    table = histograms(3, 12)
    axes = figures.mode_pair(table, table).axes[0]
    medians = median_counts(table)
    written = [text for text in axes.texts if not hasattr(text, "xy")]
    for layer in range(3):
        mine = sorted(
            (t for t in written if layer < t.get_position()[1] < layer + 1), key=lambda t: t.get_position()[0]
        )
        heads = [int(t.get_text()[1:]) for t in mine if t.get_text().startswith("h")]
        numbers = [float(t.get_text()) for t in mine if not t.get_text().startswith("h")]
        assert sorted(heads) == list(range(1, 13))
        assert numbers == sorted(medians[layer].tolist())
        assert [medians[layer, head - 1] for head in heads] == numbers


def test_percents_end_at_100_and_quartiles_are_of_every_head(histograms):
    with pytest.raises(InputError, match="end at n = 100; this has n = 20"):
        figures.violin_grid(histograms(2, 2), usual_keys=14)
    with pytest.raises(InputError, match=r"quartiles must have the shape \(2, 2, 3\)"):
        figures.violin_grid(histograms(2, 2), quartiles=np.zeros((2, 3, 3)))


def test_exact_quartiles_take_the_place_of_those_of_rounded_shares(histograms):
    table = histograms(1, 2, n=100)
    exact = np.array([[[10.2, 12.5, 20.0], [30.0, 50.0001, 60.0]]])
    assert "12.5" not in figures.violin_grid_alt(table, usual_keys=14)
    text = figures.mode_pair_alt(table, table, quartiles=(exact, exact), usual_keys=14)
    # an eighth is not above an eighth; just above a half is above it
    assert "1 in I (very many), 0 in II (many), 1 in III (some)" in text
