"""Which options become axes, and what is refused."""

import pytest

import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.heads.sweep_axes import combinations, read_sweep, setting_text, sweep_options
from studies.carrier_pairs import STUDY as PAIRS
from studies.mt40k_topbotk import STUDY
from studies.tvqa_pools import STUDY as POOLS


def test_lists_become_axes_and_single_values_do_not():
    options, axes = read_sweep(
        STUDY,
        {"k": ["300,600"], "threshold": ["0.5", "0.9"], "model": ["a,b"], "max_length": ["20"], "order": "rating"},
    )
    assert [(axis.name, axis.levels) for axis in axes] == [
        ("model", ("a", "b")),
        ("k", (300, 600)),
        ("threshold", (0.5, 0.9)),
    ]
    assert (options.own["max_length"], options.own["order"], options.threshold) == (20, "rating", (0.5, 0.9))
    assert len(combinations(axes)) == 8
    assert combinations(axes)[1] == {"model": "a", "k": 300, "threshold": 0.9}
    assert setting_text(combinations(axes)[1]) == "model = a, k = 300, threshold = 0.9"


def test_none_is_a_level_where_it_is_the_default():
    _, axes = read_sweep(POOLS, {"max_length": ["64,none"]})
    assert axes[0].levels == (64, None)
    assert setting_text({"max_length": None}) == "max length = none"


def test_scalar_options_vary_but_not_how_the_tests_judge():
    vary = {option.name for option in sweep_options(PAIRS) if option.may_vary}
    assert {"pairs", "model", "threshold", "seed", "norms", "measure", "queries", "keys", "unit"} <= vary
    assert not vary & {"out", "device", "batch_tokens", "alpha", "correction", "permutations", "margin", "covariates"}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "needs an option with several values"),
        ({"k": ["300"]}, "one setting is run by python -m studies mt40k_topbotk"),
        ({"k": ["300,300"]}, "--k 300 is given twice"),
        ({"threshold": ["0.5,0.50"]}, "--threshold 0.50 is given twice"),
        ({"k": ["300,few"]}, "--k few: 'few' is not a whole number"),
        ({"k": [","]}, "--k needs at least one value"),
        ({"order": ["shuffle,none"]}, "--order none: choose one of shuffle, rating"),
        ({"k": ["300,600"], "alpha": "0.05,0.01"}, "--alpha 0.05,0.01: give one value"),
        ({"measure": ["count,entropy"], "threshold": ["0.5,0.9"]}, "the measure entropy depends on no threshold"),
    ],
)
def test_bad_lists_are_refused(given, complaint):
    with pytest.raises(InputError, match=complaint):
        read_sweep(STUDY, given)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "sweep needs a study"),
        (["mt40k_topbot", "--k", "1,2"], "there is no study 'mt40k_topbot'"),
        (["mt40k_topbotk", "--colour", "red,blue"], "unrecognized arguments: --colour"),
        (["mt40k_topbotk", "--k", "100,30000"], "setting k = 30000: k is 30,000, but the norms hold 37,058 words"),
        (["mt40k_topbotk", "--k", "100", "--max-length", "20,600"], "setting max length = 600: --max-length 600"),
        (["mt40k_topbotk", "--model", "all-MiniLM-L6-v2,./no", "--k", "100"], "setting model = ./no: model folder"),
        (["mt40k_topbotk", "--k", "100,120", "--covariates", "age"], "setting k = 100: --covariates age"),
    ],
)
def test_a_setting_that_can_not_be_built_is_named_before_anything_is_written(capsys, tmp_path, arguments, complaint):
    assert main(["sweep", *arguments, *(["--out", str(tmp_path)] if arguments else [])], package=studies) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert error.startswith("error: ")
    assert complaint in error
    assert not list(tmp_path.rglob("*"))
