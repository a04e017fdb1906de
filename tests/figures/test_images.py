"""Every figure on fixed data, pixel by pixel.

Compared by pytest-mpl under ``--mpl``. A change that is meant is drawn anew by
``pytest tests/figures/test_images.py --mpl-generate-path=tests/figures/baseline`` and looked at in review.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metastable import figures

# 500 px wide. One head more or less significant moves the root mean square by 1.2 or more in every map.
image = pytest.mark.mpl_image_compare(
    baseline_dir="baseline",
    savefig_kwargs={"dpi": 60, "pil_kwargs": {"optimize": True}},
    style="default",
    tolerance=1,
)
SIZES = pytest.mark.parametrize(("n_layers", "n_heads"), [(6, 12), (1, 12)], ids=["6x12", "1x12"])
ALSO_LARGE = pytest.mark.parametrize(
    ("n_layers", "n_heads"), [(6, 12), (24, 16), (1, 12)], ids=["6x12", "24x16", "1x12"]
)


@image
@SIZES
def test_heatmap(n_layers, n_heads, heads):
    return figures.heatmap(heads(n_layers, n_heads))


@image
@ALSO_LARGE
def test_difference_map(n_layers, n_heads, heads):
    return figures.difference_map(heads(n_layers, n_heads))


@image
@SIZES
def test_significance_mask(n_layers, n_heads, heads):
    return figures.significance_mask(heads(n_layers, n_heads))


@image
@ALSO_LARGE
def test_summary_figure(n_layers, n_heads, heads):
    return figures.summary_figure(heads(n_layers, n_heads))


@image
@SIZES
def test_layer_plot(n_layers, n_heads, heads, layers):
    return figures.layer_plot(heads(n_layers, n_heads), layers(heads(n_layers, n_heads)))


@image
@SIZES
def test_violin_grid(n_layers, n_heads, histograms):
    return figures.violin_grid(histograms(n_layers, n_heads), condition="concrete")


@image
def test_violin_pair(histograms):
    return figures.violin_pair(histograms(6, 12), histograms(6, 12, shift=0.5), conditions=("concrete", "abstract"))


@image
def test_violin_pair_stacked(histograms):
    return figures.violin_pair(histograms(2, 25), histograms(2, 25, shift=0.5), conditions=("concrete", "abstract"))


@image
def test_violin_pair_of_shares(histograms):
    pair = histograms(3, 12, n=100), histograms(3, 12, n=100, shift=3)
    return figures.violin_pair(*pair, conditions=("concrete", "abstract"), usual_keys=14)


@image
def test_mode_pair(histograms):
    return figures.mode_pair(histograms(6, 12), histograms(6, 12, shift=0.5), conditions=("concrete", "abstract"))


@image
def test_mode_pair_at_512(histograms):
    narrow = histograms(4, 16, n=512) // 2
    narrow[0, ::3, :9] += 900
    return figures.mode_pair(narrow, histograms(4, 16, n=512, shift=40), conditions=("first", "second"))


@image
def test_settings_plot(heads):
    every = pd.concat([heads(6, 12, seed=n, effect=0.2 * n).assign(setting=n) for n in range(4)], ignore_index=True)
    labels = ["300 · 0.5", "300 · 0.9", "600 · 0.5", "600 · 0.9"]
    return figures.settings_plot(every, labels, [False, True, True, True], title="k · threshold")


@image
def test_effect_maps(heads):
    tables = {"question": heads(6, 12), "pool": heads(6, 12, seed=1), "interaction": heads(6, 12, seed=2, effect=0)}
    return figures.effect_maps(tables, value="difference")


@image
def test_condition_maps(heads):
    table = heads(6, 12)
    means = {"mean_few": table["mean_a"], "mean_some": table["mean_b"], "mean_many": table["mean_b"] + 1}
    return figures.condition_maps(table.assign(**means), ["few", "some", "many"])


@image
def test_packings_plot(packings):
    return figures.packings_plot(packings())


@image
def test_p_value_histogram(heads):
    return figures.p_value_histogram(heads(12, 12))


@image
def test_balance_plot(balance):
    return figures.balance_plot(balance())


@image
def test_balance_plot_before_and_after(balance):
    return figures.balance_plot(balance(0.05), before=balance())


@image
def test_calibration_plot(calibration):
    return figures.calibration_plot(calibration)


@image
def test_sensitivity_curve(power):
    return figures.sensitivity_curve(power)


@image
def test_power_curve(power):
    sizes = power.assign(n=(20 + 400 * power["effect"]).round())
    return figures.power_curve(sizes, unit="pairs")


@image
def test_thresholds_plot(thresholds):
    return figures.thresholds_plot(thresholds)


@image
def test_sweep_plot(heads):
    parts = [heads(6, 12, seed=i).assign(model=name) for i, name in enumerate(("bert", "albert", "roberta"))]
    return figures.sweep_plot(pd.concat(parts), "model")


@image
def test_adjustment_plot(heads):
    return figures.adjustment_plot(heads(12, 12), heads(12, 12, effect=0.1))


@image
def test_study_scatter(heads):
    return figures.study_scatter(heads(6, 12), heads(6, 12, seed=1), names=("raw", "matched"), p=0.03)


@image
@pytest.mark.parametrize(("n_layers", "n_heads"), [(6, 12), (24, 16)], ids=["6x12", "24x16"])
def test_joined_effect_maps(n_layers, n_heads, joined):
    return figures.joined_effect_maps(joined(n_layers, n_heads), names=("raw", "matched"), effect="Hedges' g")


@image
def test_effect_profiles(effects):
    return figures.effect_profiles(effects((6, 12), (6, 12)), effect="Hedges' g")


@image
def test_effect_profiles_of_other_depths(effects):
    return figures.effect_profiles(effects((6, 12), (12, 4)), relative=True, effect="Hedges' g")


@image
def test_effect_shares(effects):
    return figures.effect_shares(effects((6, 12), (12, 4)), effect="Hedges' g")


@image
def test_slope_plot():
    rng = np.random.default_rng(0)
    rating = rng.uniform(1, 5, 200)
    values = 5 + np.outer(rating, [0.3, -0.2, 0.0, 0.5]) + rng.normal(0, 1, (200, 4))
    return figures.slope_plot(
        rating,
        values,
        [f"layer {i} head {i + 2}" for i in (1, 2, 3, 5)],
        predictor_label="concreteness rating",
        measure="count",
    )


@image
def test_summary_figure_of_slopes(slopes):
    return figures.summary_figure(slopes(6, 12), conditions=("upper half", "lower half"))


@image
def test_layer_plot_of_slopes(slopes, layers):
    table = slopes(6, 12)
    return figures.layer_plot(table, layers(table))


@image
def test_stability_map(stability):
    return figures.stability_map(stability, which="count, self")


@image
def test_forest_plot(many_models):
    models, means, _ = many_models
    return figures.forest_plot(models, means)


@image
def test_depth_bands(many_models):
    _, means, profiles = many_models
    return figures.depth_bands(profiles, means)


@image
def test_sorted_maps(ranked):
    return figures.sorted_maps(ranked)


@image
def test_training_curves(trainings):
    return figures.training_curves(trainings)


def test_every_figure_has_an_image():
    drawn = {path.stem.removeprefix("test_") for path in Path(__file__).with_name("baseline").glob("*.png")}
    for name in figures.__all__:
        if not name.endswith("_alt") and name != "save_figure":
            assert any(image.startswith(name) for image in drawn), name
