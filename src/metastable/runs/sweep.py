"""Runs a sweep: every setting counted and tested, all corrected together, one report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metastable.errors import InputError
from metastable.extraction import extract
from metastable.extraction.distributed import Processes, current_processes
from metastable.files import require_writable, write_text, written_whole
from metastable.heads.head_tests import analyse_cube, side_histograms
from metastable.heads.record import ModelRecord, ModelsRecord, SettingRecord, SweepRecord, write_record
from metastable.heads.recording import model_record, software_record
from metastable.heads.sweep_axes import Axis, setting_text
from metastable.heads.sweep_result import SweepResult
from metastable.heads.sweep_tables import corrected_heads, head_table, settings_table
from metastable.progress import Silent, Stages
from metastable.report.apa import plural
from metastable.report.index import write_index
from metastable.report.sweep.page import sweep_record, write_sweep_report
from metastable.runs.kept_settings import Finished, load_finished, save_finished
from metastable.runs.study import Clock
from metastable.runs.sweep_plan import EncoderShelf, PlannedRun, naming_the_setting, plan_runs
from metastable.stats.balance import balance_table
from metastable.study import Options, Study
from metastable.typed_json import plain, typed

if TYPE_CHECKING:
    from metastable.extraction import Extraction
    from metastable.models.encoders import Encoder

__all__ = ["run_sweep", "sweep_folder"]


def sweep_folder(study: Study, out: str | Path) -> Path:
    """Return the folder of a study's sweep."""
    return Path(out) / f"{study.name}_sweep"


def _facts(run: PlannedRun, encoder: Encoder, extraction: Extraction, relabelings: tuple[int, bool]) -> dict[str, Any]:
    sequences, contrast = run.material.sequences, run.contrast
    balance = balance_table(contrast.covariates, contrast.condition)
    worst = None if balance.empty else balance.iloc[int(balance["smd"].abs().to_numpy().argmax())]
    # an infinite difference (a covariate constant within each condition) has no place in JSON
    finite = worst is not None and bool(np.isfinite(worst["smd"]))
    return {
        "unit": contrast.unit,
        "n_a": contrast.n_a,
        "n_b": contrast.n_b,
        "n_sequences": len(sequences),
        "tokens_per_sequence": float(np.mean([len(s.token_ids) for s in sequences])),
        "n_permutations": relabelings[0],
        "exact": relabelings[1],
        "alpha": run.options.alpha,
        "worst_covariate": None if worst is None else str(worst["covariate"]),
        "worst_smd": float(worst["smd"]) if worst is not None and finite else None,
        "model": plain(model_record(encoder)),
        "mixed_model": contrast.mixed_formula(run.options.measure, tuple(run.options.covariates)),
        "notes": list(run.material.notes),
        "sources": dict(run.material.sources),
        "capture": extraction.capture,
        "device": str(encoder.device),
    }


def _compute(run: PlannedRun, encoder: Encoder, cubes: Path, name: str, key: str, clock: Clock) -> Finished | None:
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
            measures=("count", *run.row_options.measures),
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
        histograms = side_histograms(cube, run.contrast, options.threshold)
        found = analyse_cube(cube, run.contrast, run.material.sequences, options, histograms, advance)
    whole = found.omnibus[found.omnibus["site"] == "all"]
    return Finished(
        heads=found.heads.join(found.details[["g_low", "g_high"]]),
        omnibus=whole[["threshold", "p_sum_squares", "p_max", "n_below_alpha"]].reset_index(drop=True),
        facts=_facts(run, encoder, extraction, (found.n_permutations, found.exact)),
    )


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
    runs: Sequence[PlannedRun], folder: Path, shelf: EncoderShelf, processes: Processes, clock: Clock
) -> tuple[list[Finished], int]:
    """Return the result of every run, and how many were kept from before."""
    kept: list[Finished] = []
    n_reused = 0
    for number, run in enumerate(runs, start=1):
        name = f"{number}/{len(runs)}" + (f" {setting_text(run.levels)}" if run.levels else "")
        finished = processes.from_first(lambda run=run: load_finished(folder / "finished", run.key))  # type: ignore[misc]
        if finished is not None:
            n_reused += 1
            clock.stages.say(f"{name}: finished before with the same recipe, its result is reused")
        else:
            try:
                finished = _compute(run, shelf.get(run.options), folder / "cubes", name, str(number), clock)
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
    clock = Clock(stages or Silent())
    folder = sweep_folder(study, options.out)
    shelf = EncoderShelf()
    with clock.stage("plan", "all settings: words to sequences") as advance:
        runs = plan_runs(study, options, axes, shelf, advance)
    _announce(runs, axes, options, clock)
    require_writable(folder, "--out")
    processes = current_processes()
    kept, n_reused = _run_all(runs, folder, shelf, processes, clock)
    if not processes.is_first:
        return None
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
    with clock.stage("report", "figures and report") as advance:
        _write_tables(result)
        write_sweep_report(result, advance)
    result = replace(result, record=replace(result.record, verdict=sweep_record(result)))
    write_record(result.record, folder / "run.json")
    write_index(folder.parent)
    return result


def _record(
    study: Study,
    options: Options,
    axes: Sequence[Axis],
    runs: Sequence[PlannedRun],
    kept: Sequence[Finished],
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


def _write_tables(result: SweepResult) -> None:
    for name, table in (
        ("settings", result.settings),
        ("heads", result.heads),
        ("stability", result.stability),
    ):
        # repr's shortest digits give every float back exactly
        write_text(result.folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    with written_whole(result.folder / "heads.parquet") as path:
        result.heads.to_parquet(path, index=False)
