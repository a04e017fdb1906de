"""The head browser of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metastable.browser.attention import attention_of
from metastable.browser.page import write_browser
from metastable.cube import feature_table, token_histograms, unit_means

if TYPE_CHECKING:
    import xarray as xr

    from metastable.encoders import Encoder
    from metastable.pipeline import RunResult

__all__ = ["write_run_browser"]


def write_run_browser(result: RunResult, cube: xr.Dataset, encoder: Encoder) -> Path:
    """Write heads.html beside the report of a run.

    Parameters
    ----------
    result : RunResult
        What the run found.
    cube : xarray.Dataset
        Its counts.
    encoder : Encoder
        The model, which reads the few sequences that are shown once more.

    Returns
    -------
    Path
        The file.

    Notes
    -----
    In a two-by-two design the browser shows the main effect of the condition, since distributions and
    examples are those of the two conditions.
    """
    study, options = result.study, result.recipe["options"]
    of_condition = [contrast.name == "condition" for contrast in result.contrasts].index(True)
    contrast, analysis = result.contrasts[of_condition], result.analyses[of_condition]
    features = feature_table(cube)
    thresholds = tuple(float(value) for value in options["threshold"])
    a, b = study.conditions
    # the run's own histograms are those of its primary contrast
    histograms = (
        result.histograms
        if of_condition == 0
        else np.stack([token_histograms(cube, features, threshold, contrast.sides) for threshold in thresholds])
    )
    return write_browser(
        result.folder / "heads.html",
        heads=analysis.heads,
        details=analysis.details,
        histograms=histograms,
        conditions=(a.name, b.name),
        sequences=result.material.sequences,
        unit_means=np.stack([unit_means(cube, features, threshold) for threshold in thresholds]),
        attention=attention_of(
            encoder, result.material.sequences, thresholds=thresholds, batch_tokens=options["batch_tokens"]
        ),
        title=study.title,
        lead=f"{study.question} {a.name} (a): {a.description}; {b.name} (b): {b.description}. "
        f"Model: {result.recipe['model']['id']}.",
        alpha=options["alpha"],
        unit=contrast.unit,
        paired=study.design.paired,
    )
