"""What a run is about, where the choice was left to the study."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from metastable.runs.own_measure import named_measures, settle_measures
from metastable.study import Claim, Condition, Material, Options, Sequence, Study, View

pytestmark = pytest.mark.usefixtures("undrawn_figures")

STUDY = Study(
    "s",
    "T",
    "Q?",
    (Condition("a", "one"), Condition("b", "two")),
    build=lambda options, tokenizer: Material(()),
    claims=(Claim(statement="some differ"), Claim("mass", measure="target_mass")),
    views=(View("word", "the word"), View("mass", "the others", measure="target_mass")),
)
SHOWS, HIDES = (SimpleNamespace(gives_values=shown, has_sink=False) for shown in (True, False))


def read(*word_index):
    return (Sequence("s1", "a", ("w",), "w", tuple(range(len(word_index))), tuple(word_index)),)


WITH_SPECIAL, WITHOUT = read(-1, 0, -1), read(0, 0)


@pytest.mark.parametrize(
    ("encoder", "sequences", "taken"),
    [
        (SHOWS, WITH_SPECIAL, "count_contributions"),
        (SHOWS, WITHOUT, "count_contributions"),
        (HIDES, WITH_SPECIAL, "count_words"),
        (HIDES, WITHOUT, "count"),
    ],
)
def test_what_cannot_be_had_gives_way_in_options_claims_and_views(encoder, sequences, taken):
    study, options = settle_measures(STUDY, Options(), encoder, sequences)
    assert options.measure == taken
    assert [claim.measure for claim in study.claims] == [taken, "target_mass"]
    assert [view.measure for view in study.views] == [taken, "target_mass"]
    assert named_measures(study, options) == (taken, "target_mass")


def test_what_was_named_is_kept_and_the_claim_stays_about_the_studys_own():
    study, options = settle_measures(STUDY, Options(measure="entropy"), HIDES, WITH_SPECIAL)
    assert options.measure == study.views[0].measure == "entropy"
    assert study.claims[0].measure == "count_words"


def test_the_founding_studies_are_about_the_count():
    founding = replace(STUDY, measure="count")
    assert settle_measures(founding, Options(), SHOWS, WITH_SPECIAL)[1].measure == "count"


@pytest.mark.parametrize("chosen", [{"keys": "words"}, {"unit": "words"}])
def test_chosen_keys_or_units_are_those_of_a_count(chosen):
    study, options = settle_measures(STUDY, Options(**chosen), SHOWS, WITH_SPECIAL)
    assert options.measure == "count"
    assert study.claims[0].measure == "count_contributions"


def test_nothing_is_named_before_the_model_is_known():
    assert named_measures(STUDY, Options()) == ("target_mass",)
