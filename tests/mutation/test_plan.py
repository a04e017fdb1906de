"""The plan of faults to plant names files and tests that are there, and leaves out no file that it should have."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLAN = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text(encoding="utf-8"))


def test_every_file_and_every_test_of_the_plan_is_there():
    named = {test for tests in PLAN["tests"].values() for test in tests}
    files = {*PLAN["tests"], *(test.partition("::")[0] for test in named)}
    assert sorted(path for path in files if not (ROOT / path).is_file()) == []
    single = [test.partition("::")[::2] for test in named if "::" in test]
    assert [name for path, name in single if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")] == []


def test_every_file_of_statistics_and_counting_has_its_tests():
    folders = (ROOT / "src" / "metastable" / room for room in ("stats", "extraction"))
    files = {str(file.relative_to(ROOT)) for folder in folders for file in folder.rglob("*.py")}
    assert sorted(file for file in files - {*PLAN["tests"]} if not file.endswith("__init__.py")) == []
