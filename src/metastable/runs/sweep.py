"""Runs a sweep: every setting counted and tested, all corrected together, one report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metastable.errors import InputError
from metastable.extraction import extract
from metastable.extraction.distributed import Processes, current_processes
from metastable.files import require_writable, written_together
from metastable.heads.head_tests import analyse_cube, side_histograms
from metastable.heads.record import ModelRecord, ModelsRecord, SettingRecord, SweepRecord, with_files, write_record
from metastable.heads.recording import software_record
from metastable.heads.sweep_axes import Axis, setting_text
from metastable.heads.sweep_result import SweepResult
from metastable.heads.sweep_run import FinishedRun, finished_run
from metastable.heads.sweep_tables import corrected_heads, head_table, settings_table
from metastable.heads.word_units import read_sides, unit_cube
from metastable.progress import Silent, Stages
from metastable.report.apa import plural
from metastable.report.index import write_index
from metastable.report.one_file import write_html
from metastable.report.sweep.page import write_page
from metastable.report.sweep.sentences import verdict_record
from metastable.runs.clock import Clock
from metastable.runs.kept_settings import load_finished, save_finished
from metastable.runs.sweep_plan import EncoderShelf, PlannedRun, naming_the_setting, plan_runs
from metastable.runs.writing_alone import say_unfinished_cubes, writing_alone
from metastable.study import Options, Study
from metastable.typed_json import typed

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder

__all__ = ["run_sweep", "sweep_folder"]


def sweep_folder(study: Study, out: str | Path) -> Path:
    """Return the folder of a study's sweep."""
    return Path(out) / f"{study.name}_sweep"


def _compute(
    study: Study, run: PlannedRun, encoder: Encoder, cubes: Path, name: str, key: str, clock: Clock
) -> FinishedRun | None:
    """Count and test one run; None in processes that only help to count."""
    options = run.options
    with clock.stage(f"{key} extraction", f"{name}: attention counts") as advance:
        extraction = extract(
            encoder,
            run.material.sequences,
            thresholds=options.threshold,
            path=cubes / f"{run.cube[:16]}.zarr",
            batch_tokens=options.batch_tokens,
            queries=options.queries,
            keys=options.keys,
            unit=options.unit,
            keep=options.keep,
            measures=("count", *run.row_options.measures),
            study=study,
            callback=advance,
        )
    if extraction.reused:
        clock.stages.say("the counts are there already: reused")
    elif extraction.n_resumed:
        clock.stages.say(f"resumed: {extraction.n_resumed} sequences were already counted")
    if not current_processes().is_first:
        return None
    cube = extraction.dataset
    with clock.stage(f"{key} statistics", f"{name}: tests of every head") as advance:
        tested = unit_cube(cube, run.material, run.contrast, encoder.sites, options)
        histograms = side_histograms(cube, read_sides(run.contrast, run.material), options.threshold)
        found = analyse_cube(
            tested.cube, run.contrast, tested.sequences, options, histograms, advance,
            with_mixed_models=tested.has_tokens,
        )  # fmt: skip
    return finished_run(found, run.material, run.contrast, options, encoder, extraction)


def _announce(runs: Sequence[PlannedRun], axes: Sequence[Axis], options: Options, clock: Clock) -> None:
    lists = " × ".join(f"{len(axis.levels)} {axis.title}" for axis in axes)
    n_settings = len(runs) * len(options.threshold)
    n_cubes = len({run.cube for run in runs})
    clock.stages.say(f"{plural(n_settings, 'setting')} ({lists}), {plural(n_cubes, 'extraction')} of attention counts")
    least = int(np.ceil(n_settings / options.alpha))
    if options.permutations < least:
        clock.stages.say(
            f"with {options.permutations:,} relabelings no omnibus test can pass Holm's correction over "
            f"{n_settings} settings; {least:,} or more can"
        )


def _run_all(
    study: Study, runs: Sequence[PlannedRun], folder: Path, shelf: EncoderShelf, processes: Processes, clock: Clock
) -> tuple[list[FinishedRun], int]:
    """Return the result of every run, and how many were kept from before."""
    kept: list[FinishedRun] = []
    n_reused = 0
    for number, run in enumerate(runs, start=1):
        name = f"{number}/{len(runs)}" + (f" {setting_text(run.levels)}" if run.levels else "")
        finished = processes.from_first(lambda run=run: load_finished(folder / "finished", run.key))  # type: ignore[misc]
        if finished is not None:
            n_reused += 1
            clock.stages.say(f"{name}: finished before with the same recipe, its result is reused")
        else:
            try:
                finished = _compute(study, run, shelf.get(run.options), folder / "cubes", name, str(number), clock)
            except InputError as error:
                raise naming_the_setting(run.levels, error) from error
            if finished is not None:
                save_finished(folder / "finished", run.key, finished)
        if finished is not None:
            kept.append(finished)
    return kept, n_reused


def run_sweep(
    study: Study,
    options: Options,
    axes: Sequence[Axis],
    *,
    stages: Stages | None = None,
    command: str = "",
) -> SweepResult | None:
    """Run a study at every combination of some options and write one report.

    Settings that differ in the threshold or the measure share one extraction, and settings with the same sequences,
    model and rows of attention share it too. The counts and the finished results are kept in the folder: a sweep that
    was cut short goes on where it stopped, and a longer list computes what is new in it.

    Parameters
    ----------
    study : Study
    options : Options
        As `metastable.heads.sweep_axes.read_sweep` returns them.
    axes : sequence of Axis
        What varies.
    stages : Stages or None
        Listener for progress.
    command : str
        The command that the report tells its readers to type for the same sweep.

    Returns
    -------
    SweepResult or None
        None in the processes that torchrun started beside the first.

    Raises
    ------
    InputError
        For anything that the user can mend, naming the setting; all settings are made and checked before any runs.
    """
    stages, folder = stages or Silent(), sweep_folder(study, options.out)
    with writing_alone(folder):
        result = _written(study, options, axes, folder, Clock(stages), command)
    if result is not None:
        write_index(folder.parent, stages.say)
    return result


def _written(
    study: Study, options: Options, axes: Sequence[Axis], folder: Path, clock: Clock, command: str
) -> SweepResult | None:
    """Run a sweep and write its report aside, from where it takes its place as one."""
    shelf = EncoderShelf()
    with clock.stage("plan", "all settings: words to sequences") as advance:
        runs = plan_runs(study, options, axes, shelf, advance)
    _announce(runs, axes, options, clock)
    require_writable(folder, "--out")
    processes = current_processes()
    kept, n_reused = _run_all(study, runs, folder, shelf, processes, clock)
    if not processes.is_first:
        return None
    say_unfinished_cubes(folder / "cubes", None, clock.stages)
    if n_reused == len(runs):
        clock.stages.say("every setting was finished before with the same recipe: the report alone is written anew")
    found = [(run.levels, finished) for run, finished in zip(runs, kept, strict=True)]
    heads = corrected_heads(found, alpha=options.alpha, correction=options.correction)
    result = SweepResult(
        study=study,
        folder=folder,
        axes=tuple(axes),
        contrast=runs[0].contrast,
        settings=settings_table(found, heads, axes),
        heads=heads,
        stability=head_table(heads),
        record=_record(study, options, axes, runs, kept, n_reused, clock, command),
        n_reused=n_reused,
    )
    with written_together(folder, "run.json") as staged:
        with clock.stage("report", "figures and report") as advance:
            write_page(replace(result, folder=staged), advance)
            write_html(staged / "report.md", folder)
        record = with_files(replace(result.record, verdict=verdict_record(result)), staged)
        write_record(record, staged / "run.json")
    return replace(result, record=record)


def _record(
    study: Study,
    options: Options,
    axes: Sequence[Axis],
    runs: Sequence[PlannedRun],
    kept: Sequence[FinishedRun],
    n_reused: int,
    clock: Clock,
    command: str,
) -> SweepRecord:
    models: dict[str, ModelRecord] = {}
    for finished in kept:
        models.setdefault(json.dumps(finished.facts["model"]), typed(ModelRecord, finished.facts["model"]))
    several, software = tuple(models.values()), software_record()
    return SweepRecord(
        kind="sweep",
        study=study.name,
        title=f"Sweep: {study.title}",
        command=command,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        axes={axis.name: axis.levels for axis in axes},
        options=options,
        model=ModelsRecord(", ".join(model.id for model in several)),
        models=several,
        sources=dict(kept[0].facts["sources"]),
        runs=tuple(
            SettingRecord(
                levels=dict(run.levels),
                result=run.key,
                counts=run.cube,
                notes=tuple(finished.facts["notes"]),
                mixed_model=finished.facts["mixed_model"],
                capture=finished.facts["capture"],
            )
            for run, finished in zip(runs, kept, strict=True)
        ),
        n_runs_reused=n_reused,
        device=kept[0].facts["device"],
        seconds=clock.seconds,
        packages=software.packages,
        python=software.python,
        platform=software.platform,
        verdict=None,
    )
