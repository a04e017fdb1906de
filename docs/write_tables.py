"""Write what docs/ holds of tables: the page of measures and corrections, and the rates on the page of validation."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from metastable.measures import MEASURES, Measure
from metastable.stats.corrections import CORRECTIONS, Correction

PAGE = Path(__file__).with_name("measures_and_corrections.md")
VALIDATION = Path(__file__).with_name("validation.md")
REPORTS = Path(__file__).parents[1] / "reports"

# What the page of validation shows of a calibration: what it calls the test, test, correction, the bounded rate.
_SHOWN = (
    ("permutation", "permutation", "none", "false_positive_rate"),
    ("permutation", "permutation", "bh", "fdr"),
    ("permutation", "permutation", "max-t", "fwer"),
    ("mixed model", "mixed", "none", "false_positive_rate"),
    ("omnibus, sum of squares", "model: sum of squares", "none", "false_positive_rate"),
    ("equivalence, at the margin", "equivalence", "none", "false_positive_rate"),
    ("slope", "slope", "none", "false_positive_rate"),
)
_RATES = {"false_positive_rate": "false positives", "fdr": "false discoveries", "fwer": "family-wise error"}
_CONTROLS = {
    "null_split": "random halves of one pool of words",
    "positive_control": "one word repeated against distinct words",
}

_TESTS = {"any": "all", "positive": "independent or positively dependent", "independent": "independent"}


def _measure_row(measure: Measure) -> str:
    needs = ", ".join(need.what + "s" for need in measure.needs)
    row = "as it is" if measure.whole_row else "of the keys that count"
    unit = measure.fill(measure.unit) or "share of the attention"
    definition = measure.fill(measure.definition, share="the threshold's share")
    return f"| `{measure.name}` | {definition} | {unit} | {row} | {needs} | {measure.cited} |"


def _correction_row(correction: Correction) -> str:
    tests, chosen = _TESTS[correction.dependence], "yes" if correction.for_heads else "no"
    return f"| `{correction.name}` | {correction.called} | {correction.rate} | {tests} | {chosen} |"


def page() -> str:
    """Return the page, as the tables say it."""
    measures = "\n".join(_measure_row(measure) for measure in MEASURES)
    corrections = "\n".join(_correction_row(correction) for correction in CORRECTIONS.values())
    return f"""# Measures and corrections

`python docs/write_tables.py` writes this page from the tables in `metastable.measures` and in
`metastable.stats.corrections`.

## Measures

`--measure` chooses what is compared of each attention row. Without it that is the study's own measure: the count in the
two founding studies, the count of contributions in all others; where that cannot be had of a model the count over words
takes its place, and without special tokens the count, and the report says so. Each is taken for every head and query
token:

| name | what it is | counted in | the row | needs | paper |
| --- | --- | --- | --- | --- | --- |
{measures}

`--keys` and `--unit` say which keys count and whether the pieces of a word are summed; what is taken of the row as it
is does not depend on them. A measure of an installed package comes in through the entry point group
`metastable.measures`, whose entries name a `metastable.measures.Measure`:

```toml
[project.entry-points."metastable.measures"]
last_mass = "my_package.rows:LAST_MASS"
```

## Corrections

`--correction` chooses how p-values are corrected over the heads of a site:

| name | method of | what it holds | proved for tests that are | for heads |
| --- | --- | --- | --- | --- |
{corrections}
"""


def _rates() -> str:
    """Say what a calibration of the founding study found."""
    folder = REPORTS / "mt40k_topbotk"
    table = pd.read_csv(folder / "calibration.csv", keep_default_na=False, na_values=[""])
    n_units = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))["n_units"]
    bounded = table.dropna(subset=["nominal"])
    above, n = int((bounded["low"] > bounded["nominal"]).sum()), len(bounded)
    rows = []
    for called, test, correction, measure in _SHOWN:
        mine = table[(table["test"] == test) & (table["correction"] == correction)]
        # the rate of false discoveries is of halves with a planted shift, all others of halves alike
        scenario = "planted" if measure == "fdr" else "null"
        rate = mine[(mine["measure"] == measure) & (mine["scenario"] == scenario)].iloc[0]
        power = mine[mine["measure"] == "power"]["estimate"]
        found = f"{rate['estimate']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"
        powerful = "" if power.empty else f"{power.iloc[0]:.3f}"
        rows.append(f"| {called} | {correction} | {_RATES[measure]} | {found} | {powerful} |")
    return (
        f"In {table['n_splits'].max()} divisions of the {n_units} sequences of concrete words of `mt40k_topbotk`, "
        f"{above or 'none'} of {n} rates\nlies above its nominal level by more than Monte Carlo error. Some of them, "
        "at α = .05:\n\n| test | correction | rate that is bounded | found [95%] | power |\n"
        "| --- | --- | --- | ---: | ---: |\n" + "\n".join(rows)
    )


def _controls() -> str:
    """Say what the studies found in which it is known what there is."""
    rows = []
    for study, compared in _CONTROLS.items():
        verdict = json.loads((REPORTS / study / "run.json").read_text(encoding="utf-8"))["verdict"]
        rows.append(f"| `{study}` | {compared} | {verdict['different']} of {verdict['heads']} |")
    return "| study | what is compared | heads that differ |\n| --- | --- | ---: |\n" + "\n".join(rows)


def validation(text: str) -> str:
    """Return the page of validation with what the reports hold now between its marks.

    Parameters
    ----------
    text : str
        The page as it is.

    Returns
    -------
    str
    """
    for name, written in (("rates", _rates()), ("controls", _controls())):
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition(f"<!-- end of {name} -->\n")
        text = f"{before}<!-- {name} -->\n\n{written}\n\n<!-- end of {name} -->\n{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    VALIDATION.write_text(validation(VALIDATION.read_text(encoding="utf-8")), encoding="utf-8")
