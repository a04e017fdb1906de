"""What a report says of tests over items and contexts agrees with its tables."""

import pytest

from metastable.heads.contrasts import Crossing
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


@pytest.mark.parametrize("design", ["plain", "paired", "clustered", "slope"])
def test_designs_without_contexts_have_no_such_section(design, report):
    assert "Over what the result holds" not in report(design)
    assert not isinstance(Scene(fixed(design)).contrast.crossing, Crossing)
