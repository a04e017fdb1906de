"""The index of all reports, rewritten by each run."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from metastable.files import write_text
from metastable.report.markdown import as_text

__all__ = ["write_index"]

_HEADER = """# Reports

Each folder holds one report with its figures and tables. The verdict of a head is *different* (permutation test, false
discovery rate), *equivalent* (two one-sided tests against the smallest effect of interest) or *undecided*. This page is
rewritten by each run.

| report | verdict | different | equivalent | undecided | model |
| --- | --- | ---: | ---: | ---: | --- |
"""


def _row(folder: Path) -> str | None:
    path = folder / "run.json"
    if not (folder / "report.md").is_file() or not path.is_file():
        return None
    recipe = json.loads(path.read_text(encoding="utf-8"))
    verdict = recipe.get("verdict")
    if verdict is None:
        return None
    numbers = " | ".join(str(verdict[name]) for name in ("different", "equivalent", "undecided"))
    title, sentence, model = map(as_text, (recipe["title"], verdict["sentence"], recipe["model"]["id"]))
    return f"| [{title}]({quote(folder.name)}/report.md) | {sentence} | {numbers} | {model} |\n"


def write_index(reports: Path) -> Path:
    """Write README.md over all reports of a folder.

    Parameters
    ----------
    reports : Path
        The folder that holds a folder for each report.

    Returns
    -------
    Path
        The file written.
    """
    rows = [_row(folder) for folder in sorted(reports.iterdir()) if folder.is_dir()]
    path = reports / "README.md"
    write_text(path, _HEADER + "".join(row for row in rows if row))
    return path
