"""Puts two finished reports side by side: found, read, compared, and written as a report of their own."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from metastable.errors import InputError
from metastable.files import written_together
from metastable.heads.compared_heads import Comparison, compare_reports
from metastable.heads.comparison_options import ComparisonOptions
from metastable.heads.comparison_result import ComparisonResult
from metastable.heads.finished_report import find_report, read_report
from metastable.heads.record import (
    ComparedModel,
    ComparedReport,
    ComparisonRecord,
    record_kind,
    with_files,
    write_record,
)
from metastable.heads.recording import software_record
from metastable.progress import Silent, Stages
from metastable.report.comparison.page import write_page
from metastable.report.comparison.sentences import verdict_record
from metastable.report.index import write_index
from metastable.report.one_file import write_html
from metastable.runs.clock import Clock
from metastable.runs.writing_alone import writing_alone

__all__ = ["comparison_record", "run_comparison"]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")


def run_comparison(
    reports: tuple[str, str],
    options: ComparisonOptions,
    *,
    studies: Collection[str] = (),
    stages: Stages | None = None,
    command: str = "",
) -> ComparisonResult:
    """Compare two finished reports and write what was found.

    Parameters
    ----------
    reports : pair of str
        Each a report's name below ``out``, or its folder.
    options : ComparisonOptions
    studies : collection of str
        Names of the studies there are: what could be run, and whose folders are not written to.
    stages : Stages or None
        Listener for progress.
    command : str
        What was typed.

    Returns
    -------
    ComparisonResult

    Raises
    ------
    InputError
        For anything that the user can mend; nothing is written then.
    """
    clock = Clock(stages or Silent())
    out = Path(options.out)
    folders = [find_report(given, out, studies) for given in reports]
    found = compare_reports(
        *(read_report(folder) for folder in folders),
        threshold=options.threshold or None,
        measure=options.measure,
        n_permutations=options.permutations,
        alpha=options.alpha,
        seed=options.seed,
    )
    names = (folders[0].resolve().name, folders[1].resolve().name)
    folder = _free_folder(out, options.name if options.name is not None else _name(names, found.names), studies)
    result = ComparisonResult(found, folder, comparison_record(found, options, command))
    with writing_alone(folder), written_together(folder, "run.json") as staged:
        with clock.stage("report", "figures and report") as advance:
            write_page(replace(result, folder=staged), advance)
            write_html(staged / "report.md", folder)
        record = with_files(result.record, staged)
        write_record(record, staged / "run.json")
    write_index(out, clock.stages.say)
    return replace(result, record=record)


def _name(folders: tuple[str, str], names: tuple[str, str]) -> str:
    """Name a comparison by the folders of its reports, and those of one study by what else they are called."""
    parts = folders if folders[0] != folders[1] else (folders[0], *names)
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "_".join(("compare", *parts)))


def _free_folder(out: Path, name: str, studies: Collection[str]) -> Path:
    """Return the folder of a comparison; refuse a name that no folder can have, and the folder of a study."""
    if not _PLAIN.fullmatch(name):
        raise InputError(f"{name!r} cannot name a folder; give --name with letters, digits, dashes and underscores")
    folder = out / name
    record = folder / "run.json"
    taken = name in studies
    if record.is_file():
        taken |= record_kind(record) != "comparison"
    if taken:
        raise InputError(f"{folder} is the folder of a study, whose report would be lost; give another --name")
    return folder


def comparison_record(found: Comparison, options: ComparisonOptions, command: str) -> ComparisonRecord:
    """Return what run.json holds: what was read, with its hashes, what was chosen, and the verdict.

    Parameters
    ----------
    found : Comparison
    options : ComparisonOptions
    command : str
        What was typed.

    Returns
    -------
    ComparisonRecord
    """
    studies = {report.record.study for report in (found.first, found.second)}
    common = f"{studies.pop()}: " if len(studies) == 1 else ""
    software = software_record(("metastable", "numpy", "scipy", "pandas", "matplotlib"))
    return ComparisonRecord(
        title=f"{common}{found.names[0]} against {found.names[1]}",
        command=command,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        options=options,
        comparison={
            side: ComparedReport(
                name=name,
                folder=str(report.folder),
                study=report.record.study,
                command=report.record.command,
                model=ComparedModel(report.record.model.id, report.record.model.weights_sha256),
                sha256=dict(report.sha256),
                packages=dict(report.record.packages),
                measure=report.measure,
            )
            for side, name, report in zip(("first", "second"), found.names, (found.first, found.second), strict=True)
        },
        relation=found.relation,
        thresholds=found.thresholds,
        packages=software.packages,
        python=software.python,
        platform=software.platform,
        verdict=verdict_record(found),
    )
