"""The columns of a table say what may be exchanged, and which column is not used is told."""

import itertools

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.heads.contrasts import contrasts_of
from metastable.material.marked_words import split_marked
from metastable.material.tables import table_of_frame
from metastable.material.texts import table_texts, text_material, text_study, texts_of
from metastable.models.encoders import load_tokenizer
from metastable.study import Design

TOKENIZER = load_tokenizer()
WORDS = ["cup", "tree", "river", "stone", "horse", "bridge", "window", "apple"]


def taken(frame, **options):
    return texts_of(table_texts(table_of_frame(frame), options), options)


def contrasts(frame, **options):
    table = taken(frame, **options)
    return contrasts_of(text_study(table, name="x"), text_material(table, TOKENIZER).sequences)


def frame_of(**values):
    """All combinations of the columns' values, each with a text of its own."""
    names = list(values)
    rows = [dict(zip(names, combination, strict=True)) for combination in itertools.product(*values.values())]
    frame = pd.DataFrame(rows)
    frame["text"] = [f"the {WORDS[at % 8]} and {at}" for at in range(len(frame))]
    return frame


AB = ["a", "b"]
SUBJECTS = [f"s{number}" for number in range(5)]


def test_crossed_subjects_are_pairs_of_their_means():
    frame = frame_of(condition=AB, subject=SUBJECTS, trial=range(3)).drop(columns="trial")
    table = taken(frame)
    assert table.design == Design(paired=True, unit="subject")
    assert "each subject has texts in both conditions" in " ".join(table.notes)
    (contrast,) = contrasts(frame)
    assert (contrast.unit, contrast.n_a, contrast.n_b) == ("subject", 5, 5)
    values = np.random.default_rng(0).normal(size=(len(frame), 2))
    means = pd.DataFrame(values).groupby([frame["subject"], frame["condition"]]).mean()
    units = contrast.values(values)
    for side, name in ((contrast.condition, "a"), (~contrast.condition, "b")):
        np.testing.assert_allclose(units[side], means.xs(name, level="condition").to_numpy())


def test_nested_subjects_are_clusters():
    frame = frame_of(condition=AB, speaker=SUBJECTS, trial=range(3)).drop(columns="trial")
    frame["speaker"] += frame["condition"]
    assert taken(frame).design == Design(clustered=True, unit="speaker")


@pytest.mark.parametrize(("n_crossed", "paired"), [(4, True), (1, False)])
def test_subjects_of_both_kinds_are_counted_and_never_refused(n_crossed, paired):
    frame = frame_of(condition=AB, subject=[f"s{n}" for n in range(6)])
    nested = ~frame["subject"].isin([f"s{n}" for n in range(n_crossed)])
    frame.loc[nested, "subject"] += frame.loc[nested, "condition"]
    table = taken(frame)
    assert (table.design.paired, table.design.clustered) == (paired, not paired)
    assert " left out, with " in " ".join(table.notes)
    assert len(contrasts(frame)) == 1


def test_items_crossed_with_subjects_have_subjects_for_contexts():
    frame = frame_of(condition=AB, item=range(6), subject=SUBJECTS)
    table = taken(frame)
    assert table.design == Design(paired=True, unit="item", context="subject")
    assert {row.context for row in table.rows} == set(SUBJECTS)
    # each subject sees an item in one condition only
    square = frame[(frame["item"] + frame["subject"].str[1:].astype(int)) % 2 == (frame["condition"] == "a")]
    assert taken(square).design == table.design


def test_items_within_crossed_subjects_give_the_subject_as_unit():
    frame = frame_of(condition=AB, subject=SUBJECTS, item=range(3))
    frame["item"] = frame["subject"] + frame["item"].astype(str)
    table = taken(frame)
    assert table.design == Design(paired=True, unit="subject")
    assert {row.pair for row in table.rows} == set(SUBJECTS)


def test_items_of_nested_subjects_are_their_contexts():
    frame = frame_of(condition=AB, subject=SUBJECTS, item=range(3))
    frame["subject"] += frame["condition"]
    table = taken(frame)
    assert table.design == Design(clustered=True, unit="subject", context="item")
    assert {row.context for row in table.rows} == {"0", "1", "2"}


def test_a_pair_without_partner_is_refused_by_row_or_dropped_and_counted():
    frame = frame_of(condition=AB, item=range(5)).drop(index=7)
    with pytest.raises(InputError, match=r"frame, row 2: the item '2' has no text in the other condition.*--drop-inc"):
        taken(frame)
    table = taken(frame, drop_incomplete=True)
    assert len(table.rows) == 8
    assert "1 of 5 items has texts in one condition only and was left out, with 1 text" in table.notes


def test_empty_cells_are_refused_by_row_or_dropped_and_counted():
    frame = frame_of(condition=AB, item=range(5))
    frame["arousal"] = np.arange(10.0)
    frame.loc[3, "text"] = None
    with pytest.raises(InputError, match=r"frame, row 3: the cell of the column text is empty.*--drop-incomplete"):
        taken(frame)
    frame.loc[1, "arousal"] = None
    table = taken(frame, drop_incomplete=True)
    assert "2 rows with an empty cell were left out" in table.notes
    assert {row.pair for row in table.rows} == {"0", "2", "4"}


def test_numbers_are_covariates_unless_one_is_missing():
    frame = frame_of(condition=AB, item=range(5)).assign(arousal=np.arange(10.0), rating=1.5, valence=[None, *range(9)])
    frame["rating"] += np.arange(10) ** 2
    table = taken(frame)
    assert dict(table.rows[3].covariates) == {"arousal": 3.0, "rating_of_file": 10.5}
    (warning,) = table.warnings
    assert "valence is not used: 1 cells hold no number" in warning
    (contrast,) = contrasts(frame)
    assert {"arousal", "rating_of_file"} <= set(contrast.covariates.columns)


def test_columns_of_a_subject_under_another_name_are_told_with_the_option():
    frame = frame_of(condition=AB, person=SUBJECTS, half=["x", "y"])
    told = " / ".join(taken(frame).warnings)
    assert "the column person is not used: it could be --pair-column, --cluster-column or --context-column" in told
    assert "the column half is not used: it could be --level-column" in told
    study = text_study(taken(frame), name="x")
    assert "person is not used" in study.caveat
    assert taken(frame, cluster_column="person", level_column="none").design.unit == "person"


def test_a_second_factor_between_and_within_units():
    frame = frame_of(condition=AB, item=range(4), level=["near", "far"], more=range(2)).drop(columns="more")
    nested = frame.assign(item=frame["condition"] + frame["item"].astype(str))
    values = np.random.default_rng(1).normal(size=(len(frame), 3))
    keys = [frame["item"], frame["condition"], frame["level"]]
    cells = pd.DataFrame(values).groupby(keys).mean()
    within = {contrast.name: contrast for contrast in contrasts(frame)}
    assert set(within) == {"interaction", "condition", "level"}

    def difference(contrast):
        units = contrast.values(values)
        return units[contrast.condition] - units[~contrast.condition]

    near, far = cells.xs("near", level="level"), cells.xs("far", level="level")
    of_level, of_condition = near - far, (near + far) / 2
    for name, table in (("interaction", of_level), ("condition", of_condition)):
        expected = table.xs("a", level="condition") - table.xs("b", level="condition")
        np.testing.assert_allclose(difference(within[name]), expected.to_numpy())
    np.testing.assert_allclose(difference(within["level"]), of_level.groupby("item").mean().to_numpy())
    between = contrasts(nested)
    assert [contrast.pair is None for contrast in between] == [True, True, False]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda f: f.drop(columns="item"), "a column must say which texts are of one unit"),
        (lambda f: f.assign(level=list("xyz") * 5 + ["x"]), "has 3 levels, x, y, z"),
        (lambda f: f.drop(index=3), r"lacks a text; every item needs both levels in both conditions"),
    ],
)
def test_a_second_factor_that_lacks_something_is_refused(change, complaint):
    with pytest.raises(InputError, match=complaint):
        taken(change(frame_of(condition=AB, item=range(4), level=["near", "far"])))


def rated(**more):
    frame = frame_of(item=range(12))
    return frame.drop(columns="item").assign(frequency=np.linspace(1, 6, 12) ** 2, **more)


def test_rated_texts_give_a_slope():
    (contrast,) = contrasts(rated())
    np.testing.assert_allclose(contrast.predictor, rated()["frequency"])
    assert (contrast.n_a, contrast.formula) == (6, "frequency")
    (clustered,) = contrasts(rated(word=np.repeat(list("uvwxyz"), 2)).assign(frequency=np.repeat(range(6), 2)),
                             cluster_column="word")  # fmt: skip
    assert len(clustered.predictor) == 6


def test_a_predictor_that_varies_within_subjects_is_halved_within_them():
    table = taken(rated(subject=np.tile(["s", "t", "u"], 4)))
    assert table.design == Design(paired=True, unit="subject")
    assert table.conditions == ("high frequency", "low frequency")
    assert "above and at or below its own median" in " ".join(table.notes)


def test_which_number_texts_are_rated_by_is_asked():
    with pytest.raises(InputError, match="may be rated by length or depth; say which by --predictor-column"):
        taken(rated(length=np.arange(12), depth=np.arange(12) % 5).drop(columns="frequency"))
    with pytest.raises(InputError, match="has a column of conditions too"):
        taken(rated(condition=AB * 6), predictor_column="frequency")
    table = taken(rated(condition=AB * 6), predictor_column="frequency", condition_column="none")
    assert table.predictor == "frequency"


def test_two_of_several_conditions_are_picked_and_the_others_counted():
    frame = frame_of(condition=["x", "y", "z"], time=range(3)).drop(columns="time")
    table = taken(frame, a="z", b="x")
    assert table.conditions == ("z", "x")
    assert "texts of other conditions are left out: 3 of y" in table.notes
    for options in ({}, {"a": "z"}):
        with pytest.raises(InputError, match=r"3 conditions, .*pick two by --a and --b"):
            taken(frame, **options)


def test_names_of_columns_in_other_words_are_found_or_asked():
    frame = frame_of(condition=AB, item=range(3)).rename(columns={"condition": "Bedingung", "text": "Satz"})
    table = taken(frame)
    assert "the column Satz was taken for the text (--text-column names another)" in table.notes
    with pytest.raises(InputError, match="the columns sentence and Satz may both be the text"):
        taken(frame.assign(sentence=frame["Satz"]))
    assert len(taken(frame.assign(sentence=frame["Satz"]), text_column="Satz").rows) == 6


def test_targets_are_found_where_they_stand_or_where_they_are_marked():
    frame = pd.DataFrame(
        {"condition": ["a", "a", "b", "b"], "target": ["Dog", "old cat", "bird", "fish"],
         "text": ["The dog, again.", "An old cat sat.", "A bird saw a [[bird]]!", "fish"]}
    )  # fmt: skip
    sequences = text_material(taken(frame), TOKENIZER).sequences
    assert [[one.words[place] for place in one.target] for one in sequences] == [
        ["dog"],
        ["old", "cat"],
        ["bird"],
        ["fish"],
    ]
    assert sequences[2].target == (4,)
    assert sequences[0].text == "The dog, again."
    assert [view.name for view in text_study(taken(frame), name="x").views] == ["target_as_query", "target_as_key"]
    for change, complaint in (
        ({"text": "A bird saw a bird!"}, r"row 2: the target 'bird' stands 2 times"),
        ({"text": "A crow."}, r"row 2: the target 'bird' is not in the text"),
    ):
        with pytest.raises(InputError, match=complaint):
            taken(frame.assign(text=[*frame["text"][:2], change["text"], "fish"]))
    with pytest.raises(InputError, match=r"row 1: no word of the text is marked, and 1 of 2 texts mark one"):
        taken(pd.DataFrame({"condition": AB, "text": ["[[x]]", "y"]}))


def test_a_target_that_is_cut_off_is_refused_by_row():
    frame = pd.DataFrame({"condition": AB, "text": ["one two three [[four]]", "[[one]]"]})
    with pytest.raises(InputError, match=r"row 0: its target lies beyond the tokens that are kept"):
        text_material(taken(frame), TOKENIZER, 5)


def test_two_texts_are_two_segments_and_the_longer_one_is_cut_first():
    frame = pd.DataFrame(
        {
            "label": AB,
            "premise": ["the [[dog]] " + "ran " * 20, "a [[cat]]"],
            "hypothesis": ["a [[dog]]", "one [[cat]]"],
        }
    )
    first, second = text_material(taken(frame), TOKENIZER, 16).sequences
    assert len(first.token_ids) == 16
    assert first.words == ("the", "dog", *["ran"] * 9, "a", "dog")
    assert (first.target, first.target_b) == ((1, 12), (12,))
    assert set(first.segment_ids) == {0, 1}
    assert [span for span in second.target_spans if span] == [1, 2]
    assert len(text_study(taken(frame), name="x").views) == 4


def test_marks_leave_no_trace():
    assert split_marked("a [[b c]]d [[e]]") == ("a b cd e", ("a", "b", "c", "d", "e"), (1, 2, 4))
    assert split_marked("[no] [[ mark") == ("[no] [[ mark", ("[no]", "[[", "mark"), ())
