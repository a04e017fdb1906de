"""``python -m studies compare`` on two real studies with the bundled encoder, and on bad input."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import studies
from metastable.cli import main
from metastable.files import sha256_of
from metastable.heads.finished_report import read_report
from metastable.report.markdown import as_text
from tests.report_folders import report_folder

KEYS = ["site", "layer", "head", "threshold"]
NAMES = ("mt40k_topbotk", "mt40k_matched")
MATCHED = ["--zipf", "0.1", "--high", "0.95", "--low", "0.2"]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        # the studies' own reports are tested elsewhere; drawing them takes most of a small run
        patch.setattr("metastable.runs.study.write_page", lambda result, *_: (result.folder / "report.md").touch())
        patch.setattr("metastable.runs.study.write_run_browser", lambda *_: None)
        for name, more in zip(NAMES, (["--k", "200"], MATCHED), strict=True):
            assert main([name, *more, "--permutations", "200", "--out", str(folder)], package=studies) == 0
    assert main(["compare", *NAMES, "--permutations", "500", "--out", str(folder)], package=studies) == 0
    return folder


@pytest.fixture(scope="module")
def folder(reports):
    return reports / "compare_mt40k_topbotk_mt40k_matched"


@pytest.fixture(scope="module")
def joined(folder):
    return pd.read_csv(folder / "heads.csv")


@pytest.fixture(scope="module")
def recipe(folder):
    return json.loads((folder / "run.json").read_text())


def test_the_joined_table_holds_what_the_studies_found(reports, joined):
    assert len(joined) == 72
    for side, name in zip(("first", "second"), NAMES, strict=True):
        # the second study is about another measure, and tests the count beside it
        heads, details = (
            pd.read_csv(reports / name / file).query("measure == 'count'").set_index(KEYS)
            for file in ("heads.csv", "details.csv")
        )
        mine = joined.set_index(KEYS)
        columns = {"size": "hedges_g", "estimate": "difference", "p_perm_fdr": "p_perm_fdr"}
        limits = {"size_low": "g_low", "size_high": "g_high"}
        for table, names in ((heads, columns), (details, limits)):
            for joint, column in names.items():
                np.testing.assert_array_equal(mine[f"{joint}_{side}"], table.loc[mine.index, column])


def test_the_correlation_is_that_of_the_table(folder, joined, recipe):
    r = stats.pearsonr(joined["size_first"], joined["size_second"]).statistic
    assert recipe["verdict"]["r"] == pytest.approx(r, abs=1e-12)
    verdict = (folder / "report.md").read_text().splitlines()[2]
    assert f"r = .{round(100 * r)} over 72 heads" in verdict
    assert recipe["verdict"]["p"] >= 1 / 501


def test_the_recipe_names_what_was_read_by_its_hash(reports, recipe):
    for side, name in zip(("first", "second"), NAMES, strict=True):
        part = recipe["comparison"][side]
        assert part["name"] == name
        assert part["sha256"] == {file: sha256_of(reports / name / file) for file in part["sha256"]}
        assert set(part["sha256"]) == {"run.json", "heads.csv", "details.csv", "sequences.parquet"}


def test_the_balance_is_the_one_that_the_study_saw(reports):
    balance = read_report(reports / "mt40k_matched").balance.set_index("covariate")
    # Words are matched one by one: what sequences repeat, and how alike their words are, is no part of that.
    of_sequences = ["distinct_pieces", "word_likeness"]
    assert balance.drop(of_sequences)["smd"].abs().max() < 0.1
    assert not balance.loc["word_likeness", "balanced"]
    raw = read_report(reports / "mt40k_topbotk")
    assert raw.balance.set_index("covariate")["smd"]["word_pieces"] < -1
    assert (
        "the effects are not on one scale"
        not in (reports / "compare_mt40k_topbotk_mt40k_matched" / "report.md").read_text()
    )


def test_the_report_shows_its_figures_and_how_to_make_it_again(folder, reports):
    text = (folder / "report.md").read_text()
    for stem in ("maps", "scatter", "profiles"):
        assert f"](figures/{stem}.png)" in text
        assert (folder / "figures" / f"{stem}.svg").is_file()
    assert f"python -m studies compare mt40k_topbotk mt40k_matched --permutations 500 --out {reports}" in text
    assert "the conditions are not alike in covariates of mt40k_topbotk" in text
    assert text.count("## ") == 7


def test_the_index_lists_studies_and_comparisons_apart(reports, recipe):
    known, listed = (reports / "README.md").read_text().split("## All reports")
    # maps of the count may agree in the sink, so it is said in what they agree
    assert "raw lists and matched lists agree in part (count: *r* = " in known
    above, below = listed.split("## Comparisons")
    assert "mt40k_matched/report.md" in above
    assert "compare_" not in above
    assert "[mt40k\\_topbotk against mt40k\\_matched](compare_mt40k_topbotk_mt40k_matched/report.md)" in below
    assert as_text(recipe["verdict"]["sentence"]) in below


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr("metastable.report.comparison.page.save_plates", lambda *_: None)


@pytest.mark.usefixtures("without_figures")
def test_one_study_in_two_folders_is_told_apart(capsys, tmp_path):
    for parent, weights in (("here", "a"), ("there", "b")):
        report_folder(tmp_path / parent / "one", weights=weights * 64, model=f"models/{parent}-model")
    paths = [str(tmp_path / parent / "one") for parent in ("here", "there")]
    out = tmp_path / "out"
    assert main(["compare", *paths, "--permutations", "50", "--out", str(out)], package=studies) == 0
    folder = out / "compare_one_here-model_there-model"
    assert (folder / "report.md").read_text().startswith("# one: here-model against there-model")
    assert "compare_one" in capsys.readouterr().out
    assert "| – | – |" in (out / "README.md").read_text()  # the index gives no r for heads that do not correspond


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "compare takes two reports, by name or folder, but none was given"),
        (["one"], "but 1 were given: one"),
        (["one", "two", "three"], "but 3 were given: one, two, three"),
        (["one", "one"], "given twice"),
        (
            ["one", "nothing"],
            "no report 'nothing' in reports and no such folder; reports holds half, one, two",
        ),
        (["one", "mt40k_matched"], "run it first: python -m studies mt40k_matched"),
        (["one", "half"], "is not finished: it lacks details.csv; run it first: python -m studies half"),
        (["one", "two", "--threshold", "0.5"], "--threshold 0.5: the first report has 0.9"),
        (["one", "two", "--name", "../two"], "cannot name a folder"),
        (["one", "two", "--name", "one"], "whose report would be lost"),
        (["one", "two", "--name", "mt40k_matched"], "whose report would be lost"),
        (["one", "two", "--alpha", "2"], "--alpha 2"),
        (["one", "two", "--k", "3"], "--k"),
    ],
)
def test_bad_input_gives_one_sentence_and_leaves_nothing(capsys, tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("one", "two", "half")):
        report_folder(tmp_path / "reports" / name, seed=seed)
    (tmp_path / "reports" / "half" / "details.csv").unlink()
    before = sorted(tmp_path.rglob("*"))
    assert main(["compare", *arguments], package=studies) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert err.startswith("error: ")
    assert complaint in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("without_figures")
def test_a_comparison_is_written_over_its_own_folder_only(tmp_path, capsys):
    for seed, name in enumerate(("one", "two")):
        report_folder(tmp_path / name, seed=seed)
    arguments = ["compare", "one", "two", "--out", str(tmp_path), "--name", "both", "--permutations", "50"]
    assert main(arguments, package=studies) == 0
    first = (tmp_path / "both" / "heads.csv").read_bytes()
    assert main(arguments, package=studies) == 0
    assert (tmp_path / "both" / "heads.csv").read_bytes() == first
    shutil.rmtree(tmp_path / "one")
    assert main(arguments, package=studies) == 2
    assert (tmp_path / "both" / "heads.csv").read_bytes() == first
    capsys.readouterr()
