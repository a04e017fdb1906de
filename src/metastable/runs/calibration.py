"""Runs a study's tests where the truth is known: on random halves of one of its conditions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from metastable.errors import InputError
from metastable.extraction.distributed import current_processes
from metastable.files import written_together
from metastable.heads.calibrated_side import side_of
from metastable.heads.calibration_options import CalibrationOptions, counts_as_recorded
from metastable.heads.calibration_result import CalibrationResult
from metastable.heads.cube import feature_table
from metastable.heads.head_tests import JOINT_NEEDS, joint_fits
from metastable.heads.record import CalibrationRecord, ComparedModel, RunRecord, require_whole, with_files, write_record
from metastable.heads.results import Counted
from metastable.progress import Silent, Stages
from metastable.report.calibration.page import write_page
from metastable.report.one_file import write_html
from metastable.runs.clock import Clock
from metastable.runs.study import count_study
from metastable.runs.writing_alone import writing_alone
from metastable.stats.simulation.calibrating import calibrate
from metastable.stats.simulation.context_splits import CONTEXT_TESTS
from metastable.stats.simulation.further import FURTHER, Further
from metastable.study import Options, Study

__all__ = ["recorded_options", "run_calibration"]


def recorded_options(folder: Path) -> Options | None:
    """Return the options of the run whose report lies in a folder; None where there is none.

    Raises
    ------
    InputError
        If what lies there is no whole report.
    """
    path = folder / "run.json"
    if not path.is_file():
        return None
    record = RunRecord.read(path)
    require_whole(record, path)
    return record.options


def _further(counted: Counted, features: pd.DataFrame, options: CalibrationOptions, *, contexts: bool) -> Further:
    """Return what else of the study's report is tried: all that its units allow."""
    contrast = counted.contrasts[0]
    without = {"joint"}
    if contrast.pair is not None:
        without |= {"slope", "slope with covariate"}
    if not contexts:
        without |= set(CONTEXT_TESTS)
    names = [name for name in FURTHER if name not in without]
    if options.joint:
        if not joint_fits(contrast, features, counted.options.measure):
            raise InputError(JOINT_NEEDS)
        names.append("joint")
    return Further(tuple(names), options.margin, options.permutations)


def run_calibration(
    study: Study,
    options: CalibrationOptions,
    *,
    stages: Stages | None = None,
    command: str = "",
) -> CalibrationResult | None:
    """Estimate false positive rate, family-wise error, false discovery rate and power of every test.

    The counts of the study are taken from its finished run, or made; then one condition is divided at random
    again and again, so that nothing differs, and once more with a shift planted in some heads.

    Parameters
    ----------
    study : Study
    options : CalibrationOptions
    stages : Stages or None
        Listener for progress.
    command : str
        What was typed.

    Returns
    -------
    CalibrationResult or None
        None in the processes that torchrun started beside the first.

    Raises
    ------
    InputError
        If the condition has fewer than eight units, or words were read in several packings.
    """
    if (packings := options.own.get("packings", 1)) > 1:
        raise InputError(
            f"--packings {packings}: words that were read in one sequence would be divided between the halves, so that "
            "what they share is not tried; give --repack, or --packings 1 for the sequences of one packing"
        )
    folder = Path(options.out) / study.name
    with writing_alone(folder):
        return _written(study, options, folder, Clock(stages or Silent()), command)


def _written(
    study: Study, options: CalibrationOptions, folder: Path, clock: Clock, command: str
) -> CalibrationResult | None:
    """Calibrate and write the report aside, from where it takes its place as one."""
    # other counts than the report's go elsewhere, so that the report keeps its own
    alike = counts_as_recorded(study, options, recorded_options(folder))
    counted = count_study(study, options, clock, cube="counts.zarr" if alike else "calibration.zarr")
    if not current_processes().is_first:
        return None
    features = feature_table(counted.extraction.dataset)
    side = side_of(counted, features, options)
    with clock.stage("calibration", "random splits") as advance:
        table = calibrate(
            side.values,
            tokens=side.tokens,
            cluster=side.cluster,
            paired=counted.contrasts[0].pair is not None,
            family=pd.factorize(features["site"])[0],
            layer=features["layer"].to_numpy(),
            n_splits=options.splits,
            n_permutations=options.permutations,
            alpha=options.alpha,
            shift=options.shift,
            share=options.share,
            contexts=side.contexts,
            further=_further(counted, features, options, contexts=side.contexts is not None),
            rng=options.seed,
            callback=advance,
        )
    result = CalibrationResult(
        study=study,
        folder=counted.folder,
        table=table,
        contrast=counted.contrasts[0],
        n_units=side.n_units,
        n_heads=int(features["site"].value_counts().max()),
        record=CalibrationRecord(
            command=command,
            options=options,
            model=ComparedModel(counted.encoder.model_id, counted.encoder.weights_hash),
            n_units=side.n_units,
            seconds=clock.seconds,
        ),
    )
    with written_together(folder, "calibration.json") as staged:
        with clock.stage("report", "figures and report") as advance:
            write_page(replace(result, folder=staged), advance)
            write_html(staged / f"{result.stem}.md", folder)
        record = with_files(result.record, staged)
        write_record(record, staged / "calibration.json")
    return replace(result, record=record)
