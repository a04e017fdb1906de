import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import studies
from metastable.errors import InputError
from metastable.heads.calibration_options import counts_as_recorded
from metastable.runs.kept_settings import result_key
from metastable.study import Condition, Material, Option, Options, Study
from metastable.study.entries import Affects
from metastable.study.options import COMMON_OPTIONS, common_option, natural, parse_option
from metastable.study.own_options import options_for, options_of
from metastable.study.registry import find_studies
from metastable.typed_json import typed

OPTIONS = {option.name: option for option in COMMON_OPTIONS}


def test_thresholds_come_by_spaces_or_commas_and_only_once():
    assert parse_option(OPTIONS["threshold"], ["0.9", "0.5,0.99", "0.9"]) == (0.9, 0.5, 0.99)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("threshold", ["0"], r"--threshold 0: 0 lies outside \(0, 1\]"),
        ("threshold", ["1.01"], r"outside \(0, 1\]"),
        ("threshold", ["nan"], "not a finite number"),
        ("threshold", ["much"], "'much' is not a number"),
        ("threshold", [","], "needs at least one value"),
        ("permutations", "0", "below 1"),
        ("permutations", "1e4", "not a whole number"),
        ("alpha", "1", "does not lie between 0 and 1"),
        ("margin", "-0.2", "not above 0"),
        ("seed", "-1", "below 0"),
        ("device", "tpu", "--device tpu: choose one of auto, cpu, cuda, mps"),
    ],
)
def test_bad_values_name_the_option_and_the_remedy(name, text, complaint):
    with pytest.raises(InputError, match=complaint):
        parse_option(OPTIONS[name], text)


def test_a_threshold_of_one_is_allowed():
    assert parse_option(OPTIONS["threshold"], ["1"]) == (1.0,)


def test_every_default_would_be_accepted():
    for option in COMMON_OPTIONS:
        if option.kind is bool or option.default in (None, ()):
            continue
        given = [str(v) for v in option.default] if option.many else str(option.default)
        assert parse_option(option, given) == option.default


def test_none_empties_the_covariates_and_nothing_else():
    assert parse_option(OPTIONS["covariates"], ["none"]) == ()
    assert parse_option(OPTIONS["covariates"], ["none", "zipf"]) == ("none", "zipf")
    with pytest.raises(InputError, match="'none' is not a number"):
        parse_option(OPTIONS["threshold"], ["none"])


def test_a_study_replaces_the_default_of_a_common_option():
    own = common_option("covariates", default=("zipf",), help="adjusted for")
    study = Study(
        name="x",
        title="X",
        question="X?",
        conditions=(Condition("a", "a"), Condition("b", "b")),
        build=lambda options, tokenizer: Material(()),
        options=(own,),
    )
    options = options_of(study)
    assert [option for option in options if option.name == "covariates"] == [own]
    assert {option.name for option in options} == set(OPTIONS)


CHANGED = {
    "model": "other", "revision": "main", "threshold": (0.5,), "device": "cpu", "permutations": 100, "alpha": 0.01,
    "correction": "by", "margin": 0.3, "measure": "entropy", "queries": "words", "keys": "words", "unit": "words",
    "covariates": ("zipf",), "joint": True, "seed": 21, "dtype": "bfloat16", "batch_tokens": 64, "keep": "means",
    "out": "elsewhere",
}  # fmt: skip


def study_with(*own):
    return Study(
        name="mine",
        title="X",
        question="X?",
        conditions=(Condition("a", "a"), Condition("b", "b")),
        build=lambda options, tokenizer: Material(()),
        options=own,
    )


def test_every_option_is_in_exactly_one_class():
    assert set(CHANGED) == set(OPTIONS)
    classes = {kind: {entry.name for entry in COMMON_OPTIONS if entry.affects == kind} for kind in get_args(Affects)}
    assert sum(map(len, classes.values())) == len(OPTIONS)
    assert classes["nothing"] == {"device", "batch_tokens", "out"}
    assert classes["tests"] == {"permutations", "alpha", "correction", "margin", "covariates", "joint"}


@pytest.mark.parametrize("name", CHANGED)
def test_only_what_affects_nothing_leaves_the_key_of_a_result_as_it_is(name):
    study, changed = study_with(), replace(Options(), **{name: CHANGED[name]})
    keys = [result_key(study, options, Material(()), "counts", {}) for options in (Options(), changed)]
    assert (keys[0] == keys[1]) == (OPTIONS[name].affects == "nothing")


@pytest.mark.parametrize("name", CHANGED)
def test_only_what_affects_the_counts_asks_for_other_counts(name):
    changed = replace(Options(), **{name: CHANGED[name]})
    assert counts_as_recorded(study_with(), changed, Options()) == (OPTIONS[name].affects != "counts")


def test_the_options_of_the_shipped_studies_affect_the_counts_but_for_common_ones_declared_anew():
    for study in find_studies(studies).studies.values():
        for entry in study.options:
            assert entry.affects == (OPTIONS[entry.name].affects if entry.name in OPTIONS else "counts")


def test_a_common_option_declared_anew_affects_what_it_affected():
    own = Option("covariates", str, ("zipf",), "adjusted for", many=True, empty=True)
    found = {entry.name: entry for entry in options_of(study_with(own))}["covariates"]
    assert (found.affects, found.default, found.may_vary) == ("tests", ("zipf",), False)


def test_defaults_are_those_of_the_study():
    study = study_with(Option("k", natural, 300, "words"), common_option("covariates", default=("zipf",)))
    options = options_for(study)
    assert options == Options(covariates=("zipf",), own={"k": 300})
    assert list(options.values())[:2] == ["k", "model"]


@pytest.mark.parametrize(
    ("name", "text", "given", "value"),
    [
        ("k", "500", 500, 500),
        ("k", "500", np.int64(500), 500),
        ("threshold", ["0.9", "0.5,0.9"], [0.9, 0.5, 0.9], (0.9, 0.5)),
        ("threshold", ["1"], 1, (1.0,)),
        ("alpha", "0.01", 0.01, 0.01),
        ("margin", "1", 1, 1.0),
        ("measure", "entropy", "entropy", "entropy"),
        ("covariates", ["zipf"], "zipf", ("zipf",)),
        ("covariates", ["none"], (), ()),
        ("out", "some/where", Path("some/where"), "some/where"),
    ],
)
def test_a_value_given_in_python_is_the_one_that_is_typed(name, text, given, value):
    study = study_with(Option("k", natural, None, "words"))
    entry = {entry.name: entry for entry in options_of(study)}[name]
    found = options_for(study, **{name: given}).values()[name]
    assert found == parse_option(entry, text) == value
    assert type(found) is type(value)


def test_nothing_may_be_given_where_it_is_the_default():
    study = study_with(Option("k", natural, None, "words"))
    assert options_for(study, k=None, revision=None).own == {"k": None}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            {"permutation": 5},
            r"mine has no option 'permutation'; did you mean 'permutations'\? its options are: k",
        ),
        ({"max-length": 5}, r"no option 'max-length'; its options"),
        ({"k": 0}, r"k=0: 0 is below 1; give a whole number of at least 1"),
        ({"k": 2.5}, r"k=2\.5: '2\.5' is not a whole number"),
        ({"k": None}, r"k=None: 'None' is not a whole number"),
        ({"k": True}, r"k=True: 'True' is not a whole number"),
        ({"k": "500"}, r"k='500': give a number without quotation marks"),
        ({"threshold": (0.9, 2)}, r"threshold=2: 2 lies outside \(0, 1\]; give a share such as 0\.9"),
        ({"threshold": []}, r"threshold=\[\]: it needs at least one value"),
        ({"alpha": float("nan")}, r"alpha=nan: nan is not a finite number"),
        ({"device": "tpu"}, r"device='tpu': choose one of auto, cpu, cuda, mps"),
        ({"joint": 1}, r"joint=1: give True or False"),
        ({"model": 7}, r"model=7: give a text in place of a value of the type int"),
    ],
)
def test_what_is_given_in_python_is_refused_as_it_would_be_typed(given, complaint):
    with pytest.raises(InputError, match=complaint):
        options_for(study_with(Option("k", natural, 300, "words")), **given)


def test_options_come_back_from_json_with_their_types():
    options = Options(threshold=(0.9, 1.0), covariates=("zipf",), own={"k": 5, "files": ("a", "b"), "norms": None})
    assert typed(Options, json.loads(json.dumps(options.to_json()))) == options
    with pytest.raises(InputError, match=r"holds 'many' as 'permutations', which is not a whole number"):
        typed(Options, {**options.to_json(), "permutations": "many"})


def test_values_are_replaced_by_name_wherever_they_belong():
    options = Options(own={"k": 5, "order": "shuffle"})
    assert options.replaced({"k": 6, "seed": 3}) == Options(seed=3, own={"k": 6, "order": "shuffle"})


def test_a_mistyped_choice_gets_the_nearest():
    with pytest.raises(InputError, match=r"--measure entropi: choose one of auto, .*; did you mean 'entropy'[?]"):
        parse_option(OPTIONS["measure"], "entropi")
