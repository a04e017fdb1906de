"""Write docs/measures_and_corrections.md from the tables of measures and of corrections."""

from __future__ import annotations

from pathlib import Path

from metastable.measures import MEASURES, Measure
from metastable.stats.corrections import CORRECTIONS, Correction

PAGE = Path(__file__).with_name("measures_and_corrections.md")

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


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
