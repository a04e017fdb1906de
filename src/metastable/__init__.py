"""Statistical hypothesis tests on transformer attention heads.

>>> import metastable
>>> result = metastable.run("mt40k_topbotk", k=500)                       # doctest: +SKIP
>>> result.figure("summary")                                              # doctest: +SKIP
>>> counts = metastable.load_counts("reports/mt40k_topbotk/counts.zarr")   # doctest: +SKIP
>>> figure = metastable.figures.heatmap(result.heads, measure="count")    # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from metastable.errors import InputError

if TYPE_CHECKING:
    from metastable import figures, stats
    from metastable.extraction.store import load_counts
    from metastable.runs.conditions import ConditionsResult
    from metastable.runs.notebook import Result, run
    from metastable.runs.notebook_models import ModelsResult, run_models
    from metastable.runs.plan import Plan, plan

    __version__: str

__all__ = [
    "ConditionsResult",
    "InputError",
    "ModelsResult",
    "Plan",
    "Result",
    "__version__",
    "figures",
    "load_counts",
    "plan",
    "run",
    "run_models",
    "stats",
]

# What is heavy to import (torch, matplotlib) is imported when it is first asked for.
_SUBPACKAGES = {"figures", "stats"}
_HOMES = {
    "ConditionsResult": "metastable.runs.conditions",
    "ModelsResult": "metastable.runs.notebook_models",
    "Plan": "metastable.runs.plan",
    "Result": "metastable.runs.notebook",
    "load_counts": "metastable.extraction.store",
    "plan": "metastable.runs.plan",
    "run": "metastable.runs.notebook",
    "run_models": "metastable.runs.notebook_models",
}


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"metastable.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("metastable")
    raise AttributeError(f"module 'metastable' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
