"""A run that keeps the means of sequences alone: the same tests, and a report that says what it lacks."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.runs.study import run_study
from metastable.study import Options
from metastable.study.definition import View
from metastable.study.registry import find_studies

ARGUMENTS = ["mt40k_topbotk", "--k", "60", "--permutations", "200"]


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
