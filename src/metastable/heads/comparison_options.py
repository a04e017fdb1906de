"""The options of a comparison of two finished reports."""

from __future__ import annotations

from dataclasses import dataclass

from metastable.measures import MEASURE_CHOICES
from metastable.study.entries import as_field, option
from metastable.study.options import common_option, fraction, relabelings

__all__ = ["ComparisonOptions"]

_CHOSEN = "options of the comparison"


@dataclass(frozen=True)
class ComparisonOptions:
    """What was chosen for a comparison; each field's entry says what it is."""

    name: str | None = option(
        None, str, "name of the comparison's folder (none: compare_A_B)", affects="nothing", group=_CHOSEN
    )
    threshold: tuple[float, ...] = option(
        (),
        fraction,
        "thresholds to compare, the first is primary (none: all that both reports have)",
        many=True,
        affects="tests",
        group=_CHOSEN,
    )
    measure: str | None = option(
        None,
        str,
        "what is compared (none: what the first report is about, where the second tests it too)",
        choices=MEASURE_CHOICES,
        affects="tests",
        group=_CHOSEN,
    )
    permutations: int = option(
        10_000, relabelings, "permutations of heads for the p of the correlation", affects="tests", group=_CHOSEN
    )
    alpha: float = as_field(common_option("alpha", group=_CHOSEN))
    # no words are drawn: the seed is of the permutations alone
    seed: int = as_field(common_option("seed", affects="tests", group=_CHOSEN))
    out: str = option(
        "reports",
        str,
        "folder that holds the reports and receives the comparison's",
        affects="nothing",
        group=_CHOSEN,
    )
