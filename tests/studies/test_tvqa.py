"""Both TVQA studies on real questions, which users bring themselves."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM

import metastable
import studies
from metastable.cli import main
from metastable.heads.cube import feature_table, unit_means
from metastable.stats.analysis import of_primary_measure
from tests.model_folders import model_folder

DATA = Path(os.environ.get("METASTABLE_DATA", Path(__file__).parents[3] / "shared" / "data"))
FILE = DATA / "tvqa_plus_val.jsonl"
pytestmark = [
    pytest.mark.skipif(not FILE.is_file(), reason=f"{FILE.name} is not at {DATA}; set METASTABLE_DATA"),
    pytest.mark.usefixtures("undrawn_figures"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of few heads, where the material and the design are looked at and not the numbers."""
    folder = tmp_path_factory.mktemp("model") / "bert"
    model_folder(folder, "bert")
    return str(folder)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    options = ["--tvqa", str(FILE), "--permutations", "500", "--out", str(folder)]
    assert main(["tvqa_answers", *options], package=studies) == 0
    return folder / "tvqa_answers"


def test_the_questions_are_those_that_the_data_hold(answers):
    sequences = pd.read_parquet(answers / "sequences.parquet")
    assert sequences["condition"].value_counts().to_dict() == {"concrete": 56, "abstract": 43}
    assert sequences["n_tokens"].max() == 20
    notes = " ".join(json.loads((answers / "run.json").read_text())["notes"])
    for text in ("286 of 3,017", "2,530", "613", "cut to 20 tokens", "penny"):
        assert text in notes


def test_the_answer_is_the_unit(answers):
    sequences = pd.read_parquet(answers / "sequences.parquet")
    heads = of_primary_measure(pd.read_csv(answers / "heads.csv"))
    units = sequences.groupby("condition")["cluster"].nunique()
    assert heads["n_a"].unique().tolist() == [units["concrete"]]
    assert heads["n_b"].unique().tolist() == [units["abstract"]]
    assert units["concrete"] < 56
    assert "56" in (answers / "report.md").read_text()


def test_answer_and_clip_are_both_random_in_the_mixed_model(answers):
    assert "mean count ~ condition + (1 | answer) + (1 | clip)" in (answers / "report.md").read_text()
    sequences = pd.read_parquet(answers / "sequences.parquet")
    cube = metastable.load_counts(answers / "counts.zarr")
    features = feature_table(cube)
    heads = of_primary_measure(pd.read_csv(answers / "heads.csv")).nlargest(3, "statistic")
    values = unit_means(cube, features, 0.9)
    table = sequences.assign(a=(sequences["condition"] == "concrete").astype(float), all=1)
    for place, head in heads.iterrows():
        model = MixedLM.from_formula(
            "value ~ a",
            table.assign(value=values[:, place]),
            groups="all",
            re_formula="0",
            vc_formula={"answer": "0 + C(cluster)", "clip": "0 + C(context)"},
        )
        fit = model.fit(reml=True, method="lbfgs")
        assert head["lmm_estimate"] == pytest.approx(fit.params["a"], abs=2e-3)
        # statsmodels inverts the Hessian of all parameters together
        assert head["lmm_se"] == pytest.approx(fit.bse["a"], rel=3e-2)


def test_each_sequence_begins_with_its_answer(answers):
    sequences = pd.read_parquet(answers / "sequences.parquet")
    for row in sequences.itertuples():
        assert row.text.lower().startswith(str(row.cluster).split()[0])
        assert list(row.target) == list(range(len(row.target)))


def test_two_segments(tmp_path, tiny):
    options = ["--tvqa", str(FILE), "--permutations", "100", "--pair-encoding", "--model", tiny, "--out", str(tmp_path)]
    assert main(["tvqa_answers", *options], package=studies) == 0
    sequences = pd.read_parquet(tmp_path / "tvqa_answers" / "sequences.parquet")
    assert all(set(segments) == {0, 1} for segments in sequences["segment_ids"])


def test_pools_make_a_two_by_two_design(tmp_path, tiny):
    options = [
        "--tvqa",
        str(FILE),
        "--permutations",
        "200",
        "--pool-size",
        "4",
        "--model",
        tiny,
        "--out",
        str(tmp_path),
    ]
    assert main(["tvqa_pools", *options], package=studies) == 0
    folder = tmp_path / "tvqa_pools"
    sequences = pd.read_parquet(folder / "sequences.parquet")
    assert len(sequences) == 2 * (56 + 43)
    assert sequences.groupby(["condition", "level"]).size().tolist() == [43, 43, 56, 56]
    for name in ("heads", "heads_condition", "heads_interaction"):
        assert len(of_primary_measure(pd.read_csv(folder / f"{name}.csv"))) == 8
    pool, interaction = pd.read_csv(folder / "heads.csv"), pd.read_csv(folder / "heads_interaction.csv")
    assert pool["n_a"].iloc[0] == interaction["n_a"].iloc[0] + interaction["n_b"].iloc[0]
    assert "contrasts.png" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["tvqa_answers"], "needs TVQA's question files by --tvqa"),
        (["tvqa_answers", "--tvqa", "none.jsonl"], "none.jsonl"),
        (["tvqa_answers", "--tvqa", str(FILE), "--low", "0.99"], "is not below --high"),
        (["tvqa_pools", "--tvqa", str(FILE), "--pool-size", "500"], "--pool-size 500"),
        (["tvqa_pools"], "mt40k_topbotk runs without any file"),
    ],
)
def test_what_is_missing_is_said(capsys, arguments, complaint):
    assert main(arguments, package=studies) == 2
    assert complaint in " ".join(capsys.readouterr().err.split())
