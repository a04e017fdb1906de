"""What a comparison of two reports found: all that its own report is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from metastable.heads.compared_heads import Comparison
from metastable.heads.record import ComparisonRecord

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
    record : ComparisonRecord
        What run.json holds.
    """

    found: Comparison
    folder: Path
    record: ComparisonRecord = field(repr=False)
