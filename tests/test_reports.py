"""What is committed of each report belongs to it: a figure that a later run no longer draws is not left behind."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Written by hand, and made of all reports together.
_OF_ALL = {"README.md", "renew.sh"}


def committed() -> list[Path]:
    if shutil.which("git") is None:
        return []
    listed = subprocess.run(
        ["git", "ls-files", "reports"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()  # fmt: skip
    return [Path(name).relative_to("reports") for name in listed]


def owned(folder: Path) -> set[str]:
    """Names of the files that the records of a folder name, and of the records."""
    names: set[str] = set()
    for record in (folder / "run.json", folder / "calibration.json"):
        if record.is_file():
            names |= {record.name, *json.loads(record.read_text(encoding="utf-8")).get("files", {})}
    return names


def test_every_committed_file_is_one_of_its_record():
    files = committed()
    if not files:
        pytest.skip("this is no checkout of the repository")
    reports = ROOT / "reports"
    for file in files:
        if str(file) in _OF_ALL:
            continue
        record = next(reports / one for one in file.parents if (reports / one / "run.json").is_file())
        assert (reports / file).relative_to(record).as_posix() in owned(record), file
