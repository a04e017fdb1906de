"""What a comparison of two reports found: all that its own report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metastable.heads.compared_heads import Comparison

__all__ = ["ComparisonResult"]


@dataclass(frozen=True)
class ComparisonResult:
    """What a comparison found and where it lies.

    Attributes
    ----------
    found : Comparison
        Both reports side by side.
    folder : Path
        Where the report and its files lie.
    recipe : mapping
        What run.json holds, but for the verdict.
    """

    found: Comparison
    folder: Path
    recipe: Mapping[str, Any] = field(repr=False)
