import subprocess
import sys
from pathlib import Path

import pytest

import studies
from metastable.cli import main

ROOT = Path(__file__).parents[2]


def run(capsys, *arguments):
    code = main(list(arguments), package=studies)
    captured = capsys.readouterr()
    return code, captured.out, " ".join(captured.err.split())


@pytest.mark.parametrize("arguments", [(), ("list",), ("--help",)])
def test_the_studies_are_listed(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert code == 0
    assert "mt40k_topbotk" in out
    assert not err


def test_help_shows_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["mt40k_topbotk", "--help"], package=studies)
    out = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for text in ("--k K", "(default: 3000)", "(default: 0.9)", "{auto,cpu,cuda,mps}", "(default: reports)"):
        assert text in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["mt40k_topbot"], "there is no study 'mt40k_topbot'; did you mean 'mt40k_topbotk'"),
        (["list", "more"], "leave it out"),
        (["mt40k_topbotk", "--K", "3"], "unrecognized arguments: --K 3"),
        (["mt40k_topbotk", "--k"], "--k: expected one argument"),
        (["mt40k_topbotk", "--k", "0"], "--k 0: 0 is below 1"),
        (["mt40k_topbotk", "--k", "30000"], "k is 30,000, but the norms hold 37,058 words"),
        (["mt40k_topbotk", "--threshold", "1.5"], "--threshold 1.5"),
        (["mt40k_topbotk", "--max-length", "2"], "too short for one word"),
        (["mt40k_topbotk", "--max-length", "5000"], "--max-length 5000: all-MiniLM-L6-v2 reads at most 512 tokens"),
        (["mt40k_topbotk", "--k", "100", "--covariates", "colour"], "--covariates colour: there is no such covariate"),
        (["mt40k_topbotk", "--norms", "no_such_file.csv"], "no_such_file.csv"),
        (["mt40k_topbotk", "--model", "./no_such_folder"], "no_such_folder"),
        (["mt40k_topbotk", "--k", "100", "--device", "cuda"], "cuda"),
        (["mt40k_topbotk", "--k", "100", "--out", "{file}"], "by --out"),
    ],
)
def test_bad_input_gives_one_sentence_and_leaves_nothing(capsys, tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    code, _, err = run(capsys, *(text.format(file="file") for text in arguments))
    assert code == 2
    assert complaint in err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [tmp_path / "file"]


def test_python_m_studies_exits_with_two(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "studies", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no study 'nothing'")


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("metastable.cli.dispatch.find_studies", interrupt)
    code, _, err = run(capsys, "list")
    assert code == 130
    assert "same command" in err
