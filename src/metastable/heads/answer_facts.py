"""What the reports of a folder hold about the founding question, read from their records and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from scipy import special

from metastable.errors import InputError
from metastable.heads.finished_report import rows_at
from metastable.heads.record import (
    ComparisonRecord,
    ConditionsRecord,
    ManyModelsRecord,
    Record,
    RunRecord,
    SweepRecord,
    read_record,
    require_whole,
)
from metastable.stats.effect_kinds import DIFFERENCE
from metastable.stats.verdict import DIFFERENT, NEGLIGIBLE

__all__ = ["AnswerFacts", "MeasureFact", "StudyFact", "page_of", "read_conditions", "read_facts", "read_records"]

_KEYS = ["site", "layer", "head", "threshold", "measure"]
_FOUND = [DIFFERENT, NEGLIGIBLE]


@dataclass(frozen=True)
class MeasureFact:
    """What a report says of one measure, at its primary threshold.

    Attributes
    ----------
    measure : str
    n_heads, n_different : int
        Tested, and found to differ.
    more_a, more_b : int
        Of these with more of it in a, and in b.
    size : float
        Size of the typical head: root of the mean of g^2 less its sampling variance, by the widths of the intervals.
    p : float
        Of the omnibus test over all heads (sum of squares).
    kept, turned : int
        Heads that differ in the count over all keys, and in this measure in the same and in the other direction.
    """

    measure: str
    n_heads: int
    n_different: int
    more_a: int
    more_b: int
    size: float
    p: float
    kept: int
    turned: int


@dataclass(frozen=True)
class StudyFact:
    """What one study's report says.

    Attributes
    ----------
    folder : str
        Name of its folder.
    record : RunRecord
    measures : mapping of str to MeasureFact
        By the measure's name, the run's own first.
    sink_held : (int, int) or None
        Heads that differ in the run's own measure: how many are left with the mass on a sink held fixed, and of how
        many; None where the report holds no such table.
    held : str
        The measure that is held fixed then.
    items_alone : int or None
        Heads that differ in the run's own measure over items with the contexts as they are; None where the tests are
        not over contexts.
    page : str
        What a reader opens, relative to the folder of reports: the report, or the table of heads where the report is
        not kept.
    """

    folder: str
    record: RunRecord = field(repr=False)
    measures: Mapping[str, MeasureFact]
    sink_held: tuple[int, int] | None
    held: str
    items_alone: int | None
    page: str

    @property
    def own(self) -> MeasureFact:
        """The measure that the report is about."""
        return next(iter(self.measures.values()))


@dataclass(frozen=True)
class AnswerFacts:
    """The reports of a folder that bear on the founding question.

    Attributes
    ----------
    studies : mapping of str to StudyFact
        By the study's name; of a report whose tables cannot be read nothing is held.
    comparisons : mapping of str to ComparisonRecord
    sweeps : mapping of str to SweepRecord
    many : mapping of str to ManyModelsRecord
        By the folders' names.
    """

    studies: Mapping[str, StudyFact]
    comparisons: Mapping[str, ComparisonRecord]
    sweeps: Mapping[str, SweepRecord]
    many: Mapping[str, ManyModelsRecord]


def page_of(folder: Path) -> str | None:
    """Return the file of a run's folder that a reader opens: its report, or its table of heads if that alone is kept.

    A report of texts that are not ours to hand on quotes them; its numbers can be kept without it. None if neither is
    there.
    """
    return next((name for name in ("report.md", "heads.csv") if (folder / name).is_file()), None)


def read_records(reports: Path, say: Callable[[str], None]) -> dict[str, Record]:
    """Return the record of every folder that holds a report, by its name; those that cannot be read are left out.

    Parameters
    ----------
    reports : Path
        The folder that holds a folder for each report.
    say : callable
        Told in one sentence of each report that is left out, and why.

    Returns
    -------
    dict of str to Record
        In the order of the names.
    """
    found: dict[str, Record] = {}
    for folder in sorted(reports.iterdir()):
        path = folder / "run.json"
        page = page_of(folder)
        if page is None or not path.is_file():
            continue
        try:
            record = read_record(path)
            require_whole(record, path)
        except InputError as error:
            say(f"left out of the list of reports: {error}")
            continue
        if page == "report.md" or isinstance(record, RunRecord):
            found[folder.name] = record
    return found


def read_conditions(reports: Path, say: Callable[[str], None]) -> dict[str, ConditionsRecord]:
    """Return the record of every folder that holds a report on more than two conditions, as `read_records` does.

    Parameters
    ----------
    reports : Path
    say : callable

    Returns
    -------
    dict of str to ConditionsRecord
        In the order of the names.
    """
    found: dict[str, ConditionsRecord] = {}
    for path in sorted(reports.glob("*/conditions.json")):
        try:
            record = ConditionsRecord.read(path)
            require_whole(record, path)
        except InputError as error:
            say(f"left out of the list of reports: {error}")
            continue
        found[path.parent.name] = record
    return found


def read_facts(reports: Path, records: Mapping[str, Record]) -> AnswerFacts:
    """Read what the reports of a folder hold about the founding question.

    Parameters
    ----------
    reports : Path
    records : mapping of str to Record
        As `read_records` returns them.

    Returns
    -------
    AnswerFacts
    """
    studies = {}
    for name, record in records.items():
        if isinstance(record, RunRecord) and record.study == name and record.contrast.predictor is None:
            fact = _study_fact(reports / name, record)
            if fact is not None:
                studies[name] = fact
    return AnswerFacts(
        studies=studies,
        comparisons={name: one for name, one in records.items() if isinstance(one, ComparisonRecord)},
        sweeps={name: one for name, one in records.items() if isinstance(one, SweepRecord)},
        many={name: one for name, one in records.items() if isinstance(one, ManyModelsRecord)},
    )


def _study_fact(folder: Path, record: RunRecord) -> StudyFact | None:
    threshold, alpha = record.options.threshold[0], record.options.alpha
    try:
        heads = rows_at(pd.read_csv(folder / "heads.csv", low_memory=False), threshold)
        details = rows_at(pd.read_csv(folder / "details.csv", low_memory=False), threshold)
        omnibus = rows_at(pd.read_csv(folder / "omnibus.csv", low_memory=False), threshold)
        limits = details[[*_KEYS, DIFFERENCE.size_low, DIFFERENCE.size_high]]
        heads = heads.merge(limits, on=_KEYS, validate="one_to_one")
        whole = omnibus[omnibus["site"] == "all"].set_index("measure")["p_sum_squares"]
        of_measure = {str(name): rows for name, rows in heads.groupby("measure", sort=False)}
        count = of_measure.get("count")
        measures = {name: _measure_fact(name, rows, count, float(whole[name])) for name, rows in of_measure.items()}
        own = next(iter(of_measure.values()))
        held, sink_held = _sink_held(folder, own, alpha)
    except (OSError, ValueError, KeyError):
        # a report that lacks a table says less, and nothing is claimed for it
        return None
    items = int((own["p_items_fdr"] < alpha).sum()) if "p_items_fdr" in own else None
    page = f"{quote(folder.name)}/{page_of(folder)}"
    return StudyFact(folder.name, record, measures, sink_held, held, items, page)


def _measure_fact(name: str, rows: pd.DataFrame, count: pd.DataFrame | None, p: float) -> MeasureFact:
    found = rows["verdict"].isin(_FOUND)
    g = rows[DIFFERENCE.size]
    # the verdict's interval is one of 95%
    error = (rows[DIFFERENCE.size_high] - rows[DIFFERENCE.size_low]) / (2 * special.ndtri(0.975))
    squares = (g**2 - error**2)[np.isfinite(g) & np.isfinite(error)]
    kept = turned = 0
    if count is not None:
        both = rows.merge(count, on=["site", "layer", "head"], suffixes=("", "_count"))
        both = both[both["verdict"].isin(_FOUND) & both["verdict_count"].isin(_FOUND)]
        same = np.sign(both[DIFFERENCE.size]) == np.sign(both[f"{DIFFERENCE.size}_count"])
        kept, turned = int(same.sum()), int((~same).sum())
    return MeasureFact(
        measure=name,
        n_heads=len(rows),
        n_different=int(found.sum()),
        more_a=int((found & (g > 0)).sum()),
        more_b=int((found & (g < 0)).sum()),
        size=float(np.sqrt(max(float(squares.mean()), 0.0))) if len(squares) else float("nan"),
        p=p,
        kept=kept,
        turned=turned,
    )


def _sink_held(folder: Path, own: pd.DataFrame, alpha: float) -> tuple[str, tuple[int, int] | None]:
    path = folder / "sink_held.csv"
    if not path.is_file():
        return "", None
    held = pd.read_csv(path, low_memory=False)
    both = own.merge(held, on=["site", "layer", "head"], suffixes=("", "_of_held"))
    found = both[both["verdict"].isin(_FOUND)]
    return str(held["held"].iloc[0]), (int((found["p_held_fdr"] < alpha).sum()), len(found))
