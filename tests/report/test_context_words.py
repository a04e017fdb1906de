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


def test_with_covariates_the_report_says_that_the_tests_are_over_items_alone(report):
    told = section(report("crossed", covariates=("zipf",)), "Over what the result holds")
    assert told.strip().startswith("The tests are over 12 word pairs alone, since they hold covariates fixed")


@pytest.mark.parametrize("design", ["plain", "paired", "clustered", "slope"])
def test_designs_without_contexts_have_no_such_section(design, report):
    assert "Over what the result holds" not in report(design)
    assert not isinstance(Scene(fixed(design)).contrast.crossing, Crossing)
