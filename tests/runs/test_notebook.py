from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.figure import Figure

import metastable
import studies.null_split
from metastable.cli import main
from metastable.errors import InputError
from metastable.heads.record import RunRecord

pytestmark = pytest.mark.usefixtures("undrawn_within")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("notebook")
    found = metastable.run("mt40k_topbotk", progress=False, k=60, permutations=99, out=out)
    assert found is not None
    return found


def test_the_tables_are_those_of_the_files(result):
    written = pd.read_csv(result.report.with_name("heads.csv"))
    pd.testing.assert_frame_equal(result.heads.reset_index(drop=True), written, check_dtype=False)
    assert len(result.layers) == 6 * result.heads["measure"].nunique()
    assert result.heads.attrs["conditions"] == ["concrete", "abstract"]


def test_the_verdict_is_that_of_the_record(result):
    assert result.verdict == RunRecord.read(result.report.with_name("run.json")).verdict
    assert str(result).startswith(result.verdict.sentence)


def test_every_figure_of_the_report_is_drawn_by_its_name(result):
    shown = result.report.read_text(encoding="utf-8")
    assert all(f"figures/{name}.png" in shown for name in result.figures)
    assert isinstance(result.figure("summary"), Figure)
    with pytest.raises(InputError, match="did you mean 'summary'"):
        result.figure("sumary")


def test_a_notebook_shows_the_verdict_and_where_the_report_lies(result):
    html = result._repr_html_()
    assert "72 heads" in html
    assert str(result.report) in html
    assert len(html) < 2000


def test_the_report_says_the_call_that_makes_it_again(result):
    assert "metastable.run('mt40k_topbotk', k=60, permutations=99" in result.report.read_text(encoding="utf-8")


def test_a_study_itself_may_be_given(tmp_path):
    found = metastable.run(studies.null_split.STUDY, progress=False, k=40, permutations=99, out=str(tmp_path))
    assert found.report == tmp_path / "null_split" / "report.md"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mt40k_topbot", {}, "did you mean 'mt40k_topbotk'"),
        ("mt40k_topbotk", {"permutation": 99}, "did you mean 'permutations'"),
        ("mt40k_topbotk", {"alpha": 5}, "between 0 and 1"),
        ("mt40k_topbotk", {"permutations": 1}, "never below --alpha"),
        ("mt40k_topbotk", {"norms": "nowhere.csv"}, "there is no such file"),
    ],
)
def test_what_the_command_refuses_is_refused_before_anything_is_written(tmp_path, name, options, words):
    with pytest.raises(InputError, match=words):
        metastable.run(name, progress=False, out=str(tmp_path), **options)
    assert not list(tmp_path.iterdir())


def test_the_errors_are_those_of_the_command(capsys):
    with pytest.raises(InputError) as refused:
        metastable.run("mt40k_topbot")
    assert main(["mt40k_topbot"], package=studies) == 2
    assert str(refused.value) in " ".join(capsys.readouterr().err.split())
