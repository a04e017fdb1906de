"""One run of a sweep: what its tests found, with the facts that a report tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metastable.heads.contrasts import Contrast
from metastable.heads.recording import model_record
from metastable.stats.analysis import Analysis
from metastable.stats.balance import balance_table, unbalanced
from metastable.study import Material, Options
from metastable.typed_json import plain

if TYPE_CHECKING:
    from metastable.extraction import Extraction
    from metastable.models.encoders import Encoder

__all__ = ["FinishedRun", "finished_run"]


@dataclass(frozen=True)
class FinishedRun:
    """What one run of a sweep found, at all its thresholds.

    Attributes
    ----------
    heads : pandas.DataFrame
        One row per head, threshold and measure: the columns `metastable.stats.effect_kinds.head_columns` and the
        interval of the standardized size, corrected within the setting.
    omnibus : pandas.DataFrame
        One row per threshold: ``threshold, p_sum_squares, p_max, n_below_alpha`` of all heads together.
    facts : mapping
        What else the report tells: sizes, the model, notes; as JSON holds it.
    """

    heads: pd.DataFrame
    omnibus: pd.DataFrame
    facts: Mapping[str, Any] = field(repr=False)


def finished_run(
    analysis: Analysis,
    material: Material,
    contrast: Contrast,
    options: Options,
    encoder: Encoder,
    extraction: Extraction,
) -> FinishedRun:
    """Keep of a run what a sweep is made from.

    Parameters
    ----------
    analysis : Analysis
        The tests of its primary contrast.
    material : Material
    contrast : Contrast
        The primary contrast.
    options : Options
    encoder : Encoder
    extraction : Extraction

    Returns
    -------
    FinishedRun
    """
    whole = analysis.omnibus[analysis.omnibus["site"] == "all"]
    fitted = tuple(name for name in options.covariates if name not in analysis.determined)
    return FinishedRun(
        heads=analysis.heads.join(analysis.details[[analysis.effect.size_low, analysis.effect.size_high]]),
        omnibus=whole[["threshold", "p_sum_squares", "p_max", "n_below_alpha"]].reset_index(drop=True),
        facts={
            "unit": contrast.unit,
            "n_a": contrast.n_a,
            "n_b": contrast.n_b,
            "n_sequences": len(material.sequences),
            "tokens_per_sequence": float(np.mean([len(s.token_ids) for s in material.sequences])),
            "n_permutations": analysis.n_permutations,
            "exact": analysis.exact,
            "alpha": options.alpha,
            **_worst_covariate(contrast),
            "model": plain(model_record(encoder)),
            "mixed_model": analysis.over_contexts or contrast.mixed_formula(options.measure, fitted),
            "notes": list(material.notes),
            "sources": dict(material.sources),
            "capture": extraction.capture,
            "device": str(encoder.device),
        },
    )


def _worst_covariate(contrast: Contrast) -> dict[str, Any]:
    """Name the covariate on which the conditions differ most, and count those that differ by more than chance."""
    balance = balance_table(contrast.covariates, contrast.condition, pair=contrast.pair)
    if balance.empty:
        return {"worst_covariate": None, "worst_smd": None, "n_unbalanced": 0}
    worst = balance.iloc[int(balance["smd"].abs().to_numpy().argmax())]
    # an infinite difference (a covariate constant within each condition) has no place in JSON
    smd = float(worst["smd"]) if np.isfinite(worst["smd"]) else None
    return {
        "worst_covariate": str(worst["covariate"]),
        "worst_smd": smd,
        "n_unbalanced": len(unbalanced(balance)),
    }
