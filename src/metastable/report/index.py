"""The index of all reports, rewritten by each run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from metastable.errors import InputError
from metastable.files import locked, sweep_temporary, write_text
from metastable.heads.answer_facts import page_of, read_conditions, read_facts, read_records
from metastable.heads.record import ComparisonRecord, ConditionsRecord, ManyModelsRecord, RunRecord, SweepRecord
from metastable.progress import Silent
from metastable.report.answer import answer
from metastable.report.apa import format_p, format_r, format_share, listed
from metastable.report.markdown import as_text
from metastable.report.one_file import render_html

__all__ = ["write_index"]

# Seconds; an index takes far less.
_PATIENCE = 60

_TITLE = "# Reports\n\n"

_HEADER = """## All reports

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

_CONDITIONS = """
## Several conditions

All conditions at once, and pair by pair; every pair has its own report above.

| report | verdict | heads that differ over the conditions | pairs that differ |
| --- | --- | ---: | ---: |
"""

_MODELS = """
## Many models

One checkpoint is one draw: these reports read the same study in several models, and their intervals are over models and
sequences together.

| report | verdict | models | untrained networks |
| --- | --- | ---: | ---: |
"""


def _row(folder: Path, record: RunRecord | SweepRecord) -> str:
    verdict = record.verdict
    if verdict is None:  # the run is not finished
        return ""
    numbers = f"{verdict.different} | {verdict.negligible} | {verdict.equivalent} | {verdict.undecided}"
    title, sentence, model = map(as_text, (record.title, verdict.sentence, record.model.id))
    return f"| [{title}]({quote(folder.name)}/{page_of(folder)}) | {sentence} | {numbers} | {model} |\n"


def _comparison_row(folder: Path, record: ComparisonRecord) -> str:
    verdict = record.verdict
    r, p = (verdict.r, verdict.p) if record.relation == "same heads" else (None, None)
    title, sentence = as_text(record.title), as_text(verdict.sentence)
    shown = f"{format_r(math.nan if r is None else r)} | {format_p(math.nan if p is None else p)}"
    return f"| [{title}]({quote(folder.name)}/report.md) | {sentence} | {shown} |\n"


def _models_row(folder: Path, record: ManyModelsRecord) -> str:
    verdict = record.verdict
    if verdict is None:  # the run is not finished
        return ""
    title, own = as_text(record.title), verdict.measures[0]
    # the sentence is Markdown already
    return f"| [{title}]({quote(folder.name)}/report.md) | {verdict.sentence} | {own.n_models} | {own.n_untrained} |\n"


def _conditions_row(folder: Path, record: ConditionsRecord) -> str:
    title, sentence = as_text(listed(record.conditions)), as_text(record.sentences[0] if record.sentences else "")
    heads = format_share(record.heads_different, record.heads) if record.heads else "–"
    pairs = f"{record.pairs_different} of {len(record.reports)}"
    return f"| [{title}]({quote(folder.name)}/report.md) | {sentence} | {heads} | {pairs} |\n"


def write_index(reports: Path, say: Callable[[str], None] | None = None) -> Path:
    """Write README.md over all reports of a folder, and index.html, the same; one that cannot be read is left out.

    Parameters
    ----------
    reports : Path
        The folder that holds a folder for each report.
    say : callable or None
        Told in one sentence of each report that is left out, and why.

    Returns
    -------
    Path
        README.md.
    """
    path = reports / "README.md"
    # of two runs that end together, the second sees the report of the first
    with locked(reports / ".lock", patience=_PATIENCE) as mine:
        if not mine:
            raise InputError(f"another run has been writing {path} for {_PATIENCE} seconds; type the same again")
        sweep_temporary(reports)
        text = _index(reports, say or Silent().say)
        write_text(path, text)
        write_text(reports / "index.html", render_html(text, reports))
    return path


def _index(reports: Path, say: Callable[[str], None]) -> str:
    records = read_records(reports, say)
    found = [(reports / name, record) for name, record in records.items()]
    studies = [_row(folder, record) for folder, record in found if isinstance(record, RunRecord | SweepRecord)]
    comparisons = [_comparison_row(folder, record) for folder, record in found if isinstance(record, ComparisonRecord)]
    many = [_models_row(folder, record) for folder, record in found if isinstance(record, ManyModelsRecord)]
    known = answer(read_facts(reports, records))
    text = _TITLE + (f"{known}\n\n" if known else "") + _HEADER + "".join(studies)
    several = [_conditions_row(reports / name, record) for name, record in read_conditions(reports, say).items()]
    text += _CONDITIONS + "".join(several) if several else ""
    text += _MODELS + "".join(many) if many else ""
    return text + _COMPARISONS + "".join(comparisons) if comparisons else text
