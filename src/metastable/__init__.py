"""Statistical hypothesis tests on transformer attention heads.

>>> import metastable
>>> counts = metastable.load_counts("reports/mt40k_topbotk/counts.zarr")   # doctest: +SKIP
>>> figure = metastable.figures.heatmap(heads)                            # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from metastable.errors import InputError

if TYPE_CHECKING:
    from metastable import figures, stats
    from metastable.extraction.store import load_counts

    __version__: str

__all__ = ["InputError", "__version__", "figures", "load_counts", "stats"]

# What is heavy to import (torch, matplotlib) is imported when it is first asked for.
_SUBPACKAGES = {"figures", "stats"}
_FUNCTIONS = {"load_counts": "metastable.extraction.store"}


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"metastable.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("metastable")
    raise AttributeError(f"module 'metastable' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
