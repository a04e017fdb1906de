"""The wheel in an environment of its own and an empty folder: every command runs there as it does in the repository."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def build(folder):
    """Build the wheel; with the build backend that is installed, or else with one that pip fetches."""
    there = importlib.util.find_spec("hatchling") is not None
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
        + ["--no-build-isolation"] * there,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not there:
        pytest.skip(
            f"no wheel can be built: hatchling is neither installed nor to be had ({done.stderr.strip()[-300:]})"
        )
    assert done.returncode == 0, done.stderr
    (wheel,) = Path(folder).glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Make an environment that sees all that is installed here but metastable, and has the wheel."""
    home = tmp_path_factory.mktemp("environment")
    wheel = build(tmp_path_factory.mktemp("wheel"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    (packages,) = home.rglob("site-packages")
    # a path in a .pth file is searched last, and .pth files there (that of an editable install) are not read
    (packages / "installed_here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--force-reinstall", wheel], check=True)
    return python.parent


def call(home, folder, *words):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(home / words[0]), *words[1:]]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def run(home, folder, *words):
    done = call(home, folder, *words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_what_runs_is_the_wheel(home, tmp_path):
    code = "import metastable, studies; print(metastable.__file__, studies.__file__, metastable.stats.__all__)"
    out = run(home, tmp_path, "python", "-c", code)
    assert str(ROOT) not in out
    assert "permutation_test" in out


@pytest.mark.parametrize("words", [("metastable",), ("python", "-m", "studies")])
def test_both_commands_list_the_studies_and_call_themselves_as_they_were_called(home, tmp_path, words):
    out = run(home, tmp_path, *words, "list")
    assert "mt40k_topbotk" in out
    assert f"{' '.join(words)} STUDY" in out
    assert run(home, tmp_path, *words, "--version").startswith("metastable ")


def test_the_founding_study_runs_to_a_report_in_an_empty_folder(home, tmp_path):
    run(home, tmp_path, "metastable", "mt40k_topbotk", "--k", "300", "--permutations", "500")
    report = tmp_path / "reports" / "mt40k_topbotk"
    assert len(pd.read_csv(report / "heads.csv")) == 4 * 72
    assert "\nmetastable mt40k_topbotk --k 300 --permutations 500\n" in (report / "report.md").read_text(
        encoding="utf-8"
    )
    assert (report / "figures" / "summary.png").stat().st_size > 1000


def test_a_new_study_runs_by_both_commands_and_passes_its_test(home, tmp_path):
    assert "metastable animals" in run(home, tmp_path, "metastable", "new", "animals")
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert written == ["studies/animals.py", "tests/studies/test_animals.py"]
    assert not any(str(tmp_path) in (tmp_path / path).read_text(encoding="utf-8") for path in written)
    run(home, tmp_path, "metastable", "animals", "--permutations", "200")
    assert (tmp_path / "reports" / "animals" / "report.md").is_file()
    assert "--max-length" in run(home, tmp_path, "python", "-m", "studies", "animals", "--help")
    assert "3 passed" in run(home, tmp_path, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")


def test_a_package_of_that_name_in_the_way_is_named(home, tmp_path):
    run(home, tmp_path, "metastable", "new", "animals")
    (tmp_path / "studies" / "__init__.py").touch()
    out = " ".join(run(home, tmp_path, "metastable", "list").split())
    assert "animals" in out
    assert f"remove {Path('studies', '__init__.py')}" in out
    assert call(home, tmp_path, "python", "-m", "studies", "list").returncode != 0
