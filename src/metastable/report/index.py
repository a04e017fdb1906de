"""The index of all reports, rewritten by each run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from metastable.errors import InputError
from metastable.files import locked, sweep_temporary, write_text
from metastable.heads.record import ComparisonRecord, RunRecord, SweepRecord, read_record, require_whole
from metastable.report.apa import format_p, format_r
from metastable.report.markdown import as_text

__all__ = ["write_index"]

# Seconds; an index takes far less.
_PATIENCE = 60

_HEADER = """# Reports

Each folder holds one report with its figures and tables. The verdict of a head is *different* (permutation test, false
discovery rate), *negligible* (different, and the interval within the smallest effect of interest), *equivalent* (two
one-sided tests against that effect) or *undecided*. This page is rewritten by each run.

| report | verdict | different | negligible | equivalent | undecided | model |
| --- | --- | ---: | ---: | ---: | ---: | --- |
"""

_COMPARISONS = """
## Comparisons

Two reports side by side: *r* is the correlation of their effect maps over heads, *p* its permutation p with heads
permuted over the whole map; a dash where the heads of two models do not correspond.

| comparison | verdict | *r* | *p* |
| --- | --- | ---: | ---: |
"""


def _record(folder: Path) -> RunRecord | ComparisonRecord | SweepRecord | None:
    """Return the record of a folder that holds a report; None where there is none.

    Raises
    ------
    InputError
        If what is there is no report that can be read.
    """
    path = folder / "run.json"
    if not (folder / "report.md").is_file() or not path.is_file():
        return None
    record = read_record(path)
    require_whole(record, path)
    return record


def _row(folder: Path, record: RunRecord | SweepRecord) -> str:
    verdict = record.verdict
    if verdict is None:  # the run is not finished
        return ""
    numbers = f"{verdict.different} | {verdict.negligible} | {verdict.equivalent} | {verdict.undecided}"
    title, sentence, model = map(as_text, (record.title, verdict.sentence, record.model.id))
    return f"| [{title}]({quote(folder.name)}/report.md) | {sentence} | {numbers} | {model} |\n"


def _comparison_row(folder: Path, record: ComparisonRecord) -> str:
    verdict = record.verdict
    r, p = (verdict.r, verdict.p) if record.relation == "same heads" else (None, None)
    title, sentence = as_text(record.title), as_text(verdict.sentence)
    shown = f"{format_r(math.nan if r is None else r)} | {format_p(math.nan if p is None else p)}"
    return f"| [{title}]({quote(folder.name)}/report.md) | {sentence} | {shown} |\n"


def _silent(sentence: str) -> None:
    """Drop a sentence."""


def write_index(reports: Path, say: Callable[[str], None] = _silent) -> Path:
    """Write README.md over all reports of a folder; one that cannot be read is left out.

    Parameters
    ----------
    reports : Path
        The folder that holds a folder for each report.
    say : callable
        Told in one sentence of each report that is left out, and why.

    Returns
    -------
    Path
        The file written.
    """
    path = reports / "README.md"
    # of two runs that end together, the second sees the report of the first
    with locked(reports / ".lock", patience=_PATIENCE) as mine:
        if not mine:
            raise InputError(f"another run has been writing {path} for {_PATIENCE} seconds; type the same again")
        sweep_temporary(reports)
        write_text(path, _index(reports, say))
    return path


def _index(reports: Path, say: Callable[[str], None]) -> str:
    studies, comparisons = [], []
    for folder in sorted(reports.iterdir()):
        try:
            record = _record(folder)
        except InputError as error:
            say(f"left out of the list of reports: {error}")
            continue
        if isinstance(record, ComparisonRecord):
            comparisons.append(_comparison_row(folder, record))
        elif record is not None:
            studies.append(_row(folder, record))
    return _HEADER + "".join(studies) + (_COMPARISONS + "".join(comparisons) if comparisons else "")
