"""The plan of faults to plant names files and tests that are there."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLAN = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text(encoding="utf-8"))


def test_every_file_and_every_test_of_the_plan_is_there():
    named = {*PLAN["tests"], *(test for tests in PLAN["tests"].values() for test in tests)}
    assert sorted(path for path in named if not (ROOT / path).is_file()) == []
