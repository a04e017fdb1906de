"""The index of all reports, rewritten by each run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from metastable.files import write_text
from metastable.report.apa import format_p, format_r
from metastable.report.markdown import as_text

__all__ = ["write_index"]

_HEADER = """# Reports

Each folder holds one report with its figures and tables. The verdict of a head is *different* (permutation test, false
discovery rate), *equivalent* (two one-sided tests against the smallest effect of interest) or *undecided*. This page is
rewritten by each run.

| report | verdict | different | equivalent | undecided | model |
| --- | --- | ---: | ---: | ---: | --- |
"""

_COMPARISONS = """
## Comparisons

Two reports side by side: *r* is the correlation of their effect maps over heads, *p* its permutation p with heads
permuted over the whole map; a dash where the heads of two models do not correspond.

| comparison | verdict | *r* | *p* |
| --- | --- | ---: | ---: |
"""


def _recipe(folder: Path) -> dict[str, Any] | None:
    """Return the recipe of a folder whose report is finished."""
    path = folder / "run.json"
    if not (folder / "report.md").is_file() or not path.is_file():
        return None
    recipe: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return recipe if recipe.get("verdict") is not None else None


def _row(folder: Path, recipe: Mapping[str, Any]) -> str:
    verdict = recipe["verdict"]
    numbers = " | ".join(str(verdict[name]) for name in ("different", "equivalent", "undecided"))
    title, sentence, model = map(as_text, (recipe["title"], verdict["sentence"], recipe["model"]["id"]))
    return f"| [{title}]({quote(folder.name)}/report.md) | {sentence} | {numbers} | {model} |\n"


def _comparison_row(folder: Path, recipe: Mapping[str, Any]) -> str:
    verdict = recipe["verdict"]
    known = recipe["relation"] == "same heads" and verdict["r"] is not None
    r, p = (verdict["r"], verdict["p"]) if known else (math.nan, math.nan)
    title, sentence = as_text(recipe["title"]), as_text(verdict["sentence"])
    return f"| [{title}]({quote(folder.name)}/report.md) | {sentence} | {format_r(r)} | {format_p(p)} |\n"


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
    found = [(folder, _recipe(folder)) for folder in sorted(reports.iterdir()) if folder.is_dir()]
    finished = [(folder, recipe) for folder, recipe in found if recipe is not None]
    studies = [_row(folder, recipe) for folder, recipe in finished if "comparison" not in recipe]
    comparisons = [_comparison_row(folder, recipe) for folder, recipe in finished if "comparison" in recipe]
    path = reports / "README.md"
    text = _HEADER + "".join(studies)
    write_text(path, text + _COMPARISONS + "".join(comparisons) if comparisons else text)
    return path
