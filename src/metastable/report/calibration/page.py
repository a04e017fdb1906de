"""The report of a calibration: rates in tables, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from metastable.files import write_text
from metastable.heads.calibration_result import CalibrationResult
from metastable.report.calibration import sentences
from metastable.report.calibration.plates import PLATES
from metastable.report.plate import PlacedPlate, placed_plates, save_plates
from metastable.report.sections import Section, table, with_plates
from metastable.report.templating import environment
from metastable.stats.simulation.further import FURTHER

__all__ = ["render_page", "write_page"]

Rates = tuple[tuple[str, str, str], ...]

# Each rate that is estimated, the scenario it is taken from, and what its column is called.
_RATES: Rates = (
    ("false_positive_rate", "null", "false positive rate"),
    ("fwer", "null", "family-wise error"),
    ("fdr", "planted", "false discovery rate"),
    ("power", "planted", "power"),
)
# Of an omnibus test there is one answer a split: no family of heads.
_OMNIBUS_RATES = (_RATES[0], _RATES[-1])


def _cells(rows: pd.DataFrame, rates: Rates) -> list[str]:
    cells = []
    for measure, scenario, _ in rates:
        found = rows[(rows["measure"] == measure) & (rows["scenario"] == scenario)]
        cells.append("–" if found.empty else _rate(found.iloc[0]))
    return cells


def _rate(row: pd.Series) -> str:
    return f"{row['estimate']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def _there(rates: pd.DataFrame, columns: Rates) -> Rates:
    """Leave out the rates that were not estimated of any test."""
    known = set(zip(rates["measure"], rates["scenario"], strict=True))
    return tuple(column for column in columns if column[:2] in known)


def _table_of_heads(rates: pd.DataFrame) -> str:
    columns = _there(rates, _RATES)
    rows = [
        [str(test), str(correction), *_cells(mine, columns)]
        for (test, correction), mine in rates.groupby(["test", "correction"], sort=False)
    ]
    header = ["test", "correction", *(title for _, _, title in columns)]
    return table(header, rows, "ll" + "r" * len(columns))


def _table_of_omnibus_tests(rates: pd.DataFrame) -> str:
    columns = _there(rates, _OMNIBUS_RATES)
    rows = [[str(test), *_cells(mine, columns)] for test, mine in rates.groupby("test", sort=False)]
    return table(["omnibus test", *(title for _, _, title in columns)], rows, "l" + "r" * len(columns))


def _table_of_further_tests(rates: pd.DataFrame) -> str:
    rows = [
        [
            row["test"] if row["correction"] == "none" else f"{row['test']}: any head, by {row['correction']}",
            _rate(pd.Series(row)),
            str(row["n_splits"]),
        ]
        for row in rates.to_dict("records")
    ]
    return table(["what is tried", "false positive rate", "divisions"], rows, "lrr")


def _sections(result: CalibrationResult) -> list[Section]:
    rates = result.table
    further = rates["test"].str.partition(": ")[0].isin(FURTHER)
    beyond = rates[further]
    of_heads = rates[rates["test"].isin(rates.loc[rates["measure"] == "fwer", "test"]) & ~further]
    omnibus = rates.drop([*of_heads.index, *beyond.index])
    return [
        Section(
            "rates",
            "",
            (
                sentences.verdict(result),
                sentences.division(result),
                _table_of_heads(of_heads),
                _table_of_omnibus_tests(omnibus),
                *((sentences.beyond(result), _table_of_further_tests(beyond)) if len(beyond) else ()),
            ),
        ),
        Section("reading", "", (sentences.reading(result), " ".join(sentences.limitations(result)))),
    ]


def render_page(result: CalibrationResult, plates: Sequence[PlacedPlate[CalibrationResult]]) -> str:
    """Return calibration.md as text.

    Parameters
    ----------
    result : CalibrationResult
    plates : sequence of PlacedPlate
        The figures, as `metastable.report.plate.placed_plates` returns them.

    Returns
    -------
    str
    """
    context = {
        "study": result.study.name,
        "sections": with_plates(_sections(result), plates),
        "command": result.record.command,
        "stem": result.stem,
        "what": "splits" if result.repacked is None else "draws",
    }
    return environment().get_template("calibration.md.j2").render(context)


def write_page(result: CalibrationResult, advance: Callable[[int, int], None]) -> None:
    """Draw the figures and write the page and the table of rates into the study's folder.

    Parameters
    ----------
    result : CalibrationResult
        What the calibration found.
    advance : callable
        Told of progress as ``f(done, total)``.
    """
    plates = placed_plates(PLATES, result)
    save_plates(plates, result.folder, advance)
    write_text(result.folder / f"{result.stem}.csv", result.table.to_csv(index=False, lineterminator="\n"))
    write_text(result.folder / f"{result.stem}.md", render_page(result, plates))
