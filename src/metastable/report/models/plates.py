"""The figures of a report over many models."""

from __future__ import annotations

import pandas as pd

import metastable.figures as figures
from metastable.heads.many_models_result import ManyModelsResult
from metastable.measures import call_measure
from metastable.report.plate import Given, Plate, given

__all__ = ["PLATES"]


def _effect(result: ManyModelsResult) -> str:
    return f"Hedges' g, {call_measure(result.measure)}"


def _checkpoints(result: ManyModelsResult) -> Given:
    models = result.models.set_index("model")
    rows = [
        {"training": training, "checkpoint": run.name.given.rpartition("@")[2], **models.loc[run.name.label].to_dict()}
        for training, places in result.trainings.items()
        for run in (result.runs[place] for place in places)
    ]
    return given(pd.DataFrame(rows), effect=_effect(result))


PLATES: tuple[Plate[ManyModelsResult], ...] = (
    Plate(
        "forest",
        "lead",
        figures.forest_plot,
        lambda result: given(result.models, result.means, effect=_effect(result)),
        lambda _: (
            "Every model with its interval over sequences; below, means with their intervals over models and sequences "
            "together."
        ),
    ),
    Plate(
        "depth",
        "depth",
        figures.depth_bands,
        lambda result: given(result.profiles, result.means, effect=_effect(result)),
        lambda _: "Effects by relative depth: each model in grey, means with their bands over models and sequences.",
        applies=lambda result: bool(result.found.parts),
    ),
    Plate(
        "checkpoints",
        "checkpoints",
        figures.training_curves,
        _checkpoints,
        lambda _: "Effects along trainings, with bands over sequences.",
        applies=lambda result: bool(result.trainings),
    ),
    Plate(
        "sorted_heads",
        "sorted",
        figures.sorted_maps,
        lambda result: given(result.heads, effect=_effect(result)),
        lambda _: "Every model's heads, sorted within each layer; layer 1 is at the bottom.",
    ),
)
"""In the order of the page."""
