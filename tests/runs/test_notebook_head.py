"""One head of a result: its data, the standard tools beside its numbers, and a paragraph for a paper."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats

import metastable
from metastable.errors import InputError

pytestmark = pytest.mark.usefixtures("undrawn_figures")

NEAR = ["apple", "bridge", "candle", "desert", "engine", "forest", "garden", "hammer", "island", "jacket"]
FAR = ["idea", "hope", "truth", "theory", "justice", "reason", "belief", "doubt", "honor", "mercy"]
FRAMES = ("They think that the {} is near", "We spoke of the {} again today", "Nobody knew the {} at all", "A {} stays")


def _text(rng, words, n=4):
    return "the " + " and the ".join(rng.choice(words, n, replace=False))


def _rows(rng, n, **labels):
    return [
        {"condition": name, "text": _text(rng, words, 4 + i % 2), "arousal": rng.normal(), "i": i, **labels}
        for name, words in (("near", NEAR), ("far", FAR))
        for i in range(n)
    ]


def _two(rng):
    return pd.DataFrame(_rows(rng, 12)[:-3]).drop(columns="i")


def _pairs(rng):
    table = pd.DataFrame(_rows(rng, 10))
    return table.assign(pair="p" + table["i"].astype(str)).drop(columns="i")


def _clusters(rng):
    table = pd.concat([pd.DataFrame(_rows(rng, 8)) for _ in range(3)], ignore_index=True)
    return table.assign(cluster=table["condition"] + table["i"].astype(str)).drop(columns=["i", "arousal"])


def _levels(rng):
    rows = [{**row, "level": level, "text": row["text"] + " " * (level == "y") + "indeed" * (level == "y")}
            for level in "xy" for row in _rows(rng, 8)]  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(cluster=table["condition"] + table["i"].astype(str)).drop(columns=["i", "arousal"])


def _levels_within(rng):
    table = _levels(rng)
    return table.assign(pair=table["cluster"].str[-1]).drop(columns="cluster")


def _contexts(rng):
    return pd.DataFrame(
        [
            {"condition": name, "pair": f"i{i}", "context": f"f{k}", "text": frame.format(words[i])}
            for i in range(6)
            for name, words in (("near", NEAR), ("far", FAR))
            for k, frame in enumerate(FRAMES)
        ]
    )


def _lengths_in_contexts(rng):
    table = _contexts(rng)
    return table.assign(length=table["text"].str.len() + rng.normal(size=len(table)))


def _groups_in_contexts(rng):
    """Words of one condition each, so that the model over both has slopes, which statsmodels has not."""
    return (
        _lengths_in_contexts(rng)
        .rename(columns={"pair": "cluster"})
        .assign(cluster=lambda table: table["cluster"] + table["condition"])
    )


def _levels_in_contexts(rng):
    """Words of one condition each, in every sentence, once as it is and once with a word more."""
    table = pd.concat([_contexts(rng).assign(level=level) for level in "xy"], ignore_index=True)
    table["text"] += np.where(table["level"] == "y", " indeed", "")
    table["cluster"] = table["pair"] + table["condition"]
    return table.assign(length=table["text"].str.len() + rng.normal(size=len(table))).drop(columns="pair")


def _rated_in_contexts(rng):
    """Rated words, each in every sentence."""
    rating = dict(zip([*NEAR, *FAR], rng.normal(size=20), strict=True))
    rows = [
        {"cluster": word, "context": f"f{k}", "predictor": rating[word], "text": frame.format(word)}
        for word in rating
        for k, frame in enumerate(FRAMES)
    ]
    table = pd.DataFrame(rows)
    return table.assign(length=table["text"].str.len() + rng.normal(size=len(table)))


def _slope(rng):
    x = rng.normal(size=24)
    texts = [_text(rng, NEAR if value > 0 else FAR, 4 + int(value > 1)) for value in x]
    return pd.DataFrame({"text": texts, "predictor": x, "arousal": rng.normal(size=24)})


DESIGNS = {
    "two": (_two, {}),
    "two_adjusted": (_two, {"covariates": ("arousal",)}),
    "pairs": (_pairs, {}),
    "pairs_adjusted": (_pairs, {"covariates": ("arousal",)}),
    "clusters": (_clusters, {}),
    "levels": (_levels, {}),
    "levels_within": (_levels_within, {}),
    "contexts": (_contexts, {}),
    "contexts_adjusted": (_lengths_in_contexts, {"covariates": ("length",)}),
    "contexts_of_groups": (_groups_in_contexts, {"covariates": ("length",)}),
    "levels_in_contexts": (_levels_in_contexts, {"covariates": ("length",)}),
    "slopes_in_contexts": (_rated_in_contexts, {"covariates": ("length",)}),
    "slope": (_slope, {}),
    "slope_adjusted": (_slope, {"covariates": ("arousal",)}),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out, made = tmp_path_factory.mktemp("heads"), {}

    def result(name):
        if name not in made:
            build, options = DESIGNS[name]
            made[name] = metastable.run(
                build(np.random.default_rng(1)), name=name, progress=False, permutations=499, out=out, **options
            )
        return made[name]

    return result


@pytest.mark.parametrize("design", DESIGNS)
def test_the_standard_tools_agree_with_every_number_that_they_have(results, design):
    result = results(design)
    for contrast in [one.name for one in result.found.contrasts]:
        table = result.head(3, 4, contrast=contrast).check()
        apart = table[table["agrees"].map(lambda agrees: agrees is False)]
        assert apart.empty, apart.to_string()
        assert table["agrees"].eq(True).sum() >= 4
        # what cannot be compared says why
        assert table["why"].str.len().gt(10).all()
        assert table.loc[table["theirs"].notna(), "tool"].str.contains(r"\d+\.\d+").all()


@pytest.mark.parametrize(
    ("design", "contrast", "tools"),
    [
        ("two", None, ("pingouin ttest", "pingouin tost", "bayesfactor_ttest", "compute_effsize", "permutation_test",
                       "bootstrap", "MixedLM", "multipletests", "HC3")),
        ("pairs", None, ("pingouin ttest", "rm_anova", "permutation_test", "MixedLM")),
        ("clusters", None, ("intraclass_corr", "MixedLM")),
        ("levels", "interaction", ("mixed_anova",)),
        ("levels_within", "interaction", ("rm_anova",)),
        ("contexts", None, ("pingouin ttest", "MixedLM")),
        ("contexts_adjusted", None, ("HC3", "OLS in each", "MixedLM")),
        ("contexts_of_groups", None, ("HC3", "OLS in each")),
        ("slopes_in_contexts", None, ("HC3", "OLS in each")),
        ("slope_adjusted", None, ("partial_corr", "HC3")),
    ],
)  # fmt: skip
def test_each_design_is_checked_by_the_tools_that_are_made_for_it(results, design, contrast, tools):
    table = results(design).head(2, 2, contrast=contrast).check()
    used = " ".join(re.sub(r" \d[\w.]*", "", tool) for tool in table["tool"])
    assert all(tool in used for tool in tools), used


def test_a_number_that_is_wrong_is_told(results):
    head = results("two").head(3, 4)
    head.found.row["statistic"] += 0.01
    table = head.check().set_index("quantity")
    assert table.loc["Welch's t", "agrees"] is False
    assert table.loc["Welch's t", "difference"] == pytest.approx(0.01)


def test_the_frame_goes_into_pingouin_as_it_is(results):
    head = results("two").head(3, 4)
    frame = head.frame
    mine, theirs = (frame.loc[frame["condition"] == name, "value"] for name in ("near", "far"))
    assert list(frame.attrs["conditions"]) == ["near", "far"]
    found = pingouin.ttest(mine, theirs, correction=True)
    assert found["T"].iloc[0] == pytest.approx(head.row["statistic"])
    assert {"sequence", "condition", "value", "unit", "arousal", "text"} <= set(frame)
    assert len(frame) == 21
    assert (frame.attrs["measure"], frame.attrs["counted in"]) == ("count_contributions", "tokens")
    assert (frame.attrs["unit"], frame.attrs["layer"], frame.attrs["head"]) == ("sequence", 3, 4)


def test_sequences_are_averaged_to_the_units_that_were_tested(results):
    head = results("clusters").head(3, 4)
    means = head.frame.groupby("cluster")["value"].mean()
    tested = head.units.set_index("unit")["value"]
    np.testing.assert_allclose(tested, means[tested.index])
    assert (len(head.frame), len(head.units)) == (48, 16)


def test_pairs_keep_their_names(results):
    units = results("pairs").head(3, 4).units.pivot_table(index="pair", columns="condition", values="value")
    assert set(units.index) == {f"p{i}" for i in range(10)}
    t = stats.ttest_rel(units["near"], units["far"]).statistic
    assert t == pytest.approx(results("pairs").head(3, 4).row["statistic"])


def test_the_predictor_and_the_covariates_stand_in_the_frame(results):
    frame = results("slope_adjusted").head(3, 4).frame
    assert frame.attrs["predictor"] == "predictor"
    assert {"predictor", "arousal"} <= set(frame)


def test_a_view_and_a_further_measure_have_heads_of_their_own(tmp_path):
    table = _contexts(np.random.default_rng(0)).drop(columns="context")
    table["target"] = table["text"].str.extract("(" + "|".join(NEAR + FAR) + ")")[0]
    result = metastable.run(table, name="viewed", progress=False, permutations=199, out=tmp_path)
    views = [view.name for view in result.found.study.views]
    assert views
    whole, seen = result.head(1, 1).frame["value"], result.head(1, 1, view=views[0]).frame["value"]
    assert not np.allclose(whole, seen)
    apart = result.head(1, 1, view=views[0]).check()
    assert not apart["agrees"].map(lambda agrees: agrees is False).any(), apart.to_string()
    other = result.head(1, 1, measure="special_mass")
    assert other.row["measure"] == "special_mass"
    assert other.frame["value"].between(0, 1).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layer": 7, "head": 1}, "layers 1 to 6 with heads 1 to 12"),
        ({"layer": 1, "head": 0}, "counted from 1"),
        ({"layer": 1.0, "head": 1}, "whole number"),
        ({"layer": 1, "head": 1, "site": "decoder"}, "there are self"),
        ({"layer": 1, "head": 1, "threshold": 0.5}, "there is 0.9"),
        ({"layer": 1, "head": 1, "measure": "count_contribution"}, "did you mean 'count_contributions'"),
        ({"layer": 1, "head": 1, "view": "target"}, "the study has none"),
        ({"layer": 1, "head": 1, "contrast": "level"}, "there are condition"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(results, arguments, words):
    with pytest.raises(InputError, match=words):
        results("two").head(**arguments)


@pytest.mark.parametrize("design", DESIGNS)
def test_the_paragraph_holds_the_numbers_of_the_table_and_its_verdict(results, design):
    head = results(design).head(3, 4)
    text, row = head.sentence, head.row
    effect = head.found.analysis.effect
    assert f"Verdict: **{row['verdict']}**" in text or f"**different but {row['verdict']}**" in text
    for number in (row[effect.estimate], row[effect.size], row["ci_low"], row["ci_high"]):
        assert f"{abs(number):.2f}" in text
    for p in (row["p_perm"], row["p_perm_fdr"], row["p_perm_fwer"], row["p_tost"], row["p_tost_fdr"]):
        assert ("< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")) in text
    assert "uncorrected" in text
    assert "corrected over all 72 heads" in text
    assert "held fixed" in text or not design.endswith("adjusted")
    assert "nan" not in text
    assert "<b>" in head._repr_html_()
    assert len(head._repr_html_()) < 3000


@pytest.mark.parametrize("verdict", ["different", "negligible", "equivalent", "undecided"])
def test_every_verdict_has_its_words(results, verdict):
    head = results("two").head(3, 4)
    head.found.row["verdict"] = verdict
    said = {"negligible": "**different but negligible**"}.get(verdict, f"**{verdict}**")
    assert said in head.sentence


@pytest.mark.parametrize("paired", [False, True])
def test_a_head_in_three_conditions_agrees_with_welch_and_hotelling(tmp_path, paired):
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        [{"condition": c, "text": _text(rng, words, n), "pair": f"u{i}"}
         for c, words, n in (("a", NEAR, 4), ("b", FAR, 4), ("c", NEAR, 5)) for i in range(9)]
    )  # fmt: skip
    if not paired:
        table = table.drop(columns="pair")
    result = metastable.run(table, name="three", progress=False, permutations=199, out=tmp_path)
    head = result.head(4, 2)
    found = head.check()
    assert not found["agrees"].map(lambda agrees: agrees is False).any(), found.to_string()
    tool = "multivariate_ttest" if paired else "welch_anova"
    assert found["tool"].str.contains(tool).any()
    assert found.loc[found["quantity"] == "p by permutation", "agrees"].tolist() == [True]
    assert len(head.frame) == 27
    assert f"{head.row['F']:.2f}" in head.sentence
    assert len(head.pairs) == 3
    with pytest.raises(InputError, match="layers 1 to 6"):
        result.head(9, 9)


def test_words_of_several_packings_are_rows_of_their_own(tmp_path):
    result = metastable.run("mt40k_topbotk", k=60, packings=2, permutations=199, progress=False, out=tmp_path)
    head = result.head(2, 3)
    assert len(head.frame) == len(head.units) == len(result.found.material.units)
    found = head.check()
    assert not found["agrees"].map(lambda agrees: agrees is False).any(), found.to_string()
    assert "words" in head.sentence
