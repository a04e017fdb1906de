"""Which room may import which, and that a module is found by its name."""

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "metastable"

# The same role bears the same name in every room of report/.
ROLES = {"page", "plates", "sentences"}


def lint(root, *arguments):
    """The import contracts of a source tree, checked in a process that finds this tree first."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    return subprocess.run(
        [*command, "--no-cache", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in ("src/metastable", "studies"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_all_imports_keep_the_contracts():
    found = lint(ROOT)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("contract", "path", "planted"),
    [
        ("layers", "src/metastable/heads/modes.py", "from metastable.report.apa import format_g"),
        ("layers", "src/metastable/stats/verdict.py", "from metastable.files import write_text"),
        ("layers", "src/metastable/report/apa.py", "if 0:\n    from metastable.runs.clock import Clock"),
        ("layers", "src/metastable/study/options.py", "if TYPE_CHECKING:\n    import metastable.cli"),
        ("circles", "src/metastable/heads/sweep_run.py", "from metastable.heads.sweep_tables import KIND_AXES"),
        ("report", "src/metastable/report/run/page.py", "from metastable.extraction import extract"),
        ("cli", "src/metastable/runs/study.py", "def later():\n    from metastable.cli import main"),
        ("studies", "studies/mt40k_topbotk.py", "from metastable.runs.study import run_study"),
    ],
)  # fmt: skip
def test_an_import_that_runs_back_up_is_reported(copy, contract, path, planted):
    module = copy / path
    before = module.read_text()
    module.write_text(f"{before}\n{planted}\n")
    try:
        found = lint(copy, "--contract", contract)
    finally:
        module.write_text(before)
    assert found.returncode == 1
    assert f".{Path(path).stem}" in found.stdout
    assert "1 broken" in found.stdout


def test_no_two_modules_share_a_name():
    homes = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        homes[path.stem].append(path.relative_to(SOURCE))
    shared = {name: paths for name, paths in homes.items() if len(paths) > 1 and name != "__init__"}
    for role in ROLES:
        assert {path.parent.parent for path in shared.pop(role)} == {Path("report")}
    assert shared == {}


def test_every_room_of_the_report_has_each_role():
    rooms = [path for path in (SOURCE / "report").iterdir() if (path / "__init__.py").is_file()]
    assert {path.name for path in rooms} == {"run", "comparison", "sweep", "calibration", "models"}
    assert {(path.name, role) for path in rooms for role in ROLES if not (path / f"{role}.py").is_file()} == set()
