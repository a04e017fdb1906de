"""The calibration's text: how often the tests err, and how often they find."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from metastable.heads.calibration_options import CalibrationOptions
from metastable.heads.contrasts import Contrast
from metastable.report.apa import format_level
from metastable.report.plate import Plate, markdown
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
        lines.append(f"| {test} | {correction} | {_cells(rows, _MEASURES)} |")
    return "\n".join(lines)


def _omnibus_table(table: pd.DataFrame) -> str:
    measures = (_MEASURES[0], _MEASURES[-1])
    lines = ["| omnibus test | " + " | ".join(title for _, _, title in measures) + " |", "| --- | ---: | ---: |"]
    for test, rows in table.groupby("test", sort=False):
        lines.append(f"| {test} | {_cells(rows, measures)} |")
    return "\n".join(lines)


def _cells(rows: pd.DataFrame, measures: tuple[tuple[str, str, str], ...]) -> str:
    cells = []
    for measure, scenario, _ in measures:
        found = rows[(rows["measure"] == measure) & (rows["scenario"] == scenario)]
        cells.append("–" if found.empty else _rate(found.iloc[0]))
    return " | ".join(cells)


def _finding(table: pd.DataFrame, alpha: float) -> str:
    kept: list[str] = []
    broken: list[str] = []
    promised = table[table["nominal"].notna()]
    for row in promised.to_dict("records"):
        correction = "" if row["correction"] == "none" else f", {row['correction']}"
        name = f"{row['test']}{correction} ({row['measure'].replace('_', ' ')}, {row['scenario']})"
        (broken if row["low"] > row["nominal"] else kept).append(name)
    if not broken:
        return (
            f"Every test and correction keeps the level that it promises (α = {format_level(alpha)}): of "
            f"{len(kept)} rates none "
            "lies above its nominal level by more than its Monte Carlo interval."
        )
    n = len(kept) + len(broken)
    return (
        f"Of {n} promised rates {len(broken)} {'lies' if len(broken) == 1 else 'lie'} above the nominal level "
        f"α = {format_level(alpha)} by more than {'its' if len(broken) == 1 else 'their'} Monte Carlo interval: "
        f"{'; '.join(broken)}. Where every promise is kept to the point, chance alone takes one rate in forty there, "
        f"and rates of the same splits go together; more splits (`--splits`) tell chance from a broken promise."
    )


def _division(contrast: Contrast, options: CalibrationOptions, n_units: int, name: str) -> str:
    times = f"{options.splits} times"
    if contrast.pair is not None:
        return (
            f"The {n_units} units of the condition *{name}* were joined in pairs at random {times}, one of each pair "
            "in either half"
        )
    kind = "units" if contrast.unit == "unit" else f"{contrast.unit}s"
    return f"The {n_units} {kind} of the condition *{name}* were divided at random {times}"


def _limits(contrast: Contrast, options: CalibrationOptions, n_heads: int) -> str:
    limits = [
        "Both halves come from one condition and have the same variances: how a test fares where the conditions differ "
        "in variance and not in mean is not seen here."
    ]
    if contrast.predictor is not None:
        limits.append("The study itself tests a slope; what is tested here is the difference of two halves.")
    if options.covariates:
        limits.append("The covariates that the study adjusts for are left out here; halves have them alike on average.")
    least = 1 / (options.permutations + 1)
    if least * n_heads >= options.alpha:
        needed = int(n_heads / options.alpha)
        limits.append(
            f"With {options.permutations:,} relabelings no permutation p is below {least:.2g}, which is too large "
            f"for a single head to pass BH or Holm over {n_heads} heads: their power is understated. More than "
            f"{needed:,} relabelings (`--permutations`) would do."
        )
    return " ".join(limits)


def calibration_text(
    study: Study,
    table: pd.DataFrame,
    plates: Mapping[str, Plate],
    *,
    contrast: Contrast,
    n_units: int,
    n_heads: int,
    options: CalibrationOptions,
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
    contrast : Contrast
        What the study compares.
    n_units : int
        Units of the condition that was divided.
    n_heads : int
        Heads of the largest site.
    options : CalibrationOptions
        What was chosen.
    command : str
        What was typed.

    Returns
    -------
    str
    """
    condition = contrast.a if options.side == "a" else contrast.b
    of_heads = table[table["test"].isin(table.loc[table["measure"] == "fwer", "test"])]
    omnibus = table.drop(of_heads.index)
    pictures = "\n\n".join(markdown(plate) for plate in plates.values())
    return f"""# Calibration of {study.name}

{_finding(table, options.alpha)}

{_division(contrast, options, n_units, condition.name)}, so that
nothing differs between the halves, and every test was run with {options.permutations:,} relabelings; then once more
with a shift of {options.shift:g} standard deviations planted in {100 * options.share:g}% of the heads of each
site. No model was run again. A rate is followed by its 95% Monte Carlo interval over splits.

{_table(of_heads)}

{_omnibus_table(omnibus)}

{pictures}

Without correction the *false positive rate* should be α. *Family-wise error* is the share of splits in which any head
is called although none differs; Holm and max-T promise α, and so does a false discovery rate correction where nothing
differs at all. The *false discovery rate* is the mean share of false calls among the calls. *Power* is the share of the
planted shifts that are found; compare it between corrections that keep their promise. Of the omnibus tests these are
shares of layers, sites (families) or the whole model, each tested as one; a layer with a planted head is one to find.
*Layers-first* tests the heads of the layers that their omnibus test rejects; it bounds the false discovery rate within
each step, not over all heads together.

{_limits(contrast, options, n_heads)}

The same splits and numbers come from:

```
{command}
```

Every rate is in [calibration.csv](calibration.csv), the recipe in [calibration.json](calibration.json).
"""
