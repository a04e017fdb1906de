"""Runs a study's tests where the truth is known: on random halves of one of its conditions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable import figures
from metastable.cube import feature_table, token_values, unit_means
from metastable.errors import InputError
from metastable.extraction.distributed import current_processes
from metastable.files import write_text
from metastable.pipeline import Clock, count_study
from metastable.progress import Silent, Stages
from metastable.report.calibration import calibration_text
from metastable.report.plates import Plate, save_plate
from metastable.results import Counted
from metastable.stats.calibration import TokenValues, calibrate
from metastable.study import Study

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


_WITHOUT_EFFECT_ON_COUNTS = frozenset(
    {"permutations", "alpha", "correction", "margin", "covariates", "out", "device", "batch_tokens"}
)


def recorded_options(folder: Path) -> dict[str, Any]:
    """Return the options of the run whose report lies in a folder; empty where there is none."""
    path = folder / "run.json"
    if not path.is_file():
        return {}
    options = json.loads(path.read_text(encoding="utf-8"))["options"]
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _rows_of_side(counted: Counted, side: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Units of one condition, and the sequences that belong to them."""
    contrast = counted.contrasts[0]
    units = np.flatnonzero(contrast.condition if side == "a" else ~contrast.condition)
    members = contrast.weights[units].nonzero()[1]
    return units, np.unique(members)


def _token_values(
    counted: Counted, features: pd.DataFrame, options: Mapping[str, Any], units: NDArray[np.intp]
) -> TokenValues | None:
    """Token counts of these units, where a unit is a sequence; the mixed model is calibrated on them."""
    if counted.contrasts[0].unit != "sequence":
        return None
    values, owner = token_values(counted.extraction.dataset, features, options["threshold"][0], options["measure"])
    place = np.full(len(counted.material.sequences), -1, dtype=np.intp)
    place[units] = np.arange(len(units))
    mine = place[owner] >= 0
    return TokenValues(values[mine], place[owner[mine]])


def calibrate_study(
    study: Study,
    options: Mapping[str, Any],
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
    options : mapping
        The study's options and those of the command: ``side``, ``splits``, ``shift``, ``share``.
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
    folder = Path(options["out"]) / study.name
    recorded = recorded_options(folder)
    # other counts than the report's go elsewhere, so that the report keeps its own
    changed = any(recorded[name] != options.get(name) for name in recorded if name not in _WITHOUT_EFFECT_ON_COUNTS)
    counted = count_study(study, options, clock, cube="calibration.zarr" if changed else "counts.zarr")
    if not current_processes().is_first:
        return None
    side = options["side"]
    features = feature_table(counted.extraction.dataset)
    contrast = counted.contrasts[0]
    units, _ = _rows_of_side(counted, side)
    if len(units) < 8:
        name = contrast.a.name if side == "a" else contrast.b.name
        raise InputError(f"condition {name} has {len(units)} {contrast.unit}s; a calibration needs at least eight")
    means = unit_means(counted.extraction.dataset, features, options["threshold"][0], options["measure"])
    with clock.stage("calibration", "random splits") as advance:
        table = calibrate(
            contrast.values(means)[units],
            tokens=_token_values(counted, features, options, units),
            paired=contrast.pair is not None,
            family=pd.factorize(features["site"])[0],
            n_splits=options["splits"],
            n_permutations=options["permutations"],
            alpha=options["alpha"],
            shift=options["shift"],
            share=options["share"],
            rng=options["seed"],
            callback=advance,
        )
    plates = _plates(table, options["alpha"])
    for plate in plates.values():
        save_plate(plate, counted.folder)
    write_text(counted.folder / "calibration.csv", table.to_csv(index=False, lineterminator="\n"))
    recipe = {
        "command": command,
        "options": {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
        "model": {"id": counted.encoder.model_id, "weights_sha256": counted.encoder.weights_hash},
        "n_units": len(units),
        "seconds": clock.seconds,
    }
    write_text(counted.folder / "calibration.json", json.dumps(recipe, indent=2, ensure_ascii=False) + "\n")
    write_text(
        counted.folder / "calibration.md",
        calibration_text(study, table, plates, side=side, n_units=len(units), options=options, command=command),
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
         "Share of heads called different without correction, where nothing differs."),
        ("calibration_fwer", "fwer", "null", None,
         "Share of splits with any head called different, where nothing differs."),
        ("calibration_fdr", "fdr", "planted", None,
         "Share of false calls among all calls, where a shift is planted in some heads."),
    ):  # fmt: skip
        rows = table if correction is None else table[table["correction"].isin(correction)]
        if correction is None:
            rows = rows[rows["correction"] != "none"]
        shown = _figure_rows(rows, measure, scenario)
        plates[stem] = Plate(
            stem,
            figures.calibration_plot(shown, nominal=alpha),
            figures.calibration_plot_alt(shown, nominal=alpha),
            caption,
        )
    return plates
