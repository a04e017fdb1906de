"""Runs a study's tests where the truth is known: on random halves of one of its conditions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from metastable.extraction.distributed import current_processes
from metastable.files import write_text
from metastable.heads.calibrated_side import side_of
from metastable.heads.calibration_result import CalibrationResult
from metastable.heads.cube import feature_table
from metastable.progress import Silent, Stages
from metastable.report.calibration.page import write_page
from metastable.runs.clock import Clock
from metastable.runs.study import count_study
from metastable.stats.simulation.calibrating import calibrate
from metastable.study import Study

__all__ = ["recorded_options", "run_calibration"]

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


def run_calibration(
    study: Study,
    options: Mapping[str, Any],
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
    options : mapping
        The study's options and those of the command: ``side``, ``splits``, ``shift``, ``share``.
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
            n_splits=options["splits"],
            n_permutations=options["permutations"],
            alpha=options["alpha"],
            shift=options["shift"],
            share=options["share"],
            rng=options["seed"],
            callback=advance,
        )
    result = CalibrationResult(
        study=study,
        folder=counted.folder,
        table=table,
        contrast=counted.contrasts[0],
        n_units=side.n_units,
        n_heads=int(features["site"].value_counts().max()),
        recipe={
            "command": command,
            "options": {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
            "model": {"id": counted.encoder.model_id, "weights_sha256": counted.encoder.weights_hash},
            "n_units": side.n_units,
            "seconds": clock.seconds,
        },
    )
    with clock.stage("report", "figures and report") as advance:
        write_page(result, advance)
    record = json.dumps(result.recipe, indent=2, ensure_ascii=False)
    write_text(result.folder / "calibration.json", record + "\n")
    return result
