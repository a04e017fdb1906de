from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from metastable.report.run.page import render_page
from metastable.report.run.scene import Scene
from metastable.report.run.verdict_sentences import verdict_sentences
from metastable.report.run.where import maps_table, sink_held_sentence, where_line
from tests.report.fixed_results import fixed_result


@pytest.fixture(scope="module")
def result():
    own = fixed_result("plain")
    beside = {name: fixed_result("plain", measure=name).analysis for name in ("largest_weight", "special_mass")}
    heads = own.analysis.heads[["site", "layer", "head", "threshold", "measure"]]
    n = len(heads)
    held = heads.assign(
        held="special_mass",
        size_held=np.r_[np.full(n - 1, 0.1), np.nan],
        p_held_fdr=np.r_[0.01, np.ones(n - 2), np.nan],
    )
    return replace(own, beside=beside, sink_held=held)


def test_the_second_line_says_where_attention_rests(result):
    sentences = verdict_sentences(result)
    mass = result.beside["special_mass"].heads
    a, b = (f"{100 * mass[f'mean_{side}'].mean():.0f}%" for side in "ab")
    assert f"special tokens hold {a} of the attention in concrete and {b} in abstract sequences" in sentences[1]
    assert "correlates with that on the special mass at r = " in sentences[1]
    text = render_page(result, [])
    assert text.index(sentences[1]) < text.index("## ")
    assert "## Where the difference lives" in text


def test_what_goes_to_a_learned_sink_is_said(result):
    assert "learned sink" not in render_page(result, [])
    text = render_page(replace(result, learned_sink=(0.412, 0.388)), [])
    assert "it takes 41% of the attention in concrete and 39% in abstract sequences." in text


def test_the_table_has_a_row_for_each_measure_that_adds_up(result):
    rows = [line.split("|") for line in maps_table(Scene(result)).splitlines() if line.startswith("| ")][1:]
    named = [row[1].strip() for row in rows if not set(row[1].strip()) <= {"-", ":", " "}]
    assert named == ["largest weight", "special mass"]
    differ = int((result.analysis.heads["p_perm_fdr"] < 0.05).sum())
    for row in rows[-2:]:
        assert sum(int(cell) for cell in row[6:9]) == differ


def test_what_cannot_be_told_apart_is_said(result):
    text = sink_held_sentence(Scene(result))
    assert "in 1 head the two cannot be told apart" in text
    assert "not what causes what" in text


def test_a_run_without_other_measures_says_nothing_of_them():
    result = fixed_result("plain")
    assert where_line(Scene(result)) == ""
    assert "Where the difference lives" not in render_page(result, [])
    assert len(verdict_sentences(result)) == 2


def test_a_measure_that_was_left_out_is_named_with_the_reason(result):
    extraction = replace(result.record.extraction, left_out={"count_contributions": "its values are not seen"})
    lacking = replace(result, record=replace(result.record, extraction=extraction))
    assert "The count of contributions is not among them: its values are not seen." in render_page(lacking, [])


def test_slopes_have_the_section_too():
    own = fixed_result("slope")
    result = replace(own, beside={"special_mass": fixed_result("slope", measure="special_mass").analysis})
    assert isinstance(result.analysis.heads, pd.DataFrame)
    assert "Where attention rests: special tokens hold" in render_page(result, [])
