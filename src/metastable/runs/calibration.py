"""Runs a study's tests where the truth is known: on random halves of one of its conditions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable import figures
from metastable.errors import InputError
from metastable.extraction.distributed import current_processes
from metastable.files import write_text
from metastable.heads.calibration_options import CalibrationOptions, counts_as_recorded
from metastable.heads.cube import feature_table, token_values, unit_means
from metastable.heads.record import CalibrationRecord, ComparedModel, RunRecord, write_record
from metastable.heads.results import Counted
from metastable.progress import Silent, Stages
from metastable.report.calibration.sentences import calibration_text
from metastable.report.plate import Plate, save_plate
from metastable.runs.study import Clock, count_study
from metastable.stats.simulation.calibrating import TokenValues, calibrate
from metastable.study import Options, Study

__all__ = ["Calibration", "calibrate_study", "recorded_options"]


@dataclass(frozen=True)
class Calibration:
    """What `calibrate_study` found.

    Attributes
    ----------
    folder : Path
        Where calibration.md lies.
    table : pandas.DataFrame
        Rates with Monte Carlo intervals, as `metastable.stats.calibrate` returns them.
    """

    folder: Path
    table: pd.DataFrame


def recorded_options(folder: Path) -> Options | None:
    """Return the options of the run whose report lies in a folder; None where there is none."""
    path = folder / "run.json"
    return RunRecord.read(path).options if path.is_file() else None


@dataclass(frozen=True)
class _Side:
    """One condition, as `calibrate` takes it.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, n_features)
        One row per sequence in a clustered study, otherwise one row per unit.
    cluster : ndarray of int, shape (n_rows,), or None
        Clusters of the rows.
    tokens : TokenValues or None
        Rows for the mixed model; None where the study has none of its own.
    n_units : int
        Units that are divided.
    """

    values: NDArray[np.float64]
    cluster: NDArray[np.intp] | None
    tokens: TokenValues | None
    n_units: int


def _side(counted: Counted, features: pd.DataFrame, options: CalibrationOptions) -> _Side:
    contrast, cube = counted.contrasts[0], counted.extraction.dataset
    threshold, measure = options.threshold[0], options.measure
    units = np.flatnonzero(contrast.condition if options.side == "a" else ~contrast.condition)
    means = unit_means(cube, features, threshold, measure)
    if len(units) < 8:
        name = contrast.a.name if options.side == "a" else contrast.b.name
        raise InputError(f"condition {name} has {len(units)} {contrast.unit}s; a calibration needs at least eight")
    membership = contrast.weights[units].tocoo()
    if len(counted.contrasts) > 1:
        # Units of a two-by-two design are differences or means over a factor: the mixed model has no halves of them.
        return _Side(contrast.values(means)[units], None, None, len(units))
    # Clusters go in as their sequences, unless their mixed model has sequences for rows; pairs and sequences as units.
    clustered = contrast.pair is None and contrast.repeated is None and len(membership.row) > len(units)
    row = np.full(len(counted.material.sequences), -1, dtype=np.intp)
    if clustered:
        row[np.unique(membership.col)] = np.arange(len(membership.col))
        of_row = np.empty(len(membership.col), dtype=np.intp)
        of_row[row[membership.col]] = membership.row
        values, cluster = means[np.unique(membership.col)], of_row
    else:
        row[membership.col] = membership.row
        values, cluster = contrast.values(means)[units], None
    # pairs and clusters are factors already
    crossed = None if clustered or contrast.pair is not None else contrast.crossed
    return _Side(values, cluster, _token_values(counted, features, options, means, row, crossed), len(units))


def _second_factor(
    crossed: NDArray[np.intp] | None, unit: NDArray[np.intp], mine: NDArray[np.intp]
) -> NDArray[np.intp] | None:
    """Second grouping factor of the rows of one condition; None where it has a level a row, or one a unit."""
    if crossed is None:
        return None
    levels = np.unique(crossed[mine], return_inverse=True)[1]
    cells = len(np.unique(np.column_stack([levels, unit]), axis=0))
    n_levels = int(levels.max()) + 1
    return None if n_levels == len(mine) or cells == n_levels == len(np.unique(unit)) else crossed[mine]


def _token_values(
    counted: Counted,
    features: pd.DataFrame,
    options: CalibrationOptions,
    means: NDArray[np.float64],
    row: NDArray[np.intp],
    crossed: NDArray[np.intp] | None,
) -> TokenValues | None:
    """Rows of the study's own mixed model; `row` is that of each sequence's unit, below 0 for the other condition."""
    contrast = counted.contrasts[0]
    if contrast.repeated is not None:
        values, owner, nuisance = means, np.arange(len(row)), contrast.design[:, 2:]
    else:
        cube = counted.extraction.dataset
        values, owner = token_values(cube, features, options.threshold[0], options.measure)
        nuisance = np.zeros((len(row), 0))
    mine = np.flatnonzero(row[owner] >= 0)
    sequence = owner[mine]
    unit = row[sequence]
    if np.bincount(unit).max() == 1:
        return None
    return TokenValues(values[mine], unit, nuisance=nuisance[sequence], crossed=_second_factor(crossed, unit, sequence))


def calibrate_study(
    study: Study,
    options: CalibrationOptions,
    *,
    stages: Stages | None = None,
    command: str = "",
) -> Calibration | None:
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
    Calibration or None
        None in the processes that torchrun started beside the first.

    Raises
    ------
    InputError
        If the condition has fewer than eight units.
    """
    clock = Clock(stages or Silent())
    folder = Path(options.out) / study.name
    # other counts than the report's go elsewhere, so that the report keeps its own
    alike = counts_as_recorded(study, options, recorded_options(folder))
    counted = count_study(study, options, clock, cube="counts.zarr" if alike else "calibration.zarr")
    if not current_processes().is_first:
        return None
    features = feature_table(counted.extraction.dataset)
    side = _side(counted, features, options)
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
            rng=options.seed,
            callback=advance,
        )
    plates = _plates(table, options.alpha)
    for plate in plates.values():
        save_plate(plate, counted.folder)
    write_text(counted.folder / "calibration.csv", table.to_csv(index=False, lineterminator="\n"))
    record = CalibrationRecord(
        command=command,
        options=options,
        model=ComparedModel(counted.encoder.model_id, counted.encoder.weights_hash),
        n_units=side.n_units,
        seconds=clock.seconds,
    )
    write_record(record, counted.folder / "calibration.json")
    write_text(
        counted.folder / "calibration.md",
        calibration_text(
            study,
            table,
            plates,
            contrast=counted.contrasts[0],
            n_units=side.n_units,
            n_heads=int(features["site"].value_counts().max()),
            options=options,
            command=command,
        ),
    )
    return Calibration(counted.folder, table)


def _figure_rows(table: pd.DataFrame, measure: str, scenario: str) -> pd.DataFrame:
    rows = table[(table["measure"] == measure) & (table["scenario"] == scenario)]
    names = rows["test"] + np.where(rows["correction"] == "none", "", ", " + rows["correction"])
    return rows.assign(test=names, rate=rows["estimate"])[["test", "rate", "low", "high"]].reset_index(drop=True)


def _plates(table: pd.DataFrame, alpha: float) -> dict[str, Plate]:
    plates = {}
    for stem, measure, scenario, correction, caption in (
        ("calibration_level", "false_positive_rate", "null", ("none",),
         "Share of heads (layers, models) called different by each test on its own, where nothing differs."),
        ("calibration_fwer", "fwer", "null", None,
         "Share of splits with any head called different, where nothing differs."),
        ("calibration_fdr", "fdr", "planted", None,
         "Share of false calls among all calls, where a shift is planted in some heads."),
    ):  # fmt: skip
        # Only what promises a level is held against it.
        rows = table[table["nominal"].notna()]
        rows = rows[rows["correction"] != "none"] if correction is None else rows[rows["correction"].isin(correction)]
        shown = _figure_rows(rows, measure, scenario)
        plates[stem] = Plate(
            stem,
            figures.calibration_plot(shown, nominal=alpha),
            figures.calibration_plot_alt(shown, nominal=alpha),
            caption,
        )
    return plates
