"""What is measured of an attention row: one table, which everything that knows a measure reads."""

from metastable.measures.lookup import (
    MEASURE_CHOICES,
    KnownMeasures,
    call_measure,
    known_measures,
    label_measure,
    measure_named,
)
from metastable.measures.measure import Measure, Need, Rows
from metastable.measures.table import COUNT, MEASURES, TARGETS

__all__ = [
    "COUNT",
    "MEASURES",
    "MEASURE_CHOICES",
    "TARGETS",
    "KnownMeasures",
    "Measure",
    "Need",
    "Rows",
    "call_measure",
    "known_measures",
    "label_measure",
    "measure_named",
]
