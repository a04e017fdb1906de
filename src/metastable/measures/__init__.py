"""What is measured of an attention row: one table, which everything that knows a measure reads."""

from metastable.measures.lookup import (
    MEASURE_CHOICES,
    KnownMeasures,
    call_measure,
    known_measures,
    label_measure,
    measure_named,
)
from metastable.measures.measure import Measure, ModelNeed, Need, Rows
from metastable.measures.table import COUNT, LEARNED_SINK, MEASURES, SHARE, SPANS, SPECIAL_TOKENS, TARGETS, VALUES

__all__ = [
    "COUNT",
    "LEARNED_SINK",
    "MEASURES",
    "MEASURE_CHOICES",
    "SHARE",
    "SPANS",
    "SPECIAL_TOKENS",
    "TARGETS",
    "VALUES",
    "KnownMeasures",
    "Measure",
    "ModelNeed",
    "Need",
    "Rows",
    "call_measure",
    "known_measures",
    "label_measure",
    "measure_named",
]
