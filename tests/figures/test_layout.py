"""No figure, at any size of model, has a text that is tiny, cut off, or written over another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from metastable import figures

LEAST_POINTS = 7.4
SHAPES = ((6, 12), (12, 12), (24, 16), (48, 25), (1, 12), (12, 1), (2, 40))
SHORT = ("concrete", "abstract")
LONG = ("TVQA questions whose answer is rated above 0.95", "TVQA questions whose answer is rated below 0.3")


@pytest.fixture
def written(monkeypatch) -> Callable[[Figure], list[tuple[str, float, np.ndarray]]]:
    """Draw a figure and return what was written, how large, and where, in inches."""

    def record(figure: Figure) -> list[tuple[str, float, np.ndarray]]:
        found = []
        draw = Text.draw

        def listen(self, renderer, *args, **kwargs):
            draw(self, renderer, *args, **kwargs)
            if self.get_visible() and self.get_text().strip():
                box = Text.get_window_extent(self, renderer).get_points() / figure.dpi
                found.append((self.get_text(), self.get_fontsize(), box))

        with monkeypatch.context() as patch:
            patch.setattr(Text, "draw", listen)
            FigureCanvasAgg(figure).draw()
        return found

    return record


def overlaps(texts) -> list[tuple[str, str]]:
    # a text's box holds room for ascenders that its letters may not use: 0.015 inch (1.5 px) is let pass
    low = np.array([box[0] for _, _, box in texts]) + 0.015
    high = np.array([box[1] for _, _, box in texts]) - 0.015
    both = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    pairs = np.argwhere(np.triu((both > 0).all(axis=-1), 1))
    return [(texts[i][0], texts[j][0]) for i, j in pairs]


def assert_readable(figure: Figure, texts) -> None:
    assert texts
    small = [(text, size) for text, size, _ in texts if size < LEAST_POINTS]
    assert not small
    page = figure.get_size_inches()
    cut = [text for text, _, box in texts if (box[0] < -0.01).any() or (box[1] > page + 0.01).any()]
    assert not cut
    assert overlaps(texts) == []
    assert page[0] == pytest.approx(8.3)


@pytest.mark.parametrize(
    ("shape", "conditions"),
    [*((shape, SHORT) for shape in SHAPES), ((6, 12), LONG), ((12, 1), LONG)],
)
@pytest.mark.parametrize(
    "name", ["heatmap", "difference_map", "significance_mask", "summary_figure", "layer_plot", "effect_maps"]
)
def test_maps_are_readable(name, shape, conditions, heads, layers, written):
    table = heads(*shape)
    if name == "layer_plot":
        figure = figures.layer_plot(table, layers(table), conditions=conditions)
    elif name == "effect_maps":
        others = (heads(*shape, seed=1), heads(*shape, seed=2))
        figure = figures.effect_maps(
            dict(zip((*conditions, "interaction"), (table, *others), strict=True)), value="difference"
        )
    else:
        figure = getattr(figures, name)(table, conditions=conditions)
    assert_readable(figure, written(figure))


@pytest.mark.parametrize(
    ("shape", "n"), [((6, 12), 20), ((48, 25), 20), ((24, 16), 512), ((1, 12), 512), ((12, 1), 20)]
)
def test_violins_are_readable(shape, n, histograms, written):
    figure = figures.violin_grid(histograms(*shape, n=n), condition=LONG[0])
    assert_readable(figure, written(figure))


@pytest.mark.parametrize(
    ("shape", "conditions"), [((6, 12), SHORT), ((24, 16), SHORT), ((13, 25), SHORT), ((1, 12), LONG), ((6, 12), LONG)]
)
def test_pairs_of_violins_are_readable(shape, conditions, histograms, written):
    figure = figures.violin_pair(histograms(*shape), histograms(*shape, shift=0.5), conditions=conditions)
    assert_readable(figure, written(figure))


@pytest.mark.parametrize(
    ("shape", "n", "conditions", "usual"),
    [((6, 12), 20, LONG, None), ((12, 12), 512, SHORT, None), ((24, 16), 100, SHORT, 300.0), ((1, 12), 100, LONG, 14.0),
     ((13, 25), 20, SHORT, None), ((2, 40), 2048, SHORT, None), ((12, 1), 20, SHORT, None)],
)  # fmt: skip
def test_sorted_violins_and_shares_are_readable(shape, n, conditions, usual, histograms, written):
    pair = histograms(*shape, n=n), histograms(*shape, n=n, shift=0.5)
    for draw in (figures.mode_pair, figures.violin_pair):
        figure = draw(*pair, conditions=conditions, usual_keys=usual)
        assert_readable(figure, written(figure))


UNBROKEN = (
    "abstractness_of_the_answers_of_tvqa_read_by_bert_large_uncased",
    "org/a-model-with-a-name-that-does-not-end",
)


@pytest.mark.parametrize(
    ("shape", "names"), [((6, 12), LONG), ((24, 16), UNBROKEN), ((48, 25), SHORT), ((1, 12), UNBROKEN)]
)
def test_two_studies_are_readable(shape, names, joined, effects, written):
    table, long = joined(*shape), effects(shape, shape)
    long["series"] = long["series"].map(dict(zip(long["series"].unique(), names, strict=True)))
    for figure in (
        figures.joined_effect_maps(table, names=names),
        figures.effect_profiles(long),
        figures.effect_profiles(long, relative=True),
        figures.effect_shares(long),
        figures.study_scatter(
            *(long[long["series"] == name].drop(columns="series") for name in names), value="size", names=names, p=0.03
        ),
    ):
        assert_readable(figure, written(figure))


def sweep(heads) -> pd.DataFrame:
    models = ["sentence-transformers/all-MiniLM-L6-v2", "bert-base-uncased", "albert/albert-base-v2", "roberta-base"]
    return pd.concat([heads(6, 12, seed=i).assign(model=name) for i, name in enumerate(models)], ignore_index=True)


def settings(heads) -> pd.DataFrame:
    """Return a sweep of 24 settings, six of each model."""
    return pd.concat([sweep(heads).assign(part=part) for part in range(6)]).assign(
        setting=lambda t: t.groupby(["model", "part"]).ngroup()
    )


def test_charts_are_readable(heads, balance, calibration, power, thresholds, packings, written):
    table, other = heads(12, 12), heads(12, 12, effect=0.1, seed=3)
    rating = np.linspace(1, 5, 90)
    for figure in (
        figures.p_value_histogram(table),
        figures.balance_plot(balance(), names={"zipf": "how frequent its words are (Zipf scale, mean)"}),
        figures.balance_plot(balance(0.05), before=balance()),
        figures.calibration_plot(calibration),
        figures.calibration_plot(calibration.drop(columns="measure")),
        figures.sensitivity_curve(power),
        figures.sensitivity_curve(power.assign(power=0.02)),
        figures.thresholds_plot(thresholds),
        figures.thresholds_plot(table),
        figures.sweep_plot(sweep(heads), "model"),
        figures.sweep_plot(settings(heads), "model"),
        figures.settings_plot(
            settings(heads), [f"a-long-model-name · {n} · 0.9" for n in range(24)], [True, False] * 12
        ),
        figures.packings_plot(packings()),
        figures.packings_plot(packings(12, 24, 16), conditions=("a condition of some length", "another one as long")),
        figures.adjustment_plot(table, other),
        figures.study_scatter(table, other, names=LONG, p=0.03),
        figures.slope_plot(rating, np.outer(rating, [1.0, -1.0]), ["layer 1 head 1", "layer 2 head 3"]),
    ):
        assert_readable(figure, written(figure))


def test_the_check_sees_an_overlap_and_a_text_off_the_page(heads, written):
    figure = figures.heatmap(heads(6, 12))
    figure.axes[0].text(0.5, 0.5, "over the first cell", ha="center", va="center")
    assert overlaps(written(figure))
    figure = figures.heatmap(heads(6, 12))
    figure.text(0.98, 0.02, "off the page")
    with pytest.raises(AssertionError, match="off the page"):
        assert_readable(figure, written(figure))


def test_a_covariate_without_spread_stands_at_the_edge(balance):
    table = balance()
    table.loc[:1, "smd"] = [np.inf, -np.inf]
    figure = figures.balance_plot(table, before=table)
    figure.draw_without_rendering()
    written = {text.get_text() for text in figure.axes[0].texts}
    assert {"+∞", "−∞"} <= written
    assert "n tokens +∞" in figures.balance_plot_alt(table)


def test_a_head_with_an_infinite_effect_is_left_out(heads, layers):
    table = heads(2, 4)
    table.loc[:3, "hedges_g"] = np.inf
    for figure in (figures.layer_plot(table, layers(table)), figures.difference_map(table, "hedges_g")):
        figure.draw_without_rendering()
    assert "nan" not in figures.layer_plot_alt(table, layers(table))
    assert "inf" not in figures.difference_map_alt(table, "hedges_g")
