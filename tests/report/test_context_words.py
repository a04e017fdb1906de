"""What a report says of tests over items and contexts agrees with its tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from metastable.heads.crossings import Crossing
from metastable.report.run.context_words import context_blocks
from metastable.report.run.scene import Scene
from metastable.stats.effect_kinds import CONTEXT_COLUMNS
from tests.report.conftest import fixed


def section(text, heading):
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def test_the_report_says_over_what_the_result_holds_with_the_numbers_of_its_table(report):
    told, scene = section(report("crossed"), "Over what the result holds"), Scene(fixed("crossed"))
    heads = scene.heads
    assert tuple(heads.columns[-len(CONTEXT_COLUMNS) :]) == CONTEXT_COLUMNS
    assert "12 word pairs and 5 carriers" in told
    for name, row in (
        ("min_f", "by min *F*′"),
        ("items", "over word pairs alone"),
        ("contexts", "over carriers alone"),
    ):
        number = int((heads[f"p_{name}_fdr"] < 0.05).sum())
        line = next(line for line in told.splitlines() if row in line)
        assert f"| {number} of 6 " in line
    assert f"In {int((heads['p_interaction_fdr'] < 0.05).sum())} of 6" in told


def test_the_methods_name_the_model_over_both_and_no_permutations(report):
    methods = section(report("crossed"), "Methods")
    assert "difference of mean count ~ 1 + (1 | word_pair) + (1 | carrier)" in methods
    assert "499 random rotations" in methods
    assert "relabel" not in methods
    assert "As a second analysis" not in methods


def test_what_the_sample_could_find_is_told_by_the_standard_errors_over_both(report):
    assert "over 12 word pairs and 5 carriers" in section(report("crossed"), "What this sample could find")


def test_with_covariates_the_tests_are_over_both_and_every_section_says_so(report):
    text, scene = report("crossed", covariates=("zipf",)), Scene(fixed("crossed", covariates=("zipf",)))
    told = section(text, "Over what the result holds")
    assert (
        "is over both unless it says otherwise: 12 word pairs and 5 carriers, with Zipf frequency held fixed." in told
    )
    assert "alone" not in told.split("|")[0]
    formula = "difference of mean count ~ 1 + zipf + (1 | word_pair) + (1 | carrier)"
    assert scene.analysis.over_contexts == formula
    methods = section(text, "Methods")
    assert formula in methods
    assert "covariates as the differences of their values within a cell" in methods
    assert "entered the mixed model as fixed effects" in methods
    assert "a regression in each carrier (Lorch & Myers, 1990)" in methods
    assert "Freedman" not in methods
    assert "Lorch" in text.split("## References")[-1] or "lorch" in text.lower()
    # the first lines name what is held fixed
    assert "with Zipf frequency held fixed (omnibus over word pairs and carriers" in text


def test_the_adjustment_is_told_over_both(report):
    for options in ({}, {"covariates": ("zipf",)}):
        text = report("crossed", **options)
        assert "the mixed model and rotations over word pairs and carriers, as without them" in text
        assert "averaged away, HC3" not in text


@pytest.mark.parametrize("covariates", [(), ("zipf",)])
def test_slopes_are_told_over_both_in_every_section(report, covariates):
    text, scene = report("crossed_slope", covariates=covariates), Scene(fixed("crossed_slope", covariates=covariates))
    held = ", with Zipf frequency held fixed" if covariates else ""
    told = section(text, "Over what the result holds")
    assert f"is over both unless it says otherwise: 24 words and 5 carriers{held}." in told
    assert "(concreteness rating by carrier, FDR .05)" in told
    fixed_effects = "rating + zipf" if covariates else "rating"
    formula = f"mean count ~ {fixed_effects} + (1 | word) + (1 + rating | carrier)"
    assert scene.analysis.over_contexts == formula
    methods = section(text, "Methods")
    for part in (formula, "499 random rotations", "*F*₂ that of the slopes in the carriers (Lorch & Myers, 1990)"):
        assert part in methods
    for word in ("Freedman", "exchang", "relabel", "HC3 intervals", "condition by carrier"):
        assert word not in methods
    assert "(omnibus over words and carriers, *p*" in text or "(omnibus over words and carriers, p" in text
    assert "with the interval of the mixed model" in section(text, "Head by head")
    assert "over 24 words and 5 carriers" in section(text, "What this sample could find")
    assert "|*d*|" in section(text, "What this sample could find")


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (np.repeat([0, 1], 4), "no two clips are in both conditions"),
        (np.tile([0, 1], 4), "the words and the clips leave no observations over to judge it by"),
    ],
)
def test_why_an_interaction_is_not_told_is_what_the_design_lacks(context, reason):
    result = fixed("crossed")
    crossing = Crossing(np.repeat([True, False], 4), np.arange(8), context, "word", "clip", pd.DataFrame())
    analysis = result.analyses[0]
    untold = replace(analysis, heads=analysis.heads.assign(p_interaction=np.nan))
    contrast = replace(result.contrasts[0], crossing=crossing)
    told, _ = context_blocks(Scene(replace(result, contrasts=(contrast,), analyses=(untold,))))
    assert told.endswith(f"Whether an effect depends on the clip cannot be told, for {reason}.")


def test_two_by_two_designs_are_told_over_both(report):
    text, scene = report("crossed_factorial"), Scene(fixed("crossed_factorial"))
    told, methods = section(text, "Over what the result holds"), section(text, "Methods")
    assert "is over both unless it says otherwise: 24 answers and 5 clips." in told
    assert "(interaction by clip, FDR .05)" in told
    formula = "difference (near − far) of mean count ~ condition + (1 | answer) + (1 + condition | clip)"
    assert scene.analysis.over_contexts == formula
    assert formula in methods
    one = "The difference of the mean count between near and far of an answer in one clip was one observation."
    assert one in methods
    assert [analysis.over_contexts for analysis in scene.result.analyses[1:]] == [
        "mean count ~ condition + (1 | answer) + (1 + condition | clip)",
        "difference of mean count ~ 1 + (1 | answer) + (1 | clip)",
    ]


def test_contexts_that_are_averaged_away_are_told_with_the_reason():
    result = fixed("factorial")
    reason = "not every answer has both levels of distance in each clip that it is in"
    contrast = replace(result.contrasts[0], averaged=reason)
    study = replace(result.study, design=replace(result.study.design, context="clip"))
    (told,) = context_blocks(Scene(replace(result, study=study, contrasts=(contrast, *result.contrasts[1:]))))
    assert told.startswith(f"The tests are over answers alone, clips averaged away, since {reason}: the result is one")


@pytest.mark.parametrize("design", ["plain", "paired", "clustered", "slope"])
def test_designs_without_contexts_have_no_such_section(design, report):
    assert "Over what the result holds" not in report(design)
    assert not isinstance(Scene(fixed(design)).contrast.crossing, Crossing)
