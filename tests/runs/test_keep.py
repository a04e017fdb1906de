"""A run that keeps the means of sequences alone: the same tests, and a report that says what it lacks."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.runs.study import run_study
from metastable.study import Options
from metastable.study.definition import View
from metastable.study.registry import find_studies

pytestmark = pytest.mark.usefixtures("undrawn_figures")

ARGUMENTS = ["mt40k_topbotk", "--k", "100", "--permutations", "200"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {}
    for keep in ("tokens", "means"):
        folder = tmp_path_factory.mktemp(keep)
        assert main([*ARGUMENTS, "--keep", keep, "--out", str(folder)], package=studies) == 0
        found[keep] = folder / "mt40k_topbotk"
    return SimpleNamespace(**found)


def test_the_tests_of_sequences_are_the_same(folders):
    tokens, means = (pd.read_csv(folder / "heads.csv") for folder in (folders.tokens, folders.means))
    mixed = [column for column in tokens if column.startswith("lmm")]
    assert means[mixed].isna().all(axis=None)
    assert not tokens[mixed].isna().all(axis=None)
    others = [column for column in tokens if column not in mixed and not column.startswith("median")]
    pd.testing.assert_frame_equal(tokens[others], means[others], check_exact=True)


def test_the_report_says_what_it_lacks(folders):
    text = (folders.means / "report.md").read_text()
    assert "This run kept the means of sequences alone (`--keep means`)" in text
    assert "there is no mixed model, since the values of tokens were not kept (`--keep means`)" in text
    assert "figures/violins" not in text
    assert "figures/modes" not in text
    assert "The founding figure" not in text
    assert "nan" not in text.replace("Finance", "").split()
    assert not (folders.means / "modes.csv").exists()
    assert "--keep means" not in (folders.tokens / "report.md").read_text()
    assert json.loads((folders.means / "run.json").read_text())["extraction"]["kernel"].startswith("compiled")


def test_the_cube_takes_a_fraction_of_the_room(folders):
    def size(folder):
        return sum(file.stat().st_size for file in (folder / "counts.zarr").rglob("*") if file.is_file())

    assert size(folders.means) < size(folders.tokens) / 3


def test_views_of_target_words_are_refused_before_anything_is_loaded(tmp_path):
    study = find_studies(studies).studies["mt40k_topbotk"]
    view = View("targets", "Of the words", measure="count", targets_query=True)
    study = replace(study, views=(view,))
    with pytest.raises(InputError, match=r"--keep means: view 'targets' of study 'mt40k_topbotk' is of the tokens"):
        run_study(study, Options(keep="means", out=str(tmp_path), own={"k": 60}))


def test_packings_are_refused_before_the_model_is_loaded(tmp_path, capsys):
    assert main([*ARGUMENTS, "--packings", "2", "--keep", "means", "--out", str(tmp_path)], package=studies) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--packings 2 with --keep means: a word's value is that of the tokens of its own pieces" in said
    assert "leave one out" in said
    assert not list(tmp_path.iterdir())


def test_a_calibration_says_that_it_tries_no_mixed_model(folders, tmp_path, capsys):
    shutil.copytree(folders.means, tmp_path / "mt40k_topbotk")
    typed = ["calibrate", *ARGUMENTS, "--keep", "means", "--splits", "3", "--out", str(tmp_path)]
    assert main(typed, package=studies) == 0
    assert "reused" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "mt40k_topbotk" / "calibration.csv")
    assert "welch" in set(table["test"])
    assert "mixed" not in set(table["test"])
    text = (tmp_path / "mt40k_topbotk" / "calibration.md").read_text()
    assert "(`--keep means`), so that no mixed model of tokens is tried" in text


def test_a_sweep_tests_the_same_of_both(tmp_path):
    typed = ["sweep", *ARGUMENTS, "--keep", "tokens", "means", "--out", str(tmp_path)]
    assert main(typed, package=studies) == 0
    table = pd.read_csv(tmp_path / "mt40k_topbotk_sweep" / "heads.csv")
    tokens, means = (table[table["keep"] == keep].reset_index(drop=True) for keep in ("tokens", "means"))
    np.testing.assert_array_equal(tokens["p_perm"], means["p_perm"])


def test_reports_of_both_are_compared(folders, tmp_path):
    assert main(["compare", str(folders.tokens), str(folders.means), "--out", str(tmp_path)], package=studies) == 0
    (report,) = tmp_path.glob("compare_*/report.md")
    assert "| keep | tokens | means |" in report.read_text()


def test_the_browser_says_where_distributions_would_be(folders):
    page = (folders.means / "heads.html").read_text()
    assert "No values of tokens were kept, so there are no distributions." in page
    assert '"most_bars":0' in page
    assert '"most_bars":0' not in (folders.tokens / "heads.html").read_text()
