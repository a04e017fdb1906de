"""The calibration command on real words, and what it takes from studies of other designs."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.heads import calibrated_side
from metastable.heads.calibrated_side import side_of
from metastable.heads.calibration_options import (
    CalibrationOptions,
    chosen_options,
    counts_as_recorded,
    inherited_options,
)
from metastable.heads.calibration_result import CalibrationResult
from metastable.heads.contrasts import contrasts_of
from metastable.heads.record import CalibrationRecord, ComparedModel
from metastable.report.calibration.page import render_page
from metastable.report.calibration.sentences import limitations
from metastable.study import Condition, Design, Material, Option, Sequence, Study
from metastable.study.options import natural
from metastable.study.own_options import options_for
from metastable.study.registry import find_studies

pytestmark = pytest.mark.usefixtures("undrawn_within")

STUDY = ["--k", "150", "--permutations", "200"]


def test_the_tests_of_a_study_keep_their_level_on_halves_of_one_condition(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert main(["mt40k_topbotk", *STUDY, "--joint", *out], package=studies) == 0
    capsys.readouterr()
    assert main(["calibrate", "mt40k_topbotk", "--splits", "25", "--permutations", "200", "--shift", "2", *out],
                package=studies) == 0  # fmt: skip
    assert "reused" in capsys.readouterr().out
    folder = tmp_path / "mt40k_topbotk"
    assert not (folder / "calibration.zarr").exists()
    table = pd.read_csv(folder / "calibration.csv")
    level = table[(table["measure"] == "false_positive_rate") & (table["correction"] == "none")]
    assert {"permutation", "welch", "mixed", "model: maximum", "layer: sum of squares"} <= set(level["test"])
    assert (level["low"] < 0.06).all()
    power = table[(table["measure"] == "power") & (table["correction"] == "none")].set_index("test")["estimate"]
    assert (power[["permutation", "welch", "mixed", "model: sum of squares"]] > 0.5).all()
    assert "layers-first" in set(table["correction"])
    text = (folder / "calibration.md").read_text()
    assert text.count("![") == 3
    assert (folder / "calibration.html").read_text().count('src="data:image/png') == 3
    # the run had a joint model, and so has its calibration
    further = {"equivalence", "covariate", "slope", "slope with covariate", "joint: condition by layer"}
    assert further <= set(level["test"])
    assert "What else a report says was tried on the same halves" in text
    assert "More than 1,440 relabelings" in text
    assert json.loads((folder / "calibration.json").read_text())["options"]["k"] == 150

    # another k must not replace the counts that the report stands on
    before = (folder / "counts.zarr" / "zarr.json").read_bytes()
    assert main(["calibrate", "mt40k_topbotk", "--k", "100", "--splits", "4", "--permutations", "50", *out],
                package=studies) == 0  # fmt: skip
    assert (folder / "counts.zarr" / "zarr.json").read_bytes() == before


def test_calibrate_needs_a_study(capsys):
    assert main(["calibrate"], package=studies) == 2
    assert "calibrate needs a study" in capsys.readouterr().err


@pytest.mark.parametrize("study", ["mt40k_topbotk", "concreteness_slope"])
def test_calibrate_offers_no_option_that_it_does_not_use(study, capsys):
    with pytest.raises(SystemExit):
        main(["calibrate", study, "--help"], package=studies)
    shown = set(re.findall(r"--([a-z-]+)", capsys.readouterr().out))
    assert not shown & {"correction", "covariates"}
    offered = {"repack", "joint", "margin", "side", "splits", "shift", "share", "permutations", "alpha", "seed", "out"}
    assert offered | {"max-length"} <= shown
    assert main(["calibrate", study, "--correction", "bh"], package=studies) == 2
    assert "unrecognized arguments: --correction" in capsys.readouterr().err


def test_a_run_that_tested_otherwise_counted_the_same():
    study = find_studies(studies).get("mt40k_topbotk")
    recorded = options_for(
        study, k=150, joint=True, alpha=0.01, correction="by", permutations=77, out="x", device="cpu"
    )
    options = chosen_options(study, {"splits": 9}, recorded)
    assert counts_as_recorded(study, options, recorded)
    assert (options.own["k"], options.alpha, options.splits) == (150, 0.01, 9)
    assert (options.permutations, options.device) == (5000, "auto")
    assert not counts_as_recorded(study, chosen_options(study, {"k": 100}, recorded), recorded)
    assert counts_as_recorded(study, chosen_options(study, {}, None), None)


def test_an_option_of_the_studys_own_that_calibrate_uses_itself_is_refused():
    study = Study(
        name="s", title="T", question="Q?", conditions=(Condition("a", "a"), Condition("b", "b")),
        build=lambda o, t: Material(()), options=(Option("share", natural, 1, "mine"),),
    )  # fmt: skip
    with pytest.raises(InputError, match="s has an option --share, which calibrate uses itself; rename it"):
        inherited_options(study)


def counted(design, rows, monkeypatch, *, n_tokens=3):
    """A study without a model: `rows` are fields of its sequences, their means and tokens random."""
    study = Study(
        name="s", title="T", question="Q?", conditions=(Condition("concrete", "a"), Condition("abstract", "b")),
        build=lambda o, t: Material(()), design=design,
    )  # fmt: skip
    sequences = tuple(
        Sequence(identifier=f"s{i}", words=("w",), text="w", token_ids=(1, 2, 3), word_index=(-1, 0, -1), covariates={},
                 **row)
        for i, row in enumerate(rows)
    )  # fmt: skip
    owner = np.repeat(np.arange(len(rows)), n_tokens)
    tokens = np.random.default_rng(1).normal(size=(len(owner), 4))
    means = np.array([tokens[owner == i].mean(axis=0) for i in range(len(rows))])
    monkeypatch.setattr(calibrated_side, "unit_means", lambda *given: means)
    monkeypatch.setattr(calibrated_side, "token_values", lambda *given: (tokens, owner))
    found = SimpleNamespace(
        contrasts=contrasts_of(study, sequences), material=SimpleNamespace(sequences=sequences),
        extraction=SimpleNamespace(dataset={"count": None}), options=OPTIONS,
    )  # fmt: skip
    return found, means, tokens, owner


OPTIONS = CalibrationOptions(side="b")
BOTH = ("concrete", "abstract")


def test_clusters_go_in_as_their_sequences_with_the_tokens_of_each(monkeypatch):
    rows = [{"condition": BOTH[i % 2], "cluster": f"c{i % 20}"} for i in (*range(40), 1, 3)]
    study, means, tokens, owner = counted(Design(clustered=True), rows, monkeypatch)
    side = side_of(study, None, OPTIONS)
    mine = [i for i, row in enumerate(rows) if row["condition"] == "abstract"]
    assert side.n_units == 10
    np.testing.assert_array_equal(side.values, means[mine])
    names = np.array([rows[i]["cluster"] for i in mine])
    assert all(len(set(names[side.cluster == code])) == 1 for code in range(10))
    assert side.contexts is None
    for row, i in enumerate(mine):
        given = np.asarray(side.tokens.values)
        np.testing.assert_array_equal(given[side.tokens.unit == row], tokens[owner == i])


def test_pairs_of_one_sequence_a_side_go_in_with_their_tokens(monkeypatch):
    rows = [{"condition": condition, "pair": f"p{i}"} for i in range(9) for condition in BOTH]
    study, means, tokens, owner = counted(Design(paired=True), rows, monkeypatch)
    side = side_of(study, None, OPTIONS)
    assert side.cluster is None
    np.testing.assert_array_equal(side.values, means[1::2])
    np.testing.assert_array_equal(side.tokens.values, tokens[owner % 2 == 1])
    np.testing.assert_array_equal(side.tokens.unit, np.repeat(np.arange(9), 3))


def test_pairs_of_several_sequences_go_in_as_sequence_means_with_their_contexts(monkeypatch):
    rows = [
        {"condition": condition, "pair": f"p{i}", "context": f"x{k}"}
        for i in range(8) for condition in BOTH for k in range(3)
    ]  # fmt: skip
    study, means, _, _ = counted(Design(paired=True), rows, monkeypatch)
    side = side_of(study, None, OPTIONS)
    mine = np.array([row["condition"] == "abstract" for row in rows])
    np.testing.assert_allclose(side.values, means[mine].reshape(8, 3, 4).mean(axis=1))
    np.testing.assert_array_equal(side.tokens.values, means[mine])
    np.testing.assert_array_equal(side.tokens.unit, np.repeat(np.arange(8), 3))
    assert side.tokens.nuisance.shape == (24, 2)
    np.testing.assert_array_equal(side.contexts.values, means[mine])
    np.testing.assert_array_equal(side.contexts.unit, np.repeat(np.arange(8), 3))
    np.testing.assert_array_equal(side.contexts.context, np.tile(np.arange(3), 8))
    held = side_of(study, None, replace(OPTIONS, covariates=("frequency",)))
    np.testing.assert_array_equal(held.contexts.unit, side.contexts.unit)
    np.testing.assert_array_equal(side.tokens.nuisance[:3], side.tokens.nuisance[3:6])


def test_contexts_of_unpaired_sequences_are_a_second_factor(monkeypatch):
    rows = [{"condition": BOTH[i % 2], "context": f"x{i // 2 % 3}"} for i in range(18)]
    study, _, _, owner = counted(Design(), rows, monkeypatch)
    side = side_of(study, None, OPTIONS)
    np.testing.assert_array_equal(side.tokens.crossed, (owner // 2 % 3)[owner % 2 == 1])


def test_contexts_by_another_name_are_a_second_factor_too(monkeypatch):
    rows = [{"condition": BOTH[i % 2], "context": f"x{i // 2 % 3}"} for i in range(18)]
    study, _, _, owner = counted(Design(context="clip"), rows, monkeypatch)
    side = side_of(study, None, OPTIONS)
    np.testing.assert_array_equal(side.tokens.crossed, (owner // 2 % 3)[owner % 2 == 1])


def test_clusters_crossed_with_clips_go_in_as_their_mixed_model_has_them(monkeypatch):
    rows = [
        {"condition": condition, "cluster": f"{condition}{i // 2}", "context": f"x{(i + shift) % 7}"}
        for shift, condition in enumerate(BOTH)
        for i in range(20)
    ]
    study, means, _, _ = counted(Design(clustered=True, unit="answer", context="clip"), rows, monkeypatch)
    side = side_of(study, None, OPTIONS)
    assert side.cluster is None
    assert side.n_units == 10
    np.testing.assert_allclose(side.values, means[20:].reshape(10, 2, -1).mean(axis=1))
    np.testing.assert_array_equal(side.tokens.values, means[20:])
    np.testing.assert_array_equal(side.tokens.unit, np.repeat(np.arange(10), 2))
    clips = pd.factorize(np.array([row["context"] for row in rows]))[0]
    np.testing.assert_array_equal(side.tokens.crossed, clips[20:])


def test_single_tokens_have_no_mixed_model_and_seven_units_no_calibration(monkeypatch):
    rows = [{"condition": BOTH[i % 2]} for i in range(16)]
    study, *_ = counted(Design(), rows, monkeypatch, n_tokens=1)
    assert side_of(study, None, OPTIONS).tokens is None
    study, *_ = counted(Design(), rows[:14], monkeypatch)
    with pytest.raises(InputError, match="condition abstract has 7 sequences"):
        side_of(study, None, OPTIONS)


def test_a_broken_promise_is_told_beside_what_chance_would_do():
    row = {"scenario": "null", "estimate": 0.2, "low": 0.1, "high": 0.3, "n_splits": 50, "nominal": 0.05}
    table = pd.DataFrame(
        [
            {"test": "permutation", "correction": "bh", "measure": "fwer", **row},
            {"test": "model: maximum", "correction": "none", "measure": "false_positive_rate", **row, "low": 0.04},
        ]
    )
    study = SimpleNamespace(name="s")
    contrast = SimpleNamespace(
        a=Condition("concrete", "a"), b=Condition("abstract", "b"), pair=None, unit="answer", predictor=None
    )
    options = CalibrationOptions(side="b", splits=50, covariates=("zipf",))
    record = CalibrationRecord("run it", options, ComparedModel("tiny", ""), 12, {})
    result = CalibrationResult(
        study=study, folder=None, table=table, contrast=contrast, n_units=12, n_heads=72, record=record
    )
    text = render_page(result, [])
    assert "Of 2 promised rates 1 lies above the nominal level α = .05 by more than its Monte Carlo interval" in text
    assert "permutation, bh (fwer, null)" in text
    assert "one rate in forty" in text
    assert "The 12 answers of the condition *abstract* were divided at random 50 times" in text
    assert "| model: maximum | 0.200 [0.040, 0.300] |\n" in text
    assert "covariates that the study adjusts for are left out" in text
    assert "The 6 and 6 units that are compared here can be relabelled in 924 ways, so that no permutation p is" in text


@pytest.mark.parametrize(
    ("n_units", "paired", "permutations", "told"),
    [
        # 2 / 2^6, 2 / C(12, 6), 1 / C(13, 6) and 1 / 501 times 72 heads
        (13, True, 500, "The 6 pairs that are compared here can be relabelled in 64 ways, so that no permutation p"),
        (12, False, 500, "The 6 and 6 units that are compared here can be relabelled in 924 ways, so that no"),
        (13, False, 500, "More than 1,440 relabelings (`--permutations`) would do."),
        (40, False, 500, "With 500 relabelings no permutation p is below 0.002,"),
        (40, False, 500, "More than 1,440 relabelings (`--permutations`) would do."),
        (40, True, 5000, ""),
        (40, False, 1440, ""),
    ],
)  # fmt: skip
def test_where_no_lone_head_can_be_found_the_calibration_says_what_would_do(n_units, paired, permutations, told):
    contrast = SimpleNamespace(pair=np.arange(n_units) if paired else None, predictor=None)
    options = CalibrationOptions(side="a", permutations=permutations)
    result = CalibrationResult(
        study=None, folder=None, table=pd.DataFrame({"test": []}), contrast=contrast, n_units=n_units, n_heads=72,
        record=CalibrationRecord("run it", options, ComparedModel("tiny", ""), n_units, {}),
    )  # fmt: skip
    text = " ".join(limitations(result))
    assert told in text
    assert ("understated" in text) == bool(told)


def test_contexts_stand_among_what_else_is_tried():
    row = {"scenario": "null", "estimate": 0.05, "low": 0.04, "high": 0.06, "n_splits": 50, "nominal": 0.05}
    table = pd.DataFrame(
        [
            {"test": "permutation", "correction": "max-t", "measure": "fwer", **row},
            {"test": "contexts", "correction": "none", "measure": "false_positive_rate", **row},
            {"test": "contexts", "correction": "max-t", "measure": "fwer", **row, "estimate": 0.045},
            {"test": "contexts: mixed model", "correction": "none", "measure": "false_positive_rate", **row},
        ]
    )
    contrast = SimpleNamespace(
        a=Condition("concrete", "a"), b=Condition("abstract", "b"), pair=np.arange(4) // 2, unit="pair",
        predictor=None, crossing=SimpleNamespace(item_name="word pair", context_name="carrier"),
    )  # fmt: skip
    record = CalibrationRecord("run it", CalibrationOptions(side="a"), ComparedModel("tiny", ""), 12, {})
    study = SimpleNamespace(name="s")
    result = CalibrationResult(
        study=study, folder=None, table=table, contrast=contrast, n_units=12, n_heads=72, record=record
    )
    text = render_page(result, [])
    assert "the tests over word pairs and *contexts* of a difference that is drawn anew for each carrier" in text
    assert "| contexts | 0.050 [0.040, 0.060] | 50 |\n" in text
    assert "| contexts: any head, by max-t | 0.045 [0.040, 0.060] | 50 |\n" in text
    assert "| contexts: mixed model | 0.050 [0.040, 0.060] | 50 |\n" in text
    assert "| contexts | max-t |" not in text
