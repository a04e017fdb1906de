"""The report of a study over many models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

import numpy as np
import pandas as pd

from metastable.files import write_text
from metastable.heads.many_models_result import ManyModelsResult
from metastable.measures import call_measure
from metastable.report.apa import format_g, format_interval, format_p
from metastable.report.markdown import as_text, code
from metastable.report.models import sentences
from metastable.report.models.plates import PLATES
from metastable.report.plate import PlacedPlate, placed_plates, save_plates
from metastable.report.references import bibliography
from metastable.report.sections import Section, bullets, table, with_plates
from metastable.report.templating import environment

__all__ = ["render_page", "write_page"]

_CALLED = {"mean": "mean signed *g*", "size": "typical size \\|*g*\\|", "share": "share of heads that differ",
           "size2": "mean *g*²"}  # fmt: skip


def _number(value: float, quantity: str) -> str:
    if quantity == "share":
        return sentences.percent(float(np.clip(value, 0, 1)))
    return format_g(value, sign=quantity != "size")


def _cell(row: pd.Series, quantity: str) -> str:
    if quantity == "share":
        # a share lies between 0 and 1, wherever t puts the limits of its interval; a difference of shares does not
        least = -1.0 if "−" in str(row.get("models", "")) else 0.0
        low, high = (float(np.clip(row[name], least, 1)) for name in ("low", "high"))
        return f"{sentences.percent(row['estimate'])} [{sentences.percent(low)}, {sentences.percent(high)}]"
    return f"{_number(row['estimate'], quantity)} {format_interval(row['low'], row['high'])}"


def _named(rows: pd.DataFrame, column: str, name: str) -> pd.Series:
    """Return the one row of that name."""
    return rows[rows[column] == name].iloc[0]


def _models(result: ManyModelsResult) -> Section:
    header = [
        "model", "family", "role", "reads", "layers × heads", f"{as_text(result.record.unit)}s, a / b",
        "heads that differ", _CALLED["size"], _CALLED["mean"],
    ]  # fmt: skip
    reports = {one.label: one.report for one in result.record.models}
    rows = [
        [
            # a network of random weights is made again from its seed, and its report is not one that is kept
            as_text(row["model"])
            if row["role"] == "untrained"
            else f"[{as_text(row['model'])}]({quote(reports[row['model']])})",
            as_text(row["family"]),
            row["role"],
            row["reading"],
            f"{row['layers']} × {row['heads'] // row['layers'] if row['heads'] % row['layers'] == 0 else '–'}",
            f"{row['n_a']:,} / {row['n_b']:,}",
            f"{row['n_different']} of {row['heads']}",
            f"{format_g(row['size'], sign=False)} {format_interval(row['size_low'], row['size_high'])}",
            f"{format_g(row['mean'])} {format_interval(row['mean_low'], row['mean_high'])}",
        ]
        for row in result.models.to_dict("records")
    ]
    return Section("models", "The models", (table(header, rows, "llllrrrrr"), sentences.reading(result)))


def _means(result: ManyModelsResult) -> Section:
    means = result.means
    rows = []
    # what one model shows stands in the table of models
    for row in means[(means["part"] == "all") & (means["n_models"] > 1)].to_dict("records"):
        known = pd.Series(row)
        predicted = (
            f"{_number(row['prediction_low'], row['quantity'])} to {_number(row['prediction_high'], row['quantity'])}"
            if np.isfinite(row.get("prediction_low", np.nan))
            else "–"
        )
        rows.append(
            [
                "all" if row["models"] == "all" else as_text(row["models"]),
                str(row["n_models"]),
                _CALLED[row["quantity"]],
                _cell(known, row["quantity"]),
                format_g(row.get("tau", np.nan), sign=False),
                sentences.percent(row.get("i_squared", np.nan)),
                predicted,
                format_p(row.get("p_flip", np.nan)),
            ]
        )
    header = [
        "models",
        "n",
        "quantity",
        "mean over models [interval]",
        "τ",
        "*I*²",
        "the next model",
        "*p*, sign flips",
    ]
    shown = table(header, rows, "lrlrrrrr") if rows else ""
    return Section(
        "over models",
        "Over models",
        (shown, sentences.families(result), sentences.against_untrained(result)),
    )


def _depth(result: ManyModelsResult) -> Section:
    means = result.means
    parts = [part for part in means["part"].unique() if part != "all"]
    if not parts:
        return Section("depth", "By depth")
    chosen = means[(means["quantity"].isin(["size", "mean"])) & (means["part"] != "all")]
    rows = []
    for (models, quantity), mine in chosen.groupby(["models", "quantity"], sort=False):
        if "−" in str(models):
            continue
        cells = [_cell(_named(mine, "part", part), str(quantity)) for part in parts]
        rows.append([as_text(str(models)), _CALLED[str(quantity)], *cells])
    return Section(
        "depth",
        "By depth",
        (sentences.by_depth(result), table(["models", "quantity", *parts], rows, "ll" + "r" * len(parts))),
    )


def _without(result: ManyModelsResult) -> Section:
    text = sentences.without_each(result)
    if not text:
        return Section("without", "Without each model")
    found = result.found.without
    mine = found[found["measure"] == result.measure]
    rows = [
        [
            as_text(str(name)),
            *(_cell(_named(rows, "quantity", quantity), quantity) for quantity in ("size", "mean")),
        ]
        for name, rows in mine.groupby("without", sort=False)
    ]
    return Section(
        "without", "Without each model", (text, table(["without", _CALLED["size"], _CALLED["mean"]], rows, "lrr"))
    )


def _interactions(result: ManyModelsResult) -> Section:
    found = result.found.interactions
    if found.empty:
        return Section("interactions", "Model by model")
    mine = found[found["measure"] == result.measure]
    rows = [
        [
            as_text(str(name)),
            "yes" if rows["same_reading"].all() else "no",
            *(_cell(_named(rows, "quantity", what), what) for what in ("mean", "size2")),
        ]
        for name, rows in mine.groupby("model", sort=False)
    ]
    header = ["model less the first", "same sequences", _CALLED["mean"], _CALLED["size2"]]
    return Section("interactions", "Model by model", (sentences.same_and_other(result), table(header, rows, "llrr")))


def _measures(result: ManyModelsResult) -> Section:
    means = result.found.means
    rows = []
    for measure, mine in means[(means["part"] == "all")].groupby("measure", sort=False):
        for models in ("all", "untrained"):
            known = mine[mine["models"] == models]
            if len(known):
                cells = [_cell(_named(known, "quantity", quantity), quantity) for quantity in ("size", "mean", "share")]
                rows.append([call_measure(str(measure)), models, str(known["n_models"].iloc[0]), *cells])
    if len({row[0] for row in rows}) < 2:
        return Section("measures", "In every measure")
    header = ["measure", "models", "n", _CALLED["size"], _CALLED["mean"], _CALLED["share"]]
    return Section("measures", "In every measure", (table(header, rows, "llrrrr"),))


def _again(result: ManyModelsResult) -> Section:
    record = result.record
    rows = [
        ["finished", record.finished],
        *(
            [as_text(one.label), f"{code(one.given)}, weights SHA-256 `{one.model.weights_sha256}`"]
            for one in record.models
        ),
        ["draws", f"{record.chosen.resamples:,}, seed {record.options.seed}"],
        ["kept from before", f"{record.n_runs_reused} of {len(record.models)} models"],
        ["packages", ", ".join(f"{name} {number}" for name, number in record.packages.items())],
        ["Python", f"{record.python}, {record.platform}"],
    ]
    return Section(
        "again", "Run it again", (f"```\n{record.command}\n```", table(["", ""], rows, "ll"), sentences.files())
    )


def _sections(result: ManyModelsResult) -> list[Section]:
    return [
        Section("lead", ""),
        _models(result),
        _means(result),
        _depth(result),
        Section("checkpoints", "Along training", (sentences.checkpoints(result),)),
        Section("sorted", "Heads sorted within layers", (sentences.sorted_within_layers(),)),
        _interactions(result),
        _without(result),
        _measures(result),
        Section(
            "methods", "Methods", (sentences.methods(result), "References are in [references.bib](references.bib).")
        ),
        _again(result),
        Section("limitations", "Limitations", (bullets(sentences.limitations(result)),)),
    ]


def render_page(result: ManyModelsResult, plates: Sequence[PlacedPlate[ManyModelsResult]]) -> str:
    """Return report.md as text.

    Parameters
    ----------
    result : ManyModelsResult
    plates : sequence of PlacedPlate
        The figures, as `metastable.report.plate.placed_plates` returns them.

    Returns
    -------
    str
    """
    context = {
        "title": as_text(result.record.title),
        "question": as_text(result.study.question),
        "verdict": sentences.verdict(result),
        "warnings": sentences.warnings(result),
        "sections": with_plates(_sections(result), plates),
    }
    return environment().get_template("models.md.j2").render(context)


def write_page(result: ManyModelsResult, advance: Callable[[int, int], None]) -> None:
    """Write the tables, draw the figures, and write report.md and references.bib.

    Parameters
    ----------
    result : ManyModelsResult
    advance : callable
        Told of progress as ``f(done, total)``.
    """
    found = result.found
    for name, rows in (
        ("models", found.models),
        ("over_models", found.means),
        ("without_each", found.without),
        ("interactions", found.interactions),
        ("profiles", found.profiles),
        ("sorted_heads", result.heads),
    ):
        # repr's shortest digits give every float back exactly
        write_text(result.folder / f"{name}.csv", rows.to_csv(index=False, lineterminator="\n"))
    plates = placed_plates(PLATES, result)
    save_plates(plates, result.folder, advance)
    text = render_page(result, plates)
    write_text(result.folder / "references.bib", bibliography(text))
    write_text(result.folder / "report.md", text)
