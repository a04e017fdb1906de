"""Covariates that an adjustment leaves out, and why."""

from __future__ import annotations

from collections.abc import Callable

from metastable.report.apa import listed
from metastable.report.run.scene import Scene

__all__ = ["left_out_sentences"]


def left_out_sentences(scene: Scene, name: Callable[[str], str]) -> str:
    """Say which covariates the adjustment leaves out, each after a space; empty if none.

    Parameters
    ----------
    scene : Scene
    name : callable
        What a covariate is called in the report.
    """
    found = scene.analysis
    crossing = scene.contrast.crossing if found.over_contexts else None
    unit = scene.contrast.unit if crossing is None else crossing.either
    reasons = {
        "the others determine it": found.determined,
        f"a single {unit} would decide its coefficient": found.single,
    }
    return "".join(
        f" Left out, since {reason}: {listed([name(one) for one in names])}."
        for reason, names in reasons.items()
        if names
    )
