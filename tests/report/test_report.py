"""A report says what was measured and how it was compared, in order, and in its own words only."""

from __future__ import annotations

import re
from dataclasses import replace

import markdown_it
import pytest

from metastable.heads.outlying_lengths import OutlyingLengths
from metastable.measures import call_measure
from metastable.report.markdown import as_text
from metastable.report.run.page import render_page
from tests.report.fixed_results import STUDIES, every_measure, fixed_result

SECTIONS = [
    "What was claimed",
    "What was compared",
    "Is the comparison fair?",
    "The model as a whole",
    "Layer by layer",
    "Head by head",
    "What an effect of this size means",
    "Absence of an effect",
    "What this sample could find",
    "Operating modes",
    "The founding figure",
    "Robustness over thresholds",
    "Methods",
    "What the words mean",
    "Run it again",
    "Limitations",
]


def html(text: str) -> str:
    return markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(text)


def test_the_sections_stand_in_the_order_in_which_a_reader_asks(report):
    text = report("plain", threshold=(0.9, 0.5))
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    head = text.split("## ")[0]
    assert head.index("**Do the fixed counts") < head.index("> Attention differs") < head.index("summary.png")


@pytest.mark.parametrize("design", STUDIES)
def test_no_report_shows_nan_or_a_p_of_zero(design, report):
    for scale in (0.0, 40.0):
        text = report(design, scale=scale)
        assert not re.search(r"\bnan\b|\binf\b|None|\{|\}", text)
        assert not re.search(r"\*?p\*? = 0?\.000", text)
        assert "−0.00 " not in text
        assert " a answer" not in text


@pytest.mark.parametrize("measure", [name for name in every_measure() if name != "count"])
def test_a_report_of_another_measure_does_not_call_it_the_count(measure, report):
    text = report("plain", measure=measure)
    name = call_measure(measure)
    assert f"the **{name}** is " in text
    # only the paper's and the founding figure are about the count, and say so; and a file's name
    without_its_name = re.sub(rf"\b{name}\b", "", text, flags=re.IGNORECASE)
    about_counts = [line for line in without_its_name.splitlines() if re.search(r"\bcounts?\b", line)]
    for line in about_counts:
        assert re.search(
            r"founding|own measure is the count|^\*The count at 90%|Violins|not judged|counts\.zarr|fixed counts"
            r"|were made up|operating mode",
            line,
        )
    assert text.count(f"not of the {name}, which this report tests") == 2
    assert measure not in text.replace("fixed_model", "") or "_" not in measure


def test_row_options_are_told_where_the_measure_is_and_in_the_methods(report):
    text = report("plain", queries="words", keys="words", unit="words")
    assert text.count("query token that belongs to a word") == 2
    assert text.count("Special tokens were taken out of the keys and the rest of each row was renormalized.") == 2
    assert text.count("The mass of a word's pieces was summed first.") == 2
    assert "smallest number of words of its attention row" in text
    assert "more words in abstract than in concrete" in text
    assert "Special tokens are queries and keys like any other" not in text


def test_the_methods_fit_the_design(report):
    plain, paired, clustered, factorial = (report(name) for name in ("plain", "paired", "clustered", "factorial"))
    assert "We presented 12 concrete and 12 abstract sequences to" in plain
    assert "exchanging the condition labels of whole sequences" in plain
    assert "95% BCa bootstrap intervals (Efron, 1987)" in plain
    assert "12 concrete and 12 abstract sequences, joined in 12 word pairs, to" in paired
    assert "flipping the signs of the differences of whole word pairs" in paired
    assert "Welch" not in paired
    assert "root mean square of both sides' standard deviations" in paired
    assert "12 sequences of 8 concrete answers and 12 sequences of 8 abstract answers to" in clustered
    assert "of a sequence, averaged over the sequences of one answer, was one observation" in clustered
    assert "The difference of the mean count between near and far of one answer was one observation." in factorial


def test_a_study_without_effect_claims_none(report):
    text = report("plain", scale=0.0)
    assert "> No difference in attention between concrete and abstract sequences was shown" in text
    assert "**not supported**" in text
    assert "Of those that differ" not in text


def test_words_and_names_of_users_come_out_as_they_went_in(report):
    text = html(report("plain"))
    for shown in ("self_made", "a|b", "&lt;em&gt;", "`hope`", "words_1|2.csv", "fixed_model"):
        assert shown in text
    assert "<em></em>" not in text


@pytest.mark.parametrize(
    "nasty", ["a|b", "*x* _y_ `z`", "<script>&amp;", "[l](u)", "1. one", "- two", "# three", "$a$ ~~b~~", "\\", "a\nb"]
)
def test_escaped_text_shows_what_it_was(nasty):
    shown = re.fullmatch(r"<p>(.*)</p>\n", html(as_text(nasty)))[1]
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, character)
    assert shown == nasty.replace("\n", " ")
    row = html(f"| a | b |\n| --- | --- |\n| {as_text(nasty)} | 2 |\n")
    assert row.count("<td") == 2


def test_names_of_conditions_do_not_break_tables():
    result = fixed_result("plain")
    contrast = result.contrast
    named = replace(contrast, a=replace(contrast.a, name="a|b <i>"), b=replace(contrast.b, name="_c_ `d`"))
    page = html(render_page(replace(result, contrasts=(named,)), []))
    for table in re.findall(r"<table>.*?</table>", page, re.DOTALL):
        rows = [row.count("<t") - 1 for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
        assert len(set(rows)) == 1
    assert "<th" in page
    assert "mean a|b &lt;i&gt;" in page
    assert "mean _c_ `d`" in page


def test_far_longer_sequences_are_named_with_the_effect_without_them(report):
    assert "far longer" not in report("plain")
    outlying = OutlyingLengths(("row-9", "row_8", "row-7", "row-6"), (106, 90, 88, 80), 8, 11, 15, 4, 0.741)
    result = replace(fixed_result("plain"), outlying=outlying)
    text = html(render_page(result, []))
    assert "4 sequences are far longer than the others: row-9 (106 tokens), row_8 (90 tokens)" in text
    assert "and 1 more, where the other sequences have 8 to 15 tokens (median 11)" in text
    median = result.analysis.heads["hedges_g"].abs().median()
    assert f"the median |g| is {median:.2f} with them and 0.74 without them. With --measure share each" in text
    few = html(render_page(replace(result, outlying=replace(outlying, size_without=float("nan"))), []))
    assert "by which effects are standardized. With --measure share" in few
    # a share of the attention does not grow with the length
    share = replace(fixed_result("plain", measure="share"), outlying=outlying)
    assert "grows with" not in html(render_page(share, []))
    clustered = replace(fixed_result("clustered"), outlying=replace(outlying, n_units=2))
    assert "without their 2 answers" in html(render_page(clustered, []))


def test_modes_say_which_keys_they_are_of():
    result = fixed_result("plain")
    spread = result.spread
    mixed = replace(spread, most=spread.most + 500, usual=spread.usual + 40)
    text = render_page(replace(result, spread=mixed), [])
    assert "Queries see between 9 and 509 keys, usually 49, so a head's mode is that of the median" in text
    assert "| I | averages over very many | above 50% |" in text
    assert "no head can be in class IV" not in text
    assert "no head can be in class IV" in render_page(result, [])


def without_special_tokens(result):
    """The same, as if no text that was read had a special token."""
    plain = tuple(
        replace(one, word_index=tuple(max(word, 0) for word in one.word_index)) for one in result.material.sequences
    )
    return replace(result, material=replace(result.material, sequences=plain))


@pytest.mark.parametrize("special", [True, False])
def test_texts_without_special_tokens_are_not_said_to_have_some(special):
    own = fixed_result("plain")
    own = replace(own, beside={"special_mass": fixed_result("plain", measure="special_mass").analysis})
    text = render_page(own if special else without_special_tokens(own), [])
    for told in (
        "| tokens, special ones included |",
        "with most of its mass on one special token a row",
        "- Special tokens query like any other",
        "- Special tokens are keys like any other: how much a row rests on them moves its count,",
    ):
        assert (told in text) is special, told
    for told in (
        "| tokens |",
        "with most of its mass on one token, such as the first, a row",
        "- The first token is a key like any other: how much a row rests on it moves its count,",
    ):
        assert (told in text) is not special, told
