"""The head browser of a finished run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metastable.browser.attention import attention_of
from metastable.browser.checked_results import Measured
from metastable.browser.html_page import write_browser
from metastable.heads.cube import feature_table, token_histograms, unit_means
from metastable.report.measure_words import measure_words, row_clauses
from metastable.stats.analysis import of_primary_measure
from metastable.study import Options

if TYPE_CHECKING:
    import xarray as xr

    from metastable.heads.results import RunResult
    from metastable.models.encoders import Encoder

__all__ = ["write_run_browser"]


def _measured(options: Options) -> Measured:
    """Say what was compared, and in what the attention shown differs from what was measured."""
    words = measure_words(options)
    _, changes = row_clauses(replace(options, measure="count"))
    asked = "" if options.queries == "all" else f" The report is about the rows of {options.queries} only."
    whole = " The attention shown here, with the count under each token, is that of the whole row." if changes else ""
    return Measured(
        measure=words.name,
        digits=words.digits,
        note=" ".join(changes) + whole + asked,
    )


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
    study, options = result.study, result.record.options
    of_condition = [contrast.name == "condition" for contrast in result.contrasts].index(True)
    contrast, analysis = result.contrasts[of_condition], result.analyses[of_condition]
    features = feature_table(cube)
    # a measure that depends on no threshold was tested once
    heads, details = map(of_primary_measure, (analysis.heads, analysis.details))
    thresholds = tuple(float(value) for value in heads["threshold"].unique())
    a, b = study.conditions
    if result.histograms is None:
        # no values of tokens were kept, which the page says where distributions would be
        histograms = np.zeros((len(thresholds), 2, len(features), 2), dtype=np.int64)
    elif of_condition == 0:
        # the run's own histograms are those of its primary contrast
        histograms = result.histograms[: len(thresholds)]
    else:
        histograms = np.stack([token_histograms(cube, features, threshold, contrast.sides) for threshold in thresholds])
    return write_browser(
        result.folder / "heads.html",
        heads=heads,
        details=details,
        histograms=histograms,
        conditions=(a.name, b.name),
        sequences=result.material.sequences,
        unit_means=np.stack([unit_means(cube, features, threshold, options.measure) for threshold in thresholds]),
        attention=attention_of(
            encoder, result.material.sequences, thresholds=thresholds, batch_tokens=options.batch_tokens or 4096
        ),
        title=study.title,
        lead=f"{study.question} {a.name} (a): {a.description}; {b.name} (b): {b.description}. "
        f"Model: {result.record.model.id}.",
        alpha=options.alpha,
        unit=contrast.unit,
        paired=study.design.paired,
        measured=_measured(options),
    )
