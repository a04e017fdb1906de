"""Alt text states the finding: its numbers are those of the data."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from metastable import figures
from metastable.errors import InputError
from metastable.heads.modes import founding_bands, median_counts, operating_modes

DRAWN = sorted(name for name in figures.__all__ if not name.endswith("_alt") and name != "save_figure")


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_has_an_alt_text_for_the_same_data(name):
    figure = inspect.signature(getattr(figures, name)).parameters
    alt = inspect.signature(getattr(figures, f"{name}_alt")).parameters
    only_looks = {"limits", "title", "bins", "effect_label"}
    assert set(figure) - set(alt) <= only_looks
    assert set(alt) <= set(figure)


@pytest.fixture
def three() -> pd.DataFrame:
    """Three heads: concrete more, abstract more, equivalent."""
    table = pd.DataFrame(
        {
            "site": "self",
            "layer": [1, 1, 2],
            "head": [1, 2, 2],
            "threshold": 0.9,
            "measure": "count",
            "mean_a": [5.0, 3.0, 4.0],
            "mean_b": [4.0, 5.5, 4.0],
            "difference": [1.0, -2.5, 0.0],
            "hedges_g": [0.4, -0.9, 0.0],
            "p_perm": [0.001, 0.0001, 0.9],
            "p_perm_fdr": [0.002, 0.0003, 0.9],
            "verdict": ["different", "different", "equivalent"],
        }
    )
    table.attrs["conditions"] = ["concrete", "abstract"]
    return table


def test_heatmap(three):
    assert figures.heatmap_alt(three, "mean_b") == (
        "Heatmap of the mean count for abstract, 2 layers by 2 heads: from 4.0 (layer 1 head 1) to 5.5 "
        "(layer 1 head 2), on average 4.5."
    )


def test_difference_map(three):
    assert figures.difference_map_alt(three, conditions=("cats", "dogs")) == (
        "Map of the difference in mean count, cats minus dogs: positive in 1 and negative in 1 of 3 heads; 2 "
        "significant after FDR correction at .05. The largest is −2.50 in layer 1 head 2."
    )


def test_significance_mask(three):
    assert figures.significance_mask_alt(three) == (
        "Of 3 heads, 2 differ after FDR correction at .05: 1 more in concrete, 1 more in abstract. Of the others "
        "1 are equivalent and 0 undecided. They lie in 1 of 2 layers."
    )


def test_summary_figure(three):
    assert figures.summary_figure_alt(three).startswith(
        "Mean count per head: concrete 4.00 and abstract 4.50 on average. Of 3 heads, 2 differ"
    )


def test_the_alt_texts_of_slopes_speak_of_slopes(three):
    slopes = three.rename(columns={"difference": "slope", "hedges_g": "partial_d"})
    texts = [
        figures.summary_figure_alt(slopes),
        figures.significance_mask_alt(slopes),
        figures.difference_map_alt(slopes),
        figures.layer_plot_alt(slopes),
        figures.thresholds_plot_alt(slopes),
        figures.sweep_plot_alt(slopes, "threshold"),
        figures.settings_plot_alt(slopes.assign(setting=1), ["one"], [True]),
    ]
    assert "2 have a slope after FDR correction at .05: 1 rising, 1 falling" in texts[0]
    assert texts[0].endswith(texts[1])
    assert texts[2].startswith("Map of the slope of the mean count: positive in 1")
    for text in texts:
        assert "slope" in text or "rising" in text
        assert "more in" not in text
        assert "minus" not in text
        assert "Hedges" not in text


def test_names_of_conditions_come_from_the_table_or_are_letters(three, tmp_path):
    three.attrs["conditions"] = ["questions", "statements"]
    three.to_csv(tmp_path / "heads.csv", index=False)
    three.to_parquet(tmp_path / "heads.parquet")
    named, bare = pd.read_parquet(tmp_path / "heads.parquet"), pd.read_csv(tmp_path / "heads.csv")
    shown = {
        "summary_figure": {}, "difference_map": {}, "significance_mask": {}, "layer_plot": {}, "thresholds_plot": {},
        "heatmap": {"value": "mean_b"}, "sweep_plot": {"axis": "threshold"},
    }  # fmt: skip
    for name, options in shown.items():
        figure = getattr(figures, name)
        assert "statements" in figure.alt(named, **options), name
        assert "cats" in figure.alt(named, conditions=("dogs", "cats"), **options), name
        text = figure.alt(bare, **options)
        assert re.search(r"\bb\b", text), name
        assert "abstract" not in text
        written = [text.get_text() for text in figure(bare, **options).findobj(Text)]
        assert not [text for text in written if "concrete" in text or "abstract" in text], name


def test_no_figure_has_a_default_name_of_a_condition():
    for name in DRAWN:
        for parameter in inspect.signature(getattr(figures, name)).parameters.values():
            assert not re.search("concrete|abstract", str(parameter.default)), (name, parameter)


def test_several_measures_must_be_chosen_from(three):
    both = pd.concat([three, three.assign(measure="special_mass", mean_a=[0.1, 0.2, 0.3], mean_b=[0.2, 0.2, 0.2])])
    for name in ("summary_figure", "difference_map", "significance_mask", "layer_plot", "heatmap", "thresholds_plot"):
        with pytest.raises(InputError, match=r"several of measure \(count, special_mass\); choose one by measure="):
            getattr(figures, name)(both)
    assert "mean special mass" in figures.difference_map_alt(both, measure="special_mass")


@pytest.mark.parametrize("measure", ["special_mass", "effective_number"])
def test_measures_are_called_by_names_and_not_by_identifiers(three, measure):
    for alt in (figures.summary_figure_alt, figures.heatmap_alt, figures.difference_map_alt):
        text = alt(three.assign(measure=measure))
        assert measure.replace("_", " ") in text
        assert "_" not in text
    assert measure not in figures.adjustment_plot_alt(three.assign(measure=measure), three.assign(measure=measure))


def test_small_shares_keep_the_digits_that_tell_them_apart(three):
    shares = three.assign(measure="special_mass", difference=three["difference"] / 500, mean_a=three["mean_a"] / 500)
    assert "The largest is −0.005" in figures.difference_map_alt(shares)
    assert "from 0.006 (layer 1 head 2) to 0.010" in figures.heatmap_alt(shares)


def test_layer_plot(three):
    layers = pd.DataFrame(
        {"site": "self", "layer": [1, 2], "threshold": 0.9, "measure": "count", "p_sum_squares": [0.001, 0.9]}
    )
    assert figures.layer_plot_alt(three, layers) == (
        "Hedges' g (concrete minus abstract) by layer: the layers' means run from −0.25 (layer 1) to 0.00 (layer 2). "
        "The omnibus test finds a difference in 1 of 2 layers at .05."
    )


def test_violins_count_the_bands(histograms):
    table, other = histograms(3, 4), histograms(3, 4, shift=2.0)
    bands = [founding_bands(median_counts(h), 20) for h in (table, other)]
    text = figures.violin_grid_alt(table, condition="concrete")
    for number, words in enumerate(("below 20%", "from 20%", "from 40%", "from 60%", "from 80%"), 1):
        assert f"{(bands[0] == number).sum()} {words}" in text
    medians = median_counts(table)
    assert f"Medians run from {medians.min():g} to {medians.max():g} of 20 keys." in text
    changed = int((bands[0] != bands[1]).sum())
    assert changed
    assert f"{changed} of 12 heads change the founding band" in figures.violin_pair_alt(table, other)


def test_the_papers_figure_counts_the_modes(histograms):
    table, other = histograms(3, 4), histograms(3, 4, shift=2.0)
    modes = [operating_modes(median_counts(h), 20) for h in (table, other)]
    text = figures.mode_pair_alt(table, other, conditions=("near", "far"))
    for name, words in (("I", "very many"), ("II", "many"), ("III", "some"), ("IV", "few")):
        assert f"{(modes[0] == name).sum()} in {name} ({words})" in text.split("far: ")[0]
        assert f"{(modes[1] == name).sum()} in {name} ({words})" in text.split("far: ")[1]
    assert f"{(modes[0] != modes[1]).sum()} of 12 heads change operating mode" in text


def test_violins_of_shares_say_so(histograms):
    text = figures.violin_grid_alt(histograms(2, 3, n=100), usual_keys=14)
    assert "% of the keys that a query sees, usually 14." in text


def test_p_value_histogram(three):
    assert figures.p_value_histogram_alt(three) == (
        "Histogram of 3 uncorrected p-values: 2 lie below .05, where no difference in any head would give 0.15."
    )


def test_balance_plot(balance):
    text = figures.balance_plot_alt(balance(0.05), before=balance(), names={"zipf": "Zipf frequency"})
    assert text.startswith("Balance plot: 0 of 4 covariates differ by 0.1 standard deviations or more and by more than")
    assert "Zipf frequency +0.04" in text
    assert text.endswith("4 lie within 0.1; before matching 1 did.")


def test_calibration_plot(calibration):
    text = figures.calibration_plot_alt(calibration)
    assert "token t-test 0.082 (0.065 to 0.099)" in text
    assert text.endswith("1 of 6 rates lie above 0.05 by more than Monte Carlo error.")
    assert "no rate lies above" in figures.calibration_plot_alt(calibration[calibration["rate"] < 0.06])


def test_sensitivity_curve_finds_where_power_reaches_its_target():
    table = pd.DataFrame({"test": ["t", "t", "t", "u"], "effect": [0.0, 0.2, 0.4, 0.4], "power": [0.1, 0.6, 1.0, 0.5]})
    assert figures.sensitivity_curve_alt(table) == (
        "Power over effect size. Tests reach 80% power: t from 0.30; u never."
    )


def test_power_curve_names_the_first_size_that_reaches_its_target():
    table = pd.DataFrame({"test": ["t", "t", "t", "u"], "n": [10, 40, 90, 90], "power": [0.1, 0.6, 0.9, 0.5]})
    assert figures.power_curve_alt(table, unit="pairs") == (
        "Power over the number of pairs. Tests reach 80% power: t from 90; u never."
    )
    assert "t from 71; u never" in figures.power_curve_alt(table, unit="pairs", reached={"t": 71.0, "u": np.nan})


def test_thresholds_and_sweeps(three):
    both = pd.concat([three, three.assign(threshold=0.5, p_perm_fdr=1.0)])
    assert figures.thresholds_plot_alt(both) == (
        "Over thresholds: at 0.5, 0 of 3 heads more in concrete and 0 more in abstract, median Hedges' g 0.00; "
        "at 0.9, 1 of 3 heads more in concrete and 1 more in abstract, median Hedges' g 0.00."
    )
    assert figures.sweep_plot_alt(both, "threshold", name="mass").startswith("Sweep over mass: at 0.5, 0 of 3")


def test_settings_of_a_sweep_stand_one_by_one(three):
    both = pd.concat([three.assign(setting=1, k=300), three.assign(setting=2, k=600, hedges_g=[0.5, 0.6, -0.7])])
    assert figures.settings_plot_alt(both, ["300", "600"], [True, False]) == (
        "2 settings: the omnibus test finds a difference in 1. The median |Hedges' g| over heads runs from 0.40 (300) "
        "to 0.60 (600), the number of significant heads from 2 to 2."
    )
    pooled = pd.concat([both, both.assign(setting=both["setting"] + 2)])
    assert "at 300, 2 of 6 heads, counted in every setting, more in concrete" in figures.sweep_plot_alt(pooled, "k")
    with pytest.raises(ValueError, match="holds 2 settings, but there are 1 labels"):
        figures.settings_plot(both, ["300"], [True, False])


def test_verdicts_over_packings(three):
    one = three.assign(packing="1")
    two = three.assign(packing="2", difference=[1.0, 2.5, 0.0], verdict=["different", "different", "undecided"])
    table = pd.concat([one, two, three.assign(packing="all")], ignore_index=True)
    table.attrs["conditions"] = ["concrete", "abstract"]
    # the second packing calls the second head different in the other direction
    assert figures.packings_plot_alt(table) == (
        "Verdicts on 3 heads in 2 random packings: single packings call 2 heads different, and agree in 1. "
        "Over words 1 more in concrete and 1 more in abstract."
    )
    with pytest.raises(InputError, match="has rows of 1, 2; give those of single packings"):
        figures.packings_plot(table[table["packing"] != "all"])
    with pytest.raises(InputError, match="other heads in one packing than in another"):
        figures.packings_plot(table.drop(index=0))


def test_adjustment_plot(three):
    after = three.assign(difference=[0.5, 0.5, 0.0], p_perm_fdr=[0.2, 0.01, 0.01])
    assert figures.adjustment_plot_alt(three, after) == (
        "Each head's difference in mean count before and after adjustment for covariates, 3 heads: the mean absolute "
        "size goes from 1.17 to 0.33, the sign changes in 1. Significant before and after: 1, before only: 1, after "
        "only: 1."
    )


def test_study_scatter(heads):
    a, b = heads(6, 12), heads(6, 12, seed=1)
    r = np.corrcoef(a["hedges_g"], b["hedges_g"])[0, 1]
    text = figures.study_scatter_alt(a, b, names=("raw", "matched"), p=0.0001)
    assert f"r = {r:.2f}".replace("0.", ".").replace("-", "−") in text
    assert "over 72 heads, p < .001" in text


def test_effect_maps(three):
    tables = {"pool": three, "interaction": three.assign(p_perm_fdr=1.0)}
    assert figures.effect_maps_alt(tables, value="difference") == (
        "Maps of the difference in mean count; significant after FDR correction at .05: pool in 2 of 3 heads (largest "
        "−2.50 in layer 1 head 2); interaction in 0 of 3 heads (largest −2.50 in layer 1 head 2)."
    )


def test_condition_maps(three):
    table = three.assign(mean_few=[1.0, 2.0, 3.0], mean_many=[2.0, 4.0, 6.0])
    assert figures.condition_maps_alt(table, ["few", "many"]) == (
        "Maps of the mean count of every head, one for each condition; on average over heads: few 2.00, many 4.00. The "
        "conditions differ in 2 of 3 heads after FDR correction at .05."
    )
    with pytest.raises(InputError, match="no condition"):
        figures.condition_maps(table, [])
    with pytest.raises(InputError, match="mean_none"):
        figures.condition_maps(table, ["few", "none"])


def test_joined_effect_maps(joined):
    table = joined(6, 12)
    text = figures.joined_effect_maps_alt(table, names=("raw", "matched"))
    for name, value, p in (
        ("raw", "size_first", "p_perm_fdr_first"),
        ("matched", "size_second", "p_perm_fdr_second"),
        ("raw minus matched", "size_difference", "p_difference_fdr"),
    ):
        top = table.loc[table[value].abs().idxmax()]
        sign = "+" if top[value] > 0 else "−"
        assert f"{name} in {(table[p] < 0.05).sum()} of 72 heads (largest {sign}{abs(top[value]):.2f} in layer " in text


def test_effect_profiles_and_shares(effects):
    table = effects((6, 12), (12, 4))
    sizes = table.assign(size=table["size"].abs()).groupby(["series", "layer"])["size"].mean()
    text = figures.effect_profiles_alt(table, relative=True)
    assert "by relative depth" in text
    for name in ("study 1", "study 2"):
        assert f"in {name} from {sizes[name].min():.2f} (layer {sizes[name].idxmin()})" in text
        above = 100 * (table.loc[table["series"] == name, "size"] > 0).mean()
        assert f"{above:.0f}% above zero" in figures.effect_shares_alt(table)


def test_a_series_of_several_sites_has_a_line_for_each(effects):
    table = effects((2, 3), (2, 3))
    table.loc[table["series"] == "study 2", "site"] = np.repeat(["encoder", "cross"], 3)
    figure = figures.effect_profiles(table, relative=True)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "study 1", "study 2, encoder", "study 2, cross",
    ]  # fmt: skip


def test_slope_plot():
    x = np.linspace(1, 5, 20)
    text = figures.slope_plot_alt(x, np.column_stack([3 - 0.25 * x, x]), ["head A", "head B"])
    assert re.findall(r"head (\w) ([+−][\d.]+\d)", text) == [("A", "−0.25"), ("B", "+1.00")]


def test_stability_map(stability):
    always = int((stability["n_different"] == 4).sum())
    never = int((stability["n_different"] == 0).sum())
    assert figures.stability_map_alt(stability, which="count") == (
        "Map of the number of settings in which each head differs (count): "
        f"{always} of 72 ({100 * always / 72:.0f}%) in all 4 settings, "
        f"{never} of 72 ({100 * never / 72:.0f}%) in none."
    )
    with pytest.raises(InputError, match="n_settings"):
        figures.stability_map_alt(stability.drop(columns="n_settings"))


def test_forest_plot(many_models):
    models, means, _ = many_models
    text = figures.forest_plot_alt(models, means)
    assert text.startswith(
        "Forest plot of 5 models, Hedges' g: the size of the typical head runs from 0.04 (untrained bert-base-uncased "
        "1) to 0.62 (bert-base-uncased); the mean of all models is 0.52 [0.42, 0.62], signed +0.10 [0.00, 0.20]"
    )
    assert "mean of bert is 0.57" in text
    assert "mean of albert" not in text


def test_depth_bands(many_models):
    _, means, profiles = many_models
    assert figures.depth_bands_alt(profiles, means) == (
        "Size of the typical head (Hedges' g) by depth, from the input to the output: bert 0.62 [0.52, 0.72], 0.67 "
        "[0.57, 0.77]; albert 0.52, 0.57; untrained 0.07, 0.12."
    )


def test_sorted_maps(ranked):
    text = figures.sorted_maps_alt(ranked)
    low, high = ranked.loc[ranked["model"] == "bert", "g"].agg(["min", "max"])
    assert f"bert {low:+.2f} to {high:+.2f}".replace("-", "−") in text


def test_training_curves(trainings):
    assert figures.training_curves_alt(trainings) == (
        "Size of the typical head (Hedges' g) along training: bert from 0.02 (step0) to 0.50 (main), 4 checkpoints; "
        "albert from 0.05 (step0) to 0.20 (main), 3 checkpoints."
    )
