import pytest

from metastable.errors import InputError
from metastable.study import Condition, Material, Study
from metastable.study.options import COMMON_OPTIONS, common_option, parse_option
from metastable.study.own_options import options_of

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
