"""Words read in several packings, from the command to the report, on real words and the bundled encoder."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import studies
from metastable.cli import main
from metastable.extraction.store import load_counts
from metastable.heads.finished_report import read_report
from metastable.stats.analysis import primary

pytestmark = pytest.mark.usefixtures("undrawn_within")

ARGUMENTS = ["--packings", "3", "--permutations", "300"]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    assert main(["mt40k_topbotk", "--k", "120", *ARGUMENTS, "--out", str(folder)], package=studies) == 0
    return folder


@pytest.fixture(scope="module")
def folder(reports):
    return reports / "mt40k_topbotk"


def test_the_word_is_the_unit_and_its_means_are_those_of_its_rows(folder):
    heads = primary(pd.read_csv(folder / "heads.csv"))
    sequences = pd.read_parquet(folder / "sequences.parquet")
    cube = load_counts(folder / "counts.zarr")
    assert heads["n_a"].unique().tolist() == [120]
    assert sequences["packing"].unique().tolist() == ["1", "2", "3"]
    assert cube["packing"].to_numpy().tolist() == sequences["packing"].tolist()
    count = cube["count"].to_numpy()[:, 0, 2, 5, 0, :].astype(float)
    rows = []
    for number, (condition, index, text) in enumerate(
        sequences[["condition", "word_index", "text"]].itertuples(index=False)
    ):
        for place, word in enumerate(text.split(" ")):
            mine = np.flatnonzero(np.array(index) == place)
            rows.append((condition, word, count[number, mine].mean()))
    means = pd.DataFrame(rows, columns=["condition", "word", "mean"]).groupby(["condition", "word"])["mean"].mean()
    one = heads[(heads["layer"] == 3) & (heads["head"] == 6)].iloc[0]
    assert one["mean_a"] == pytest.approx(means["concrete"].mean())
    assert one["mean_b"] == pytest.approx(means["abstract"].mean())


def test_the_table_has_every_head_of_every_packing_and_the_words(folder):
    table = pd.read_csv(folder / "packings.csv", dtype={"packing": str})
    assert table.groupby("packing").size().to_dict() == {"1": 72, "2": 72, "3": 72, "all": 72}
    heads = primary(pd.read_csv(folder / "heads.csv"))
    words = table[table["packing"] == "all"]
    for column in ("difference", "hedges_g", "p_perm", "verdict"):
        assert words[column].tolist() == heads[column].tolist()
    assert words["design_effect"].min() >= 1
    assert table.loc[table["packing"] != "all", "design_effect"].isna().all()
    assert table.groupby("packing")["unit"].first().to_dict() == {**dict.fromkeys("123", "sequence"), "all": "word"}


def test_the_report_says_what_the_unit_is_and_how_verdicts_move(folder):
    text = (folder / "report.md").read_text()
    assert "The word is the unit of inference." in text
    assert "averaged over the rows of its pieces and then over the 3 packings" in text
    assert "each read in 3 random packings" in text
    assert re.search(r"\| words \| 120 \| 120 \|", text)
    assert re.search(r"\| sequences of all 3 packings \|", text)
    assert "All 3 packings give the same verdict on" in text
    assert "concrete and abstract words in" in text
    assert "another shuffle of the same words" in text
    assert "Special tokens query like any other" not in text
    assert "a word gives one value, its mean over packings" in text
    assert (folder / "figures" / "packings.png").stat().st_size > 1000
    assert json.loads((folder / "run.json").read_text())["contrast"]["unit"] == "word"
    assert read_report(folder).record.contrast.unit == "word"


def test_pairs_of_words_are_the_units_of_a_matched_study(reports):
    assert main(["mt40k_matched", *ARGUMENTS, "--high", "0.97", "--low", "0.2", "--out", str(reports)],
                package=studies) == 0  # fmt: skip
    folder = reports / "mt40k_matched"
    text = (folder / "report.md").read_text()
    assert "The word pair is the unit of inference." in text
    heads = primary(pd.read_csv(folder / "heads.csv"))
    pairs = pd.read_parquet(folder / "sequences.parquet")
    assert heads["n_a"].iloc[0] == len({word for text in pairs.loc[pairs["condition"] == "concrete", "text"]
                                        for word in text.split(" ")})  # fmt: skip
    table = pd.read_csv(folder / "packings.csv")
    assert set(table["unit"]) == {"sequence pair", "word pair"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mt40k_topbotk", "--order", "rating"], "all packings would be the same"),
        (["mt40k_topbotk", "--k", "60", "--queries", "special"], "leave --queries out"),
        (["mt40k_topbotk", "--k", "60", "--joint"], "takes sequences for draws"),
        (["mt40k_topbotk", "--k", "60", "--covariates", "tokens"], "there is no such covariate"),
    ],
)
def test_what_several_packings_cannot_answer_is_refused(arguments, message, tmp_path, capsys):
    assert main([*arguments, "--packings", "2", "--out", str(tmp_path)], package=studies) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_what_describes_sequences_is_no_covariate_of_words(folder, tmp_path, capsys):
    """Each packing by itself is described as a run of one packing is; the words have their own covariates alone."""
    sequences = pd.read_parquet(folder / "sequences.parquet")
    assert sequences[["distinct_pieces", "word_likeness"]].notna().all(axis=None)
    assert "likeness of its words" not in (folder / "report.md").read_text(encoding="utf-8")
    wanted = ["mt40k_topbotk", "--k", "120", *ARGUMENTS, "--covariates", "word_likeness", "--out", str(tmp_path)]
    assert main(wanted, package=studies) == 2
    assert "--covariates word_likeness: there is no such covariate" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
