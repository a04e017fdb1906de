"""The calibration's text: how often the tests err, and how often they find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from metastable.report.plates import Plate, markdown
from metastable.study import Study

__all__ = ["calibration_text"]

_MEASURES = (
    ("false_positive_rate", "null", "false positive rate"),
    ("fwer", "null", "family-wise error"),
    ("fdr", "planted", "false discovery rate"),
    ("power", "planted", "power"),
)


def _rate(row: pd.Series) -> str:
    return f"{row['estimate']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def _table(table: pd.DataFrame) -> str:
    lines = [
        "| test | correction | " + " | ".join(title for _, _, title in _MEASURES) + " |",
        "| --- | --- |" + " ---: |" * len(_MEASURES),
    ]
    for (test, correction), rows in table.groupby(["test", "correction"], sort=False):
        cells = []
        for measure, scenario, _ in _MEASURES:
            found = rows[(rows["measure"] == measure) & (rows["scenario"] == scenario)]
            cells.append("–" if found.empty else _rate(found.iloc[0]))
        lines.append(f"| {test} | {correction} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _finding(table: pd.DataFrame, alpha: float) -> str:
    kept: list[str] = []
    broken: list[str] = []
    promised = table[table["nominal"].notna()]
    for row in promised.to_dict("records"):
        name = f"{row['test']}, {row['correction']} ({row['measure'].replace('_', ' ')}, {row['scenario']})"
        (broken if row["low"] > row["nominal"] else kept).append(name)
    if not broken:
        return (
            f"Every test and correction keeps the level that it promises (α = {alpha:g}): of {len(kept)} rates none "
            "lies above its nominal level by more than its Monte Carlo interval."
        )
    return (
        f"Of {len(kept) + len(broken)} promised rates {len(broken)} lie above the nominal level α = {alpha:g} by more "
        f"than their Monte Carlo interval: {'; '.join(broken)}."
    )


def calibration_text(
    study: Study,
    table: pd.DataFrame,
    plates: Mapping[str, Plate],
    *,
    side: str,
    n_units: int,
    options: Mapping[str, Any],
    command: str,
) -> str:
    """Return calibration.md.

    Parameters
    ----------
    study : Study
    table : pandas.DataFrame
        As `metastable.stats.calibrate` returns it.
    plates : mapping of str to Plate
        The figures.
    side : {"a", "b"}
        The condition that was divided.
    n_units : int
        Its units.
    options : mapping
        What was chosen.
    command : str
        What was typed.

    Returns
    -------
    str
    """
    condition = study.conditions[0 if side == "a" else 1]
    pictures = "\n\n".join(markdown(plate) for plate in plates.values())
    return f"""# Calibration of {study.name}

{_finding(table, options["alpha"])}

The {n_units} units of the condition *{condition.name}* were divided at random {options["splits"]} times, so that
nothing differs between the halves, and every test was run with {options["permutations"]:,} relabelings; then once more
with a shift of {options["shift"]:g} standard deviations planted in {100 * options["share"]:g}% of the heads of each
site. No model was run again. A rate is followed by its 95% Monte Carlo interval over splits.

{_table(table)}

{pictures}

Without correction the *false positive rate* should be α. *Family-wise error* is the share of splits in which any head
is called although none differs; Holm and max-T promise α, and so does a false discovery rate correction where nothing
differs at all. The *false discovery rate* is the mean share of false calls among the calls. *Power* is the share of the
planted shifts that are found; compare it between corrections that keep their promise.

The same splits and numbers come from:

```
{command}
```

Every rate is in [calibration.csv](calibration.csv), the recipe in [calibration.json](calibration.json).
"""
