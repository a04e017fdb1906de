"""From sequences to counts: how a model's attention is reached, counted and stored."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metastable.extraction.extracting import Extraction, extract
    from metastable.extraction.store import load_counts

__all__ = ["Extraction", "extract", "load_counts"]

# torch, xarray and zarr are slow to import: they come when they are first asked for.
_HOMES = {"Extraction": "extracting", "extract": "extracting", "load_counts": "store"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
